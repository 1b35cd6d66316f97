"""Against closed forms alone: chords of rays through cylinders; neither the projector nor voxels are asked."""

import math

import numpy as np
import pytest

from lesionforge.generators.angio_ct.densitometry import areas, percent_ds
from lesionforge.generators.carm.view import View
from tests.generators.angio_ct.toys import chords

AP = View(1000, 750, 0, 0, 640, 640, (0.12, 0.12))  # fine pixels: a ray a pixel is all that is sampled


def line(through, along, half=8.0):
    t = np.asarray(along, float) / np.linalg.norm(along)
    return np.asarray(through, float) + np.arange(-half, half, 0.25)[:, None] * t


@pytest.mark.parametrize("view", [AP, View(1100, 760, -35, 25, 700, 700, (0.12, 0.12))])
@pytest.mark.parametrize(
    ("through", "along"),
    [
        ((0, 0, 0), (0, 0, 1)),
        ((10, 20, -15), (0.5, 0.1, 1)),
        ((-12, -15, 8), (1, 0.9, 0.3)),
        ((5, 0, 5), (0.4, 1, 0.7)),
    ],
)
def test_the_area_of_a_tube_at_any_slant_and_depth(view, through, along):
    for radius in (0.6, 1.7):  # a minimal lumen, a left main
        image = chords(view, through, along, radius).astype(np.float32)
        found = areas(image, view, line(through, along), 3 * radius + 1)
        assert found == pytest.approx(math.pi * radius**2, rel=0.02)


def test_a_section_of_any_shape_has_its_area():
    """A tube with an eccentric round hole: what is left is a crescent."""
    for primary in (0, 30, 60, 90):
        view = View(1000, 750, primary, 0, 256, 256, (0.1, 0.1))
        hole = chords(view, (0.4, 0, 0), (0, 0, 1), 1.0)
        image = (chords(view, (0, 0, 0), (0, 0, 1), 1.6) - hole).astype(np.float32)
        found = areas(image, view, line((0, 0, 0), (0, 0, 1)), 3.0)
        assert found == pytest.approx(math.pi * (1.6**2 - 1.0**2), rel=0.02)


def test_a_second_vessel_in_the_profile_adds_its_own():
    alone = chords(AP, (0, 0, 0), (0, 0, 1), 1.0)
    both = alone + chords(AP, (0.5, 20, 0), (0, 0, 1), 1.0)
    rows = line((0, 0, 0), (0, 0, 1))
    assert areas(both.astype(np.float32), AP, rows, 3.0) == pytest.approx(
        (1 + 750 / 730) * areas(alone.astype(np.float32), AP, rows, 3.0), rel=0.02
    )  # it lies 730 mm from the source: its shadow is wider


@pytest.mark.parametrize("ds", [0, 30, 55, 80])
def test_percent_ds_of_a_tapering_vessel(ds):
    rows = np.arange(80)
    healthy = 3.6 - 0.01 * rows
    fade = np.where(np.abs(rows - 40) < 25, 0.5 + 0.5 * np.cos(np.pi * (rows - 40) / 25), 0)
    diameter = healthy * (1 - ds / 100 * fade)
    assert percent_ds(math.pi * diameter**2 / 4, slice(15, 66)) == pytest.approx(ds, abs=4.5 if ds == 0 else 2)


def test_no_healthy_vessel_beside_it_is_no_reading():
    assert math.isnan(percent_ds(np.full(20, 3.0), slice(0, 20)))
