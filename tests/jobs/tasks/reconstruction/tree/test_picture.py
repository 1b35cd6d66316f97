"""Pictures of a tree show it the right way round."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from lesionforge.jobs.tasks.reconstruction.tree import picture


def test_a_turntable_turns_once_and_reddens_the_narrowing(known):
    image = Image.open(io.BytesIO(picture.turntable(known.tree)))
    assert (image.n_frames, image.size) == (picture.FRAMES, (picture.EDGE_PX, picture.EDGE_PX))
    first = np.asarray(image.convert("RGB")).astype(int)
    lit = first.sum(-1) > 150
    rows, cols = np.nonzero(lit)
    line = np.concatenate([one.points for one in known.tree.branches])
    wide, high = np.ptp(line[:, 0]), np.ptp(line[:, 2])  # from the front
    assert abs(np.ptp(cols) / np.ptp(rows) / (wide / high) - 1) < 0.15
    red = np.argwhere(lit & (first[..., 0] > 2 * first[..., 1]))
    centre = (line.min(0) + line.max(0)) / 2
    scale = np.ptp(cols) / wide
    at = known.narrow_mm - centre
    expected = np.array([-at[2], at[0]]) * scale + picture.EDGE_PX / 2  # head up, the patient's left on the right
    assert len(red)
    assert np.linalg.norm(red.mean(0) - expected) < 12


def test_a_sheet_is_a_picture(known):
    made = picture.sheet(known.tree, known.volume, known.pair)
    assert made.dtype == np.uint8
    assert made.shape[2] == 3
    assert min(made.shape[:2]) > 400


def test_what_cannot_be_assessed_is_white_on_dark_silhouettes(known):
    hidden, sure = (
        picture.sheet(replace(known.tree, unassessed=left), known.volume, known.pair)
        for left in (known.tree.unassessed, ())
    )
    assert known.tree.unassessed
    views = hidden[: len(hidden) // 2]
    changed = (hidden != sure).any(-1)[: len(views)]
    assert (changed & (views.min(-1) > 220)).sum() > 20
    assert np.median(views[(views.min(-1) > 20) & (views.max(-1) < 200) & (np.ptp(views, axis=-1) == 0)]) < 90
