"""The meter against shapes whose answer is known; it knows nothing of how lesions are drawn."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from lesionforge.generators.lesion import measure
from lesionforge.generators.lesion.classes import VALUE, mapped
from lesionforge.generators.lesion.sections import areas, lumen_areas, sections
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel, frame
from tests.generators.lesion.toys import STEP_MM as VOXEL
from tests.generators.lesion.toys import centreline

WHOLE = (slice(0, 50),) * 3


def test_volume_mean_and_contrast_of_a_ball():
    x, y, z = np.ogrid[:50, :50, :50]
    far = np.sqrt((x - 25) ** 2 + (y - 25) ** 2 + (z - 25) ** 2)
    labels = np.where(far <= 8, VALUE["liver_early"], VALUE["liver"]).astype(np.uint8)
    labels[40:44, 40:44, 40:44] = VALUE["liver_early"]  # another lesion of the class
    hu = np.where(far <= 6, 40, np.where(far <= 10, 70, 100)).astype(np.int16)  # with a soft edge
    region = measure.region(labels, "liver_early", WHOLE, (25, 25, 25), (1.0, 1.0, 1.0))
    assert region.voxels == (far <= 8).sum()
    assert region.volume_mm3 == region.voxels
    found = region.read(hu)
    assert found.mean_hu == 40
    assert found.contrast_hu == pytest.approx(-60, abs=1)
    assert measure.region(labels, "liver_early", WHOLE, (42, 42, 42), (2.0, 1.0, 1.0)).volume_mm3 == 128


def tube(percent, length=10.0, radius=1.6):
    """A lumen with a raised-cosine stenosis, its vessel and the stenosis's rows."""
    line = centreline()
    along = 0.1 * (np.arange(len(line)) - len(line) // 2)
    shape = 0.5 + 0.5 * np.cos(2 * np.pi * np.clip(along / length, -0.5, 0.5))
    radii = radius * (1 - percent / 100 * shape)
    grid = np.stack(np.meshgrid(*(np.arange(n) * VOXEL for n in (48, 60, 124)), indexing="ij"), axis=-1)
    gap, at = cKDTree(line).query(grid)
    steps = np.arange(0, along[-1] - along[0], STEP_MM)
    points = np.stack([np.interp(steps, along - along[0], line[:, a]) for a in range(3)], axis=1)
    vessel = CtVessel(points, np.full(len(points), radius), np.ones(len(points), bool), *frame(points))
    middle = int(0.5 * (along[-1] - along[0]) / STEP_MM)
    half = int(length / 2 / STEP_MM)
    return gap <= radii[at], vessel, slice(middle - half, middle + half + 1)


@pytest.mark.parametrize("percent", [0, 30, 50, 70])
def test_a_known_stenosis_is_read_within_a_voxel(percent):
    lumen, vessel, rows = tube(percent)
    found = measure.percent_ds(lumen, vessel, rows, (VOXEL,) * 3)
    assert found.percent_ds == pytest.approx(percent, abs=100 * 0.5 * VOXEL / 3.2)
    assert found.reference_mm == pytest.approx(3.2, abs=0.15)
    assert found.mld_mm <= found.reference_mm
    if percent:
        assert abs(found.row - (rows.start + rows.stop) // 2) * STEP_MM < 1.5


def test_areas_of_the_lumen_are_those_of_its_sections():
    lumen, vessel, rows = tube(50)
    lumen ^= np.random.default_rng(0).random(lumen.shape) < 0.05
    lumen = lumen[:, :30]  # which cuts the vessel off: what lies beyond is as its border
    radii = np.linspace(1.0, 3.0, rows.stop - rows.start)
    planes = sections(lumen, (VOXEL,) * 3, vessel, rows, float(radii.max()), 0.125)
    found = lumen_areas(lumen, (VOXEL,) * 3, vessel, rows, radii, 0.125)
    assert found.tolist() == areas(planes, 0.5, radii, 0.125).tolist()


def test_the_arc_is_counted_in_degrees():
    n = 41
    a, b = np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij")
    ring = (np.hypot(a, b) > 8) & (np.hypot(a, b) < 18)
    assert measure._arc(ring) == 360
    assert measure._arc(ring & (a > 0)) == pytest.approx(180, abs=10)
    assert measure._arc(np.zeros((n, n), bool)) == 0


def test_shortcuts_are_what_they_stand_for():
    rng = np.random.default_rng(0)
    labels, table = rng.integers(0, 256, (7, 9, 5), np.uint8).transpose(2, 0, 1), rng.integers(0, 256, 256, np.uint8)
    assert np.array_equal(mapped(labels, table), table[labels])
    assert np.array_equal(mapped(labels, table > 9).view(bool), (table > 9)[labels])
    for at in (0, 4):  # at the box's border, and within
        own = np.zeros((16, 14, 12), bool)
        own[at : at + 7, 3:12, 2:9] = rng.random((7, 9, 7)) < 0.9
        whole = ndimage.distance_transform_edt(np.pad(own, 1), sampling=(0.7, 0.9, 1.3))[1:-1, 1:-1, 1:-1]
        assert np.array_equal(measure._depth(own, (0.7, 0.9, 1.3)), whole)
