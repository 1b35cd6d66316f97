"""The editor's promises: only the box changes, no change asked is no change made, and nobody's neighbours matter."""

import numpy as np
import pytest
from scipy.fft import dctn

from lesionforge.generators.stenosis.diffusion import DiffusionEditor
from lesionforge.generators.stenosis.diffusion.crop import BLEND_PX
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.generators.stenosis.editor import Editor, FrameNarrowing
from lesionforge.generators.stenosis.texture import Texture, quantisation
from lesionforge.generators.types import stream

SHAPE = (72, 90)
WIDTH = 9.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    StenosisModel.new(PRESETS["tiny"], seed=0).save(folder)
    return folder


def editor(weights, **options):
    made = DiffusionEditor(weights, steps=3, **options)
    made.prepare("cpu")
    return made


def frame(seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(170, 4, SHAPE)
    image[:, 41:50] -= 60
    return image.astype(np.uint8)


def narrowing(percent_ds, at=36, half=10, **options):
    """A lesion on the upright vessel at column 45."""
    n = 2 * half + 11
    rows = np.arange(n) - n // 2
    keep = np.where(abs(rows) < half, 1 - percent_ds / 100 * (0.5 + 0.5 * np.cos(np.pi * rows / half)), 1.0)
    mask = np.zeros(SHAPE, bool)
    mask[:, 41:50] = True
    box = (36, at - half - 2, 55, at + half + 3)
    return FrameNarrowing(
        points=np.stack([np.full(n, 45.0), at + rows], axis=1),
        normals=np.tile([1.0, 0.0], (n, 1)),
        diameter=np.full(n, WIDTH),
        keep=keep,
        shift=np.zeros(n),
        at=n // 2,
        depth=0.0,
        percent_ds=percent_ds,
        severity="severe",
        psf_sigma=0.8,
        edit_box=box,
        mask=mask,
        side="left",
        **{"texture": Texture(np.eye(16), None), **options},
    )


def rng(n=0):
    return stream(b"sample", f"noise{n}")


def test_it_is_an_editor(weights):
    backend: Editor = DiffusionEditor(weights)
    assert callable(backend.edit)
    with pytest.raises(RuntimeError, match="prepare"):
        backend.edit([frame(0)], [narrowing(70)], [rng()])


def test_only_the_box_changes_and_it_fades_in(weights):
    image, lesion = frame(0), narrowing(70)
    before = image.copy()
    (patch,) = editor(weights).edit([image], [lesion], [rng()])
    x0, y0, x1, y1 = lesion.edit_box
    assert patch.dtype == np.uint8
    assert patch.shape == (y1 - y0, x1 - x0)
    np.testing.assert_array_equal(image, before)  # the frame itself is never written to
    change = abs(patch.astype(int) - image[y0:y1, x0:x1])
    inner = change[BLEND_PX:-BLEND_PX, BLEND_PX:-BLEND_PX]
    border = np.concatenate([change[0], change[-1], change[:, 0], change[:, -1]])
    assert (inner > 0).mean() > 0.9  # made anew
    assert border.mean() < 0.5 * inner.mean()


@pytest.mark.parametrize("lesion", [narrowing(0), narrowing(1)])
def test_a_narrowing_that_narrows_nothing_returns_the_source(weights, lesion):
    image = frame(0)
    x0, y0, x1, y1 = lesion.edit_box
    (patch,) = editor(weights).edit([image], [lesion], [rng()])
    np.testing.assert_array_equal(patch, image[y0:y1, x0:x1])


def test_the_mask_reaches_the_picture(weights, monkeypatch):
    """The condition is the vessel after the edit, which has only lost pixels; the prompt tells the rest."""
    made = editor(weights)
    seen = []
    plain = made.sampler
    monkeypatch.setattr(made, "sampler", lambda model, batch: (seen.append(batch), plain(model, batch))[1])
    lesion = narrowing(80)
    made.edit([frame(0)], [lesion], [rng()])
    (batch,) = seen
    assert batch["prompt"] == ["coronary angiogram, left coronary artery, severe stenosis"]
    assert not (lesion.narrowed & ~lesion.mask).any()
    vessel = batch["mask"][0, 0].numpy() > 0
    box = batch["hole"][0, 0].numpy() > 0
    widths = np.where(box, vessel, False).sum(axis=1)[box.any(axis=1)]
    assert widths.max() == WIDTH
    assert 0 < widths.min() < 0.4 * WIDTH


@pytest.mark.parametrize("batch", [1, 3])
def test_a_sample_does_not_depend_on_who_shares_its_batch(weights, batch):
    """Bit for bit, whatever the company, the order and the sizes of the crops."""
    made = editor(weights, batch=batch)
    lesions = [narrowing(70), narrowing(55, at=30), narrowing(90, half=22), narrowing(80, at=50)]
    images = [frame(n) for n in range(4)]
    together = made.edit(images, lesions, [rng(n) for n in range(4)])
    alone = [made.edit([images[n]], [lesions[n]], [rng(n)])[0] for n in range(4)]
    turned = made.edit(images[::-1], lesions[::-1], [rng(n) for n in range(4)][::-1])[::-1]
    for a, b, c in zip(together, alone, turned, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_another_stream_makes_another_picture(weights):
    made = editor(weights)
    one, two = made.edit([frame(0)] * 2, [narrowing(70)] * 2, [rng(0), rng(1)])
    assert (one != two).mean() > 0.5


def test_a_box_larger_than_the_crop_or_the_frame_s_room_is_drawn(weights):
    lesion = narrowing(70, half=30)
    x0, y0, x1, y1 = lesion.edit_box
    assert y1 - y0 > PRESETS["tiny"].settings.crop
    (patch,) = editor(weights).edit([frame(0)], [lesion], [rng()])
    assert patch.shape == (y1 - y0, x1 - x0)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match="weights is missing"):
        DiffusionEditor(None)
    with pytest.raises(ValueError, match=r"lesionforge fit"):
        DiffusionEditor(tmp_path).prepare("cpu")


def test_a_frame_that_was_a_jpeg_gets_blocks_of_its_own_kind(weights):
    """Whole blocks inside the box lie on the quantisation table of the frame's quality."""
    (patch,) = editor(weights).edit([frame(0)], [narrowing(70, texture=Texture(np.eye(16), 60))], [rng()])
    (plain,) = editor(weights).edit([frame(0)], [narrowing(70)], [rng()])
    box = narrowing(70).edit_box
    row, col = -box[1] % 8, -box[0] % 8

    def off(block):
        steps = dctn(block.astype(float) - 128, norm="ortho") / quantisation(60)
        return abs(steps - np.rint(steps)).max()

    here = np.s_[row : row + 8, col : col + 8]
    assert off(patch[here]) < 0.3  # rounding to grey levels
    assert off(plain[here]) > 0.4
