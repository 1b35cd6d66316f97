"""What CT phantoms are painted with: noise fixed in the world, soft edges, vessels by volume, kernel and noise."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lesionforge.generators.phantom.ct.canvas import Canvas, CtGrid, ellipsoid, tube
from lesionforge.generators.phantom.ct.scanner import KERNELS, Kernel, blur, noise, scan
from lesionforge.generators.phantom.ct.vessels import capsules, filled
from lesionforge.generators.phantom.ct.waves import Waves

UNIT = (1.0, 1.0, 1.0)


def grid(n=48, mm=1.0, centre=(0.0, 0.0, 0.0)):
    return CtGrid.around(centre, (n, n, n), (mm, mm, mm))


def waves(seed, of, scale_mm):
    """A field on a whole grid."""
    rng = np.random.default_rng(seed)
    return Waves(rng, of.shape, of.spacing_mm, of.origin_mm, scale_mm).on((0, 0, 0), of.shape)


def test_noise_is_fixed_in_the_world():
    """A finer grid, and another field of view, show the same field at the same places."""
    coarse = waves(1, grid(20, 2.0), 15.0)
    fine = waves(1, grid(61, 1.0, (3.0, 0.0, 0.0)), 15.0)
    a, b = grid(20, 2.0), grid(61, 1.0, (3.0, 0.0, 0.0))
    at = [np.rint(np.arange(20) * 2.0 + o - p).astype(int) for o, p in zip(a.origin_mm, b.origin_mm, strict=True)]
    inside = [(i >= 0) & (i < 61) for i in at]
    assert all(i.sum() >= 18 for i in inside)
    picked = fine[np.ix_(*(i[m] for i, m in zip(at, inside, strict=True)))]
    np.testing.assert_allclose(picked, coarse[np.ix_(*inside)], atol=1e-12)


def test_noise_has_unit_deviation():
    field = waves(2, grid(120, 2.0), 6.0)
    assert abs(field.mean()) < 0.05
    assert field.std() == pytest.approx(1.0, abs=0.05)
    own = Canvas(grid(60, 2.0), 0.0, b"key")
    own.strands("lines", 6.0, 0.3, 100.0, np.ones(own.hu.shape), 1.0, 0.8)
    assert 0 < (own.hu > 0).mean() < 0.1
    assert 70 < own.hu.max() <= 80


@pytest.mark.parametrize("shape", ["ball", "slab", "tube"])
def test_painted_volumes_are_those_of_the_shapes(shape):
    own = Canvas(grid(), -100.0, b"key")
    if shape == "ball":
        depth, volume = ellipsoid(own.grid.axes(), (0.3, -0.2, 0.1), (12.0, 12.0, 12.0)), 4 / 3 * math.pi * 12**3
    elif shape == "slab":
        depth, volume = 10.3 - np.abs(own.grid.axes()[2] - 0.1) + np.zeros((48, 48, 1)), 48 * 48 * 20.6
    else:
        depth = tube(own.grid, np.array([(-10.0, 0.0, 0.0), (10.0, 2.0, 1.0)]), 5.0)
        volume = math.pi * 25 * math.sqrt(405) + 4 / 3 * math.pi * 125
    own.paint(depth, 100.0, 7)
    assert (own.hu + 100).sum() / 200 == pytest.approx(volume, rel=0.01)
    assert (own.labels == 7).sum() == pytest.approx(volume, rel=0.03)
    assert own.hu.min() == -100
    assert own.hu.max() == 100


def test_a_crop_paints_through_and_shows_the_same():
    whole, parts = (Canvas(grid(), 0.0, b"key") for _ in range(2))
    field = whole.waves("a", 9.0)
    whole.paint(ellipsoid(whole.grid.axes(), (0, 0, 0), (8.0, 9.0, 10.0)), 50.0 * field, 3)
    part = parts.crop((-10.0, -11.0, -12.0), (10.0, 11.0, 12.0))
    assert part is not None
    part.paint(ellipsoid(part.grid.axes(), (0, 0, 0), (8.0, 9.0, 10.0)), 50.0 * part.waves("a", 9.0), 3)
    np.testing.assert_allclose(parts.hu, whole.hu, atol=1e-9)
    assert np.array_equal(parts.labels, whole.labels)
    assert parts.crop((100.0, 0, 0), (120.0, 10, 10)) is None


@pytest.mark.parametrize(("radius", "mm", "limit"), [(1.9, 1.0, 0.01), (0.6, 1.0, 0.02), (0.4, 0.5, 0.02)])
def test_vessels_fill_their_volume_however_thin(radius, mm, limit):
    way = np.stack([np.linspace(-14, 14, 57), np.linspace(-3, 4, 57), np.linspace(0, 6, 57)], axis=1)
    length = math.sqrt(28**2 + 7**2 + 6**2)
    exact = math.pi * radius**2 * length + 4 / 3 * math.pi * radius**3
    own, one = Canvas(grid(int(48 / mm), mm), 0.0, b"key"), (way, np.full(57, radius))
    part, share = filled(own, capsules([one]))
    assert share.sum() * mm**3 == pytest.approx(exact, rel=limit)
    part.blend(share, 1.0)
    assert own.hu.sum() == share.sum()
    np.testing.assert_array_equal(share, filled(own, capsules([one, (way[::-1], one[1])]))[1])  # a union, not a sum
    assert filled(own.crop((-24, 12, -24), (24, 24, 24)), capsules([one])) is None


def test_noise_has_its_deviation_and_its_kernel_s_grain():
    wide = {}
    for name, kernel in KERNELS.items():
        field = np.stack(list(noise(np.random.default_rng(0), grid(64, 0.5), kernel, 25.0)))
        assert field.std() == pytest.approx(25.0, rel=1e-9)
        assert abs(field.mean()) < 2.0
        power = (np.abs(np.fft.rfft(field, axis=0)) ** 2).mean((1, 2))
        f = np.fft.rfftfreq(64, 0.5)
        wide[name] = float((f * power).sum() / power.sum())
        assert power.argmax() > 0  # rises before it falls
    assert wide["soft"] < wide["medium"] < wide["sharp"]


def test_the_kernel_s_point_spread_is_as_wide_as_it_says():
    kernel = Kernel(2.0, 3.0, 0.0, 0.4)
    own = Canvas(grid(41, 0.25), 0.0, b"key")
    own.hu[20, 20, 20] = 2e6  # clipped nowhere: the blur spreads it
    seen = scan(np.random.default_rng(0), own, kernel, 0.0).astype(float)
    for axis, expected in enumerate((2.0, 2.0, 3.0)):
        line = seen[tuple(slice(None) if a == axis else 20 for a in range(3))]
        half = np.flatnonzero(line >= line.max() / 2)
        assert (half[-1] - half[0] + 1) * 0.25 == pytest.approx(expected, abs=0.3)
    sharp = Canvas(grid(41, 0.25), 0.0, b"key")
    sharp.hu[20:] = 1000.0
    assert scan(np.random.default_rng(0), sharp, KERNELS["sharp"], 0.0).max() > 1010  # overshoots at edges


@pytest.mark.parametrize("shape", [(20, 31, 17), (16, 3, 300), (1, 18, 2)])
def test_the_blur_is_a_gaussian_filter_in_place(shape):
    field = np.random.default_rng(0).normal(0, 300, shape)
    whole = gaussian_filter(field, (0.8, 1.3, 0.2), mode="nearest", truncate=3.0)
    blur(field, (0.8, 1.3, 0.2))
    np.testing.assert_allclose(field, whole, atol=1e-9)
