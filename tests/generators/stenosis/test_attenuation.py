"""The narrowed profile against tubes that were rendered narrow, and the editor's promises."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.stenosis.attenuation import AttenuationEditor, _narrow
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.types import stream
from tests.generators.stenosis.tubes import MU_DEPTH, narrowing, tube
from tests.generators.vessel import tubes

PATHS = {"straight": tubes.line(0), "slanted": tubes.line(27), "arc": tubes.arc(70, 40)}


def edited(healthy, lesion, key=b"k"):
    editor = AttenuationEditor()
    editor.prepare("cpu")
    (patch,) = editor.edit([healthy.image], [lesion], [stream(key, "noise")])
    image = healthy.image.copy()
    x0, y0, x1, y1 = lesion.edit_box
    assert patch.shape == (y1 - y0, x1 - x0)
    assert patch.dtype == np.uint8
    image[y0:y1, x0:x1] = patch
    return image


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("width", "percent_ds"), [(8.0, 40), (8.0, 65), (12.0, 50), (12.0, 80), (18.0, 60)])
def test_it_is_the_tube_that_was_rendered_narrow(path, width, percent_ds):
    """Against chord integrals through the narrow tube: a few grey levels of the vessel's some 30."""
    healthy = tube(PATHS[path], width)
    truth = tube(PATHS[path], width, percent_ds=percent_ds).image.astype(int)
    image = edited(healthy, narrowing(healthy, percent_ds)).astype(int)
    drawn = truth - healthy.image
    assert drawn.max() > 15
    changed = np.abs(drawn) >= 1
    assert np.abs(image - truth)[changed].mean() < 0.07 * drawn.max()
    assert np.abs(image - truth).max() < 0.25 * drawn.max()
    assert np.abs(image - truth)[~changed].mean() < 0.3


def test_nothing_asked_nothing_changed():
    healthy = tube(tubes.line(20), 10.0, stream(b"a", "noise"))
    assert np.array_equal(edited(healthy, narrowing(healthy, 0)), healthy.image)


def test_the_outside_stays_to_the_bit_and_more_is_more():
    healthy = tube(tubes.arc(60, 70), 12.0, stream(b"b", "noise"))
    texture = Texture.of(healthy.image)
    sums = []
    for percent_ds in (0, 20, 40, 60, 80, 100):
        lesion = narrowing(healthy, percent_ds, eccentric=0.7, texture=texture)
        image = edited(healthy, lesion)
        x0, y0, x1, y1 = lesion.edit_box
        outside = np.ones(image.shape, bool)
        outside[y0:y1, x0:x1] = False
        assert np.array_equal(image[outside], healthy.image[outside])
        sums.append(int(image.sum()))
    assert sums == sorted(set(sums))


def test_an_occlusion_leaves_nothing_at_its_middle():
    healthy = tube(tubes.line(0), 12.0)
    lesion = narrowing(healthy, 100)
    image = edited(healthy, lesion)
    x, y = np.rint(healthy.points[healthy.middle]).astype(int)
    column = image[y - 12 : y + 13, x].astype(int)
    assert np.ptp(column) <= 3
    before = healthy.image[y - 12 : y + 13, x].astype(int)
    assert np.ptp(before) > 20


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_depth_that_is_kept_keeps_the_opacity(depth):
    """Attenuation at the axis falls as keep^(1 - depth), on a vessel far wider than the blur."""
    healthy = tube(tubes.line(0), 20.0, half=25.0)
    lesion = narrowing(healthy, 40, half=25.0, depth=depth)
    image = edited(healthy, lesion)
    x, y = np.rint(healthy.points[healthy.middle]).astype(int)

    def opacity(frame):
        column = -np.log(frame[:, x].astype(float))
        return column[y] - (column[y - 18] + column[y + 18]) / 2

    assert opacity(healthy.image) == pytest.approx(MU_DEPTH, abs=0.02)
    assert opacity(image) / opacity(healthy.image) == pytest.approx(0.6 ** (1 - depth), abs=0.05)


def test_what_is_emptied_is_as_dark_as_a_background_of_fine_dark_lines():
    """The lines' share of the area counts: the median of such a background, which knows of none, is too bright."""
    healthy = tube(tubes.line(0), 16.0)
    lines = np.zeros(healthy.image.shape, np.uint8)
    lines[::3] = 12  # grey levels, along the vessel: 4 in the mean, 0 in the median
    with_lines = replace(healthy, image=healthy.image - lines)
    x, y = np.rint(healthy.points[healthy.middle]).astype(int)
    emptied = [edited(f, narrowing(f, 100))[y - 5 : y + 6, x - 3 : x + 4].mean() for f in (healthy, with_lines)]
    assert emptied[0] - emptied[1] == pytest.approx(4, abs=1)


