"""Readings on diameter functions made by hand, where every figure is known."""

import dataclasses

import numpy as np
import pytest

from lesionforge.generators.vessel.picture import picture
from lesionforge.generators.vessel.qca import lesions, read
from tests.generators.vessel.test_walls import hand_made

ROWS = np.arange(161)


def narrowed(
    percent_ds: float, at: int = 80, half_length: int = 16, width: float = 10, taper: float = 0.0
) -> np.ndarray:
    away = (ROWS - at) / half_length
    bump = np.where(np.abs(away) < 1, 0.5 + 0.5 * np.cos(np.pi * away), 0)
    return (width - taper * (ROWS - 80)) * (1 - percent_ds / 100 * bump)


def vessel(diameter: np.ndarray) -> object:
    return hand_made(-diameter / 2, diameter / 2)


@pytest.mark.parametrize(("percent_ds", "area"), [(30, 51), (50, 75), (70, 91), (90, 99)])
def test_percent_ds_and_area_of_a_known_narrowing(percent_ds: float, area: float) -> None:
    reading = read(vessel(narrowed(percent_ds)), at=80, lesion=16)
    assert reading.percent_ds == pytest.approx(percent_ds, abs=0.7)  # the mean of three rows at the tip
    assert reading.area_stenosis == pytest.approx(area, abs=0.9)
    assert reading.d_ref_px == pytest.approx(10, abs=0.05)
    assert reading.mld_xy == (80.0, 50.0)
    assert reading.gap == (64, 96)
    assert reading.mld_mm is None


def test_a_search_finds_the_narrowest_place_and_its_borders() -> None:
    reading = read(vessel(narrowed(60, at=97)))
    assert abs(reading.at - 97) <= 1
    assert reading.percent_ds == pytest.approx(60, abs=1.5)
    # A cosine lesion is narrowed by a tenth or more within acos(2 * .1 / .6 - 1) / pi of its half-length.
    assert reading.length_px == pytest.approx(2 * 16 * np.arccos(2 * 0.1 / 0.6 - 1) / np.pi, abs=2.5)


def test_the_reference_follows_the_taper_to_the_lesion() -> None:
    reading = read(vessel(narrowed(50, at=100, taper=0.04)), at=100, lesion=16)
    assert reading.d_ref_px == pytest.approx(10 - 0.04 * 20, abs=0.02)
    assert reading.percent_ds == pytest.approx(50, abs=0.7)


def test_millimetres_where_the_spacing_is_known() -> None:
    reading = read(vessel(narrowed(50)), at=80, lesion=16, pixel_mm=0.25)
    assert reading.d_ref_mm == pytest.approx(2.5, abs=0.01)
    assert reading.mld_mm == pytest.approx(reading.mld_px * 0.25)
    assert reading.length_mm == pytest.approx(reading.length_px * 0.25)
    assert reading.percent_ds == read(vessel(narrowed(50)), at=80, lesion=16).percent_ds


def test_every_lesion_is_listed_once_and_a_healthy_vessel_has_none() -> None:
    two = narrowed(60, at=50, half_length=12) * narrowed(45, at=115, half_length=14) / 10
    found = lesions(vessel(two))
    assert [abs(r.at - at) <= 1 for r, at in zip(found, (50, 115), strict=True)] == [True, True]
    assert [r.percent_ds for r in found] == pytest.approx([60, 45], abs=3)
    assert lesions(vessel(narrowed(0, taper=0.05))) == []
    assert lesions(vessel(narrowed(20))) == []


def test_readings_that_are_not_to_be_believed_say_why() -> None:
    walls = vessel(narrowed(50))
    assert read(vessel(narrowed(50, width=3)), at=80, lesion=16).why == "the vessel is 3.0 blurs wide, mask needs 4"
    assert "no healthy vessel" in read(walls, at=80, lesion=100).why
    unseen = dataclasses.replace(walls, valid=np.abs(ROWS - 80) > 5)
    assert "not seen" in read(unseen, at=80, lesion=16).why
    edges = dataclasses.replace(walls, kind="geometric", psf_sigma=1.2)
    assert "8.3 blurs wide, geometric needs 10" in read(edges, at=80, lesion=16).why
    faint = dataclasses.replace(walls, kind="geometric", psf_sigma=0.5, cnr=np.full(161, 1.5))
    assert "contrast 1.5" in read(faint, at=80, lesion=16).why
    severe = dataclasses.replace(vessel(narrowed(80)), kind="geometric", psf_sigma=0.9)
    assert "the lumen is" in read(severe, at=80, lesion=16).why
    assert not read(severe, at=80, lesion=16).valid
    with pytest.raises(ValueError, match="at = 161"):
        read(walls, at=161)


def test_the_report_shows_contours_reference_and_mld() -> None:
    image = np.full((100, 161), 120, np.uint8)
    walls = vessel(narrowed(60))
    shown = picture(image, walls, read(walls, at=80, lesion=16, pixel_mm=0.3))
    assert shown.shape == (480, 1080, 3)
    assert shown.dtype == np.uint8
    left = shown[:, :500].reshape(-1, 3).astype(int)
    for colour in ((255, 216, 77), (90, 209, 255), (255, 90, 77)):  # lumen, healthy contour, MLD
        assert (np.abs(left - colour).max(axis=1) < 60).sum() > 20
