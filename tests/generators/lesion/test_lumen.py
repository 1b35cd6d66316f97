"""The meter on HU against closed forms that it was not tuned on: blurred cylinders, and blurred layers of tissue.

A disc of radius a behind a Gaussian blur s has the height P(chi'2 <= (a / s)^2) at a distance r from its middle, chi'2
the non-central chi-square with 2 degrees of freedom and (r / s)^2: a tube's profile, whatever its direction.
"""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import ncx2

from lesionforge.generators.lesion import lumen
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel, frame

VOXEL, SHAPE = 0.4, (36, 36, 80)
BLOOD, SOFT, FAT = 340.0, 45.0, -90.0
FAR = np.linspace(0, 9, 901)


def disc(radius, sigma, far=FAR):
    """Share of a disc's height at distances from its middle, behind the blur."""
    return ncx2.cdf((radius / sigma) ** 2, 2, (far / sigma) ** 2)


def half(radius, sigma):
    """The diameter at half height, 0 where the middle does not reach it."""
    if disc(radius, sigma, 0.0) <= 0.5:
        return 0.0
    return 2 * brentq(lambda far: disc(radius, sigma, far) - 0.5, 0, 9)


def scan(profiles, half_mm=5.0, noise=12.0, seed=0):
    """A slanting straight vessel: HU by distance from its axis, within and beyond ``half_mm`` along it."""
    axis = np.array([0.25, -0.15, 1.0]) / np.sqrt(0.25**2 + 0.15**2 + 1)
    middle = np.array(SHAPE) * VOXEL / 2 + 0.11
    grid = np.stack(np.meshgrid(*(np.arange(n) * VOXEL for n in SHAPE), indexing="ij"), axis=-1) - middle
    along = grid @ axis
    far = np.sqrt(np.maximum((grid**2).sum(axis=-1) - along**2, 0))
    hu = np.where(np.abs(along) < half_mm, np.interp(far, FAR, profiles[0]), np.interp(far, FAR, profiles[1]))
    hu += noise * np.random.default_rng(seed).standard_normal(SHAPE)
    at = np.arange(-14, 14, STEP_MM)
    points = middle + at[:, None] * axis
    vessel = CtVessel(points, np.full(len(points), 1.8), np.ones(len(points), bool), *frame(points))
    rows = np.flatnonzero(np.abs(at) <= half_mm)
    return np.rint(hu).astype(np.int16), (VOXEL,) * 3, vessel, slice(rows[0], rows[-1] + 1)


@pytest.mark.parametrize("sigma", [0.3, 0.45, 0.6])
@pytest.mark.parametrize("radius", [0.9, 1.2, 1.5])
def test_tubes_read_as_their_blurred_closed_form_says(sigma, radius):
    """In one kind of tissue the half level is that of the disc alone: the blur of the voxels comes on top."""
    wide = float(np.hypot(sigma, VOXEL / np.sqrt(6)))  # linear interpolation's own blur, at its mean
    healthy, narrow = (SOFT + (BLOOD - SOFT) * disc(r, sigma) for r in (1.8, radius))
    found = lumen.read(*scan((narrow, healthy)))
    assert found.reference_mm == pytest.approx(half(1.8, wide), abs=0.12)
    assert found.area_mm2 == pytest.approx(np.pi / 4 * found.mld_mm**2)
    least, percent = half(radius, wide), 100 * (1 - half(radius, wide) / half(1.8, wide))
    if radius > 1.77 * sigma:  # 1.5 FWHM across; below, what is next to the lumen is not free of its blur
        assert found.mld_mm == pytest.approx(least, abs=0.2)  # a minimum of noisy sections
        assert found.percent_ds == pytest.approx(percent, abs=4)
    else:
        assert percent - 2 <= found.percent_ds <= percent + 15  # to the tight side


def test_a_lumen_narrower_than_the_blur_reads_as_occluded():
    healthy = SOFT + (BLOOD - SOFT) * disc(1.8, 0.6)
    assert half(0.65, 0.6) == 0  # 1.3 mm of lumen behind 1.4 mm of blur
    assert lumen.read(*scan((SOFT + (BLOOD - SOFT) * disc(0.6, 0.6), healthy))).percent_ds > 95


def test_surroundings_are_those_of_each_section():
    """Soft plaque in the place of fat; a level half way to fat would read the lumen wider."""
    sigma = 0.4
    wide = float(np.hypot(sigma, VOXEL / np.sqrt(6)))
    healthy = FAT + (BLOOD - FAT) * disc(1.8, sigma)
    narrow = FAT + (SOFT - FAT) * disc(3.4, sigma) + (BLOOD - SOFT) * disc(1.2, sigma)
    found = lumen.read(*scan((narrow, healthy)))
    assert found.mld_mm == pytest.approx(half(1.2, wide), abs=0.15)
    assert found.reference_mm == pytest.approx(half(1.8, wide), abs=0.12)
    assert found.percent_ds == pytest.approx(100 * (1 - half(1.2, wide) / half(1.8, wide)), abs=4)


def test_calcium_is_no_lumen():
    """A shell of calcium about the lumen; it blooms: half way between both the lumen ends where it does."""
    sigma = 0.35
    healthy = FAT + (BLOOD - FAT) * disc(1.8, sigma)
    narrow = FAT + (800 - FAT) * disc(2.6, sigma) + (BLOOD - 800) * disc(1.1, sigma)
    found = lumen.read(*scan((narrow, healthy)))
    assert found.percent_ds == pytest.approx(100 * (1 - 1.1 / 1.8), abs=8)


def test_the_lumen_is_found_where_a_crescent_leaves_it():
    """The lumen lies to the side of the old centreline."""
    sigma = 0.35
    hu, spacing, vessel, rows = scan((FAT + (BLOOD - FAT) * disc(1.8, sigma),) * 2)
    grid = np.stack(np.meshgrid(*(np.arange(n) * VOXEL for n in SHAPE), indexing="ij"), axis=-1)
    middle = vessel.points[len(vessel.points) // 2]
    axis = np.cross(vessel.first[0], vessel.second[0])
    along = (grid - middle) @ axis
    far = np.sqrt((((grid - middle) - along[..., None] * axis + 0.8 * vessel.first[0]) ** 2).sum(axis=-1))
    inside = np.abs(along) < 5
    narrow = FAT + (SOFT - FAT) * disc(3.0, sigma) + (BLOOD - SOFT) * disc(1.0, sigma)
    hu = np.where(inside, np.interp(far, FAR, narrow), hu).astype(np.int16)
    assert lumen.read(hu, spacing, vessel, rows).percent_ds == pytest.approx(100 * (1 - 1.0 / 1.8), abs=7)


def test_without_contrast_nothing_is_read():
    hu, spacing, vessel, rows = scan((np.full(len(FAR), 40.0), np.full(len(FAR), 40.0)), noise=0.0)
    assert lumen.read(hu, spacing, vessel, rows).percent_ds == 0
