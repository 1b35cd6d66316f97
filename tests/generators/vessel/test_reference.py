"""The references of DICOM PS3.17 Annex T.4 on diameter functions made by hand."""

import numpy as np
import pytest

from lesionforge.generators.vessel.reference import computer_defined, interpolated, mean_local, reference_curve

ROWS = np.arange(121)
TAPER = 12 - 0.03 * ROWS
BUMP = np.where(np.abs(ROWS - 60) < 20, 0.5 + 0.5 * np.cos(np.pi * (ROWS - 60) / 20), 0)
EVERY = np.ones(121, bool)


def test_the_interpolated_reference_is_the_line_through_the_flanks() -> None:
    assert np.allclose(interpolated(TAPER * (1 - 0.7 * BUMP), EVERY, 40, 80), TAPER, atol=1e-6)


def test_the_interpolated_reference_shrugs_off_a_side_branch() -> None:
    diameter = TAPER * (1 - 0.7 * BUMP)
    diameter[90:95] += 6
    assert abs(interpolated(diameter, EVERY, 40, 80)[60] - TAPER[60]) < 0.15
    usable = EVERY.copy()
    usable[90:95] = False
    assert np.allclose(interpolated(diameter, usable, 40, 80), TAPER, atol=1e-6)


def test_one_flank_gives_its_median_and_none_nothing() -> None:
    assert np.allclose(interpolated(TAPER, EVERY, 0, 80), np.median(TAPER[81:111]))
    assert np.isnan(interpolated(TAPER, EVERY, 0, 120)).all()


@pytest.mark.parametrize("percent_ds", [0, 40, 80])
def test_the_computer_finds_the_healthy_diameter_without_being_told_where(percent_ds: float) -> None:
    curve = computer_defined(TAPER * (1 - percent_ds / 100 * BUMP), EVERY)
    assert np.abs(curve - TAPER)[20:-20].max() < 0.04 * 12


def test_mean_local_is_the_mean_at_the_markers() -> None:
    assert mean_local(TAPER, (10, 110)) == pytest.approx((TAPER[10] + TAPER[110]) / 2)


def test_the_curve_of_every_kind_leaves_the_lesion_out() -> None:
    diameter = TAPER * (1 - 0.7 * BUMP)
    for kind in ("interpolated", "computer-defined", "mean-local"):
        assert abs(reference_curve(diameter, EVERY, (40, 80), kind)[60] - TAPER[60]) < 0.3
