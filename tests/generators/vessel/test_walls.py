"""Walls from masks and from grey values on tubes whose walls are known."""

import numpy as np
import pytest
from scipy.signal import savgol_coeffs

from lesionforge.generators.vessel.densitometry import fit_lumen
from lesionforge.generators.vessel.graph import arc_length
from lesionforge.generators.vessel.profile import normals
from lesionforge.generators.vessel.qca import read
from lesionforge.generators.vessel.walls import Walls, grey_walls, quadratic_weights, symmetry
from tests.generators.vessel.conftest import CONTRAST
from tests.generators.vessel.masks import mask_walls
from tests.generators.vessel.test_densitometry import longest
from tests.generators.vessel.tubes import Case, lesion, line, render


def test_percent_ds_from_masks(tubes: list[Case]) -> None:
    off = []
    for case in tubes:
        segment, at = longest(case.tube)
        reading = read(mask_walls(case.tube.mask, segment.points, segment.radii), at, round(case.half_length))
        off.append(reading.percent_ds - case.percent_ds)
        assert abs(off[-1]) <= 100 / case.width, (case.width, case.percent_ds)
        assert (reading.kind, reading.valid) == ("mask", True)
    assert abs(np.mean(off)) < 1
    assert np.mean(np.abs(off)) < 2


def test_diameters_from_masks_are_unbiased() -> None:
    rng = np.random.default_rng(5)
    for width in (2.5, 5, 9.3, 17):
        off = []
        for _ in range(6):
            tube = render(line(rng.uniform(0, 180)) + rng.uniform(-0.5, 0.5, 2), lesion(width, 0, 1), None, 0.02)
            rows = slice(20, -20)
            walls = mask_walls(tube.mask, tube.points[rows], np.full(len(tube.points[rows]), width / 2))
            assert walls.valid.all()
            off.append(walls.diameter.mean() - width)
            assert np.abs(walls.left + width / 2).max() < 1
            assert np.abs(walls.right - width / 2).max() < 1
        assert abs(np.mean(off)) < 0.15


def test_a_gap_in_the_mask_is_an_occlusion() -> None:
    tube = render(line(0), lesion(10, 0, 1), None, 0.02)
    tube.mask[:, 90:103] = False
    walls = mask_walls(tube.mask, tube.points[20:-20], np.full(len(tube.points) - 40, 5.0))
    reading = read(walls, at=60, lesion=10)
    assert reading.percent_ds == pytest.approx(100)
    assert reading.valid


def test_percent_ds_from_edges_of_wide_vessels(tubes: list[Case]) -> None:
    off = []
    for case in tubes:
        segment, at = longest(case.tube)
        reading = read(grey_walls(case.tube.image, segment.points, segment.radii), at, round(case.half_length))
        if reading.valid:
            off.append((case.width, reading.percent_ds - case.percent_ds))
        if case.width == 8:
            assert "blurs wide" in reading.why  # too narrow for edges, and it says so
    wide = np.array([error for width, error in off if width >= 12])
    assert len(wide) >= 25
    assert np.abs(wide).mean() < 5
    assert abs(wide.mean()) < 2.5


def test_edges_know_no_contrast_and_no_fit() -> None:
    """Half the iodine, or a vessel twice as deep along the beam: the same width (densitometry differs, and should)."""
    widths = []
    for contrast in (0.15, 0.3):
        tube = render(line(40), lesion(14, 0, 1), None, contrast / 14)
        walls = grey_walls(tube.image, tube.points[20:-20], np.full(len(tube.points) - 40, 7.0))
        widths.append(walls.diameter.mean())
    assert widths == pytest.approx([14, 14], abs=0.3)


def test_a_flat_lumen_shows_which_diameter_each_meter_means() -> None:
    """Half as wide in the view, as deep as ever: edges say 50 %, the ellipse's area 1 - sqrt(1/2) = 29 %.

    The fit is of circles: in a wide vessel it also sees the width, so it says something between.
    """
    tube = render(line(30), lesion(16, 50, 28), None, CONTRAST / 16, depth=16)
    segment, at = longest(tube)
    edges = read(grey_walls(tube.image, segment.points, segment.radii), at, 28)
    area = read(fit_lumen(tube.image, segment.points, segment.radii), at, 28)
    assert edges.percent_ds == pytest.approx(50, abs=2)
    assert 29 < area.percent_ds < 42


@pytest.mark.parametrize(("width", "psf"), [(8, 0.6), (8, 1.4), (14, 0.9), (20, 1.4)])
def test_edges_of_a_healthy_tube_read_its_diameter(width: float, psf: float) -> None:
    tube = render(line(20), lesion(width, 0, 1), None, CONTRAST / width, psf=psf)
    points = tube.points[20:-20]
    walls = grey_walls(tube.image, points, np.full(len(points), width / 2), psf_sigma=psf)
    assert walls.valid.all()
    assert abs(walls.diameter.mean() - width) < 0.3
    left, right = walls.contours
    assert np.allclose((left + right) / 2, points, atol=0.3)


@pytest.mark.parametrize("reach", [3, 9])
def test_the_smoothing_is_savitzky_and_golays(reach: int) -> None:
    assert np.allclose(quadratic_weights(reach), savgol_coeffs(2 * reach + 1, 2))


def hand_made(left: np.ndarray, right: np.ndarray) -> Walls:
    points = np.column_stack([np.arange(len(left), dtype=float), np.full(len(left), 50.0)])
    every = np.ones(len(left), bool)
    s = arc_length(points)
    return Walls(points, normals(points), s, left, right, 1.0, np.full(len(left), np.inf), every, "mask")


def test_symmetry_is_one_for_concentric_and_nought_for_one_sided_lesions() -> None:
    bump = np.where(np.abs(np.arange(101) - 50) < 15, 0.5 + 0.5 * np.cos(np.pi * (np.arange(101) - 50) / 15), 0)
    concentric = hand_made(-5 + 2 * bump, 5 - 2 * bump)
    one_sided = hand_made(-5 + 4 * bump, np.full(101, 5.0))
    mixed = hand_made(-5 + 3 * bump, 5 - 1 * bump)
    assert symmetry(concentric, 50, 35, 65, 10.0) == pytest.approx(1, abs=1e-6)
    assert symmetry(one_sided, 50, 35, 65, 10.0) == pytest.approx(0, abs=1e-6)
    assert symmetry(mixed, 50, 35, 65, 10.0) == pytest.approx(1 / 3, abs=1e-6)
    assert symmetry(hand_made(np.full(101, -5.0), np.full(101, 5.0)), 50, 35, 65, 10.0) is None
    assert symmetry(concentric, 50, 2, 65, 10.0) is None  # no vessel before the lesion