def test_the_bright_edge_pales_with_the_section():
    """With 40 % of the width left the halo may not be as bright as before."""
    t = np.arange(-15, 15.1, 0.5)
    vessel = np.tile(np.where(np.abs(t) <= 5, 1.0, np.where(np.abs(t) <= 10, -0.5, 0.0)), (3, 1))
    keep, depth = np.full(3, 0.4), 0.5
    out = _narrow(vessel, keep, np.zeros(3), -15.0, 0.5, 0.2, depth)[1]
    opacity = 0.4 ** (1 - depth)
    assert out[np.abs(t) < 0.5] == pytest.approx(opacity, abs=0.01)
    assert out[np.abs(np.abs(t) - 3.0) < 0.1] == pytest.approx(-0.5 * opacity * 0.4**2, abs=0.01)


def test_an_eccentric_lesion_keeps_one_wall():
    healthy = tube(tubes.line(0), 16.0)
    image = edited(healthy, narrowing(healthy, 60, eccentric=1.0)).astype(float)
    x, y = np.rint(healthy.points[healthy.middle]).astype(int)
    near = slice(y - 16, y + 17), x
    assert sorted(abs(a - b) for a, b in zip(walls(image[near]), walls(healthy.image[near]), strict=True)) == [
        pytest.approx(0, abs=0.8),
        pytest.approx(0.6 * 16, abs=0.8),
    ]


def walls(column):
    """First and last place at half depth, px."""
    dark = np.linspace(column[0], column[-1], len(column)) - column
    fine = np.interp(np.arange(0, len(dark) - 1, 0.05), np.arange(len(dark)), dark)
    return np.flatnonzero(fine > fine.max() / 2)[[0, -1]] * 0.05


def test_noise_in_the_emptied_zone_is_that_beside_it():
    """Standard deviation of a Laplacian, over many lesions."""
    kernel = np.array([[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]])
    ratios = []
    for n in range(12):
        healthy = tube(tubes.line(0), 16.0, stream(bytes([n]), "noise"))
        lesion = narrowing(healthy, 85, texture=Texture.of(healthy.image))
        rough = ndimage.convolve(edited(healthy, lesion, bytes([n])).astype(float), kernel)
        x, y = np.rint(healthy.points[healthy.middle]).astype(int)
        inside = rough[y - 6 : y - 3, x - 6 : x + 7], rough[y + 4 : y + 7, x - 6 : x + 7]
        beside = rough[y - 19 : y - 11, x - 12 : x + 13], rough[y + 12 : y + 20, x - 12 : x + 13]
        ratios.append(np.std(np.concatenate(inside)) / np.std(np.concatenate(beside)))
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)


def test_a_jpeg_stays_one():
    """Every changed block lies on the frame's quantisation steps again."""
    import io

    from PIL import Image
    from scipy.fft import dctn

    healthy = tube(tubes.line(15), 12.0, stream(b"j", "noise"))
    buffer = io.BytesIO()
    Image.fromarray(healthy.image).save(buffer, "JPEG", quality=75)
    frame = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
    texture = Texture.of(frame)
    assert texture.jpeg == 75
    image = edited(replace(healthy, image=frame), narrowing(healthy, 70, texture=texture))
    n = frame.shape[0] // 8
    table = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).quantization[0])

    def off_grid(picture):
        blocks = picture.reshape(n, 8, n, 8).transpose(0, 2, 1, 3)
        changed = (image != frame).reshape(n, 8, n, 8).any(axis=(1, 3))
        spectra = dctn(blocks[changed].astype(float) - 128, axes=(1, 2), norm="ortho") / table.max()
        return changed.sum(), np.abs(spectra * table.max() - np.rint(spectra * table.max() / 6) * 6)[:, 0, 1].mean()

    blocks, rest = off_grid(image)
    assert blocks > 10
    assert rest < 1.0  # steps of 6 grey levels: 1.5 at random, rounding to grey levels leaves .3


def test_the_same_request_gives_the_same_bytes():
    healthy = tube(tubes.line(40), 11.0, stream(b"c", "noise"))
    lesion = narrowing(healthy, 70, texture=Texture.of(healthy.image))
    assert np.array_equal(edited(healthy, lesion), edited(healthy, lesion))
    assert not np.array_equal(edited(healthy, lesion, b"1"), edited(healthy, lesion, b"2"))
