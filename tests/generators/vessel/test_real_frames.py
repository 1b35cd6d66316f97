"""The meters on real frames: nothing by hand, repeatable under fresh noise."""

import numpy as np
import pytest

from lesionforge.generators.vessel.densitometry import fit_lumen
from lesionforge.generators.vessel.graph import Segment, trace
from lesionforge.generators.vessel.qca import lesions, read
from lesionforge.generators.vessel.walls import grey_walls
from tests.generators.vessel.masks import mask_walls
from tests.generators.vessel.tubes import Frame, grain


def windows(frame: Frame, every: int = 100) -> list[tuple[Segment, slice, int]]:
    """Windows of 100 px about places on vessels of 6 px or more, off forks and drawn lesions."""
    graph, out = trace(frame.mask), []
    for segment in graph.segments:
        for at in range(30, len(segment.points) - 30, every):
            x, y = segment.points[at]
            forks = np.linalg.norm(graph.forks - segment.points[at], axis=1)
            drawn = any(a - 8 < x < a + w + 8 and b - 8 < y < b + h + 8 for a, b, w, h in frame.boxes)
            if segment.radii[at] >= 3 and forks.min(initial=np.inf) > 25 and not drawn:
                start = max(at - 50, 0)
                out.append((segment, slice(start, at + 51), at - start))
    return out


def test_fresh_noise_changes_a_reading_by_two_points_and_a_half(frames: list[Frame]) -> None:
    change = []
    for n, frame in enumerate(frames[:75:4]):
        noisy = np.clip(np.rint(frame.image + grain(frame.image.shape, 3.0, np.random.default_rng(n))), 0, 255)
        for segment, rows, at in windows(frame):
            half_length = round(3 * segment.radii[rows][at])
            one, two = (
                read(fit_lumen(image, segment.points[rows], segment.radii[rows]), at, half_length).percent_ds
                for image in (frame.image, noisy.astype(np.uint8))
            )
            change.append(abs(one - two))
    change = np.array(change)[np.isfinite(change)]
    assert len(change) > 50
    assert np.median(change) < 2.5


def test_every_vessel_of_every_frame_is_measured_without_help(frames: list[Frame]) -> None:
    ratio = []
    for frame in frames[::3]:
        for segment in trace(frame.mask).segments:
            if len(segment.points) < 40:
                continue
            lumen = fit_lumen(frame.image, segment.points, segment.radii)
            edges = grey_walls(frame.image, lumen.points, segment.radii)
            drawn = mask_walls(frame.mask, segment.points, segment.radii)
            for reading in [*lesions(lumen), read(lumen), read(edges), read(drawn)]:
                assert reading.valid or reading.why
            assert np.isfinite(lumen.diameter).all()
            assert (np.linalg.norm(lumen.points - segment.points, axis=1) < 9).all()
            wide = lumen.valid & (segment.radii > 4) & (drawn.diameter > 2)
            if frame.name.startswith("images") and wide.sum() > 30:
                ratio.append(np.median(lumen.diameter[wide] / drawn.diameter[wide]))
    assert len(ratio) > 40
    assert 0.8 < np.median(ratio) < 1.15  # ARCADE's polygons are right on average


@pytest.mark.parametrize("n", [0, 40, 80, 100])
def test_a_reading_depends_little_on_where_the_centreline_was(frames: list[Frame], n: int) -> None:
    rng = np.random.default_rng(n)
    for segment, rows, at in windows(frames[n])[:3]:
        points = segment.points[rows]
        moved = points + rng.uniform(-0.7, 0.7, 2)
        one, two = (
            read(fit_lumen(frames[n].image, p, segment.radii[rows]), at, 15).percent_ds for p in (points, moved)
        )
        assert not abs(one - two) > 6
