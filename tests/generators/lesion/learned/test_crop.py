"""Cubes: HU windows, places, masks of all classes."""

import numpy as np
import pytest

from lesionforge.generators.lesion.learned.crop import Cube, cubes, hounsfield, regions, unit, upright, views
from lesionforge.generators.lesion.learned.settings import WINDOWS

CLASSES = ("healthy", "calcified", "non_calcified")


@pytest.mark.parametrize("domain", WINDOWS)
def test_hu_through_the_window_and_back(domain):
    low, high = WINDOWS[domain]
    hu = np.linspace(low - 300, high + 300, 301).astype(np.float32)
    values = unit(hu, WINDOWS[domain])
    assert (values.min(), values.max()) == (-1, 1)
    np.testing.assert_allclose(hounsfield(values, WINDOWS[domain]), np.clip(hu, low, high), atol=1e-3)


def test_the_heart_s_window_tells_lumen_from_calcium_and_the_abdomen_s_does_not():
    lumen_and_calcium = np.array([330.0, 770.0], np.float32)
    assert np.diff(unit(lumen_and_calcium, WINDOWS["abdomen"]))[0] == 0
    assert np.diff(unit(lumen_and_calcium, WINDOWS["ccta"]))[0] > 0.7


def test_the_window_is_of_the_volume_not_of_the_slice():
    """Unlike Med-DDPM's own code: with a scale for every slice, equal HU in two slices become different values."""
    hu = np.zeros((4, 4, 4), np.float32)
    hu[:, :, 1] = 100
    hu[0, 0, 2] = 250
    values = unit(hu, WINDOWS["abdomen"])
    assert len(np.unique(values[hu == 0])) == 1


@pytest.mark.parametrize("shape", [(40, 40, 40), (20, 40, 10)])
@pytest.mark.parametrize("extent", [3, 12, 16, 35])
def test_cubes_cover_the_lesion(shape, extent):
    mask = np.zeros(shape, bool)
    mask[2 : 2 + extent, 3 : 3 + extent, 1 : 1 + extent] = True
    covered = np.zeros(shape, bool)
    found = list(cubes(mask, 16))
    for cube in found:
        covered[cube.inside(shape)[0]] = True
        assert all(0 <= c <= n - 16 for c, n in zip(cube.corner, shape, strict=True) if n >= 16)
    assert covered[mask].all()
    assert (len(found) == 1) == (extent <= 12)
    assert list(cubes(np.zeros(shape, bool), 16)) == []


def test_a_cube_repeats_the_border_of_a_smaller_volume():
    volume = np.arange(27).reshape(3, 3, 3)
    cube = Cube((-1, 0, 0), 4)
    cut = cube.cut(volume)
    assert cut.shape == (4, 4, 4)
    assert np.array_equal(cut[0], cut[1])
    assert np.array_equal(cut[:, 3], cut[:, 2])
    there, here = cube.inside(volume.shape)
    assert np.array_equal(cut[here], volume[there])


def test_views_run_head_first_and_come_back():
    rng = np.random.default_rng(0)
    hu = rng.uniform(-150, 200, (4, 4, 4)).astype(np.float32)
    hole = rng.random((4, 4, 4)) < 0.3
    region = regions(np.zeros((4, 4, 4), np.uint8), {}, hole, "calcified", CLASSES)
    seen = views(hu, hole, region, 1, WINDOWS["abdomen"])
    assert seen["image"].shape == seen["shown"].shape == seen["hole"].shape == (1, 4, 4, 4)
    assert seen["image"][0, 3, 1, 2] == unit(hu, WINDOWS["abdomen"])[1, 2, 3]
    assert (seen["shown"][seen["hole"] > 0] == 0).all()
    assert np.array_equal(seen["shown"][seen["hole"] == 0], seen["image"][seen["hole"] == 0])
    assert np.array_equal(seen["regions"][1], seen["hole"][0])
    np.testing.assert_allclose(hounsfield(upright(seen["image"]), WINDOWS["abdomen"]), hu, atol=1e-3)


def test_the_mask_of_all_classes():
    labels = np.array([0, 4, 9, 10, 10, 7], np.uint8).reshape(6, 1, 1)
    legend = {0: "background", 4: "coronary", 9: "calcified", 10: "non_calcified", 7: "liver"}
    mask = np.array([0, 0, 0, 0, 1, 0], bool).reshape(6, 1, 1)
    out = regions(labels, legend, mask, "calcified", CLASSES)[..., 0, 0]
    assert out.tolist() == [[0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]]
    healthy = regions(labels, legend, np.zeros_like(mask), "healthy", CLASSES)[..., 0, 0]
    assert healthy.tolist() == [[0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]]
