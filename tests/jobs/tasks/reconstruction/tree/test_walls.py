"""Walls of silhouettes, against discs' and bands' closed form."""

import numpy as np
import pytest

from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.tree.walls import across, merged, radii_about, room

VIEW = View(1000.0, 750.0, 0.0, 0.0, 200, 200, (0.3, 0.3))


def band(half_px, slope, shift_px=0.0):
    """A band across the picture through its middle, ``slope`` rows a column, moved down by ``shift_px``."""
    rows, cols = np.indices((200, 200)) - 99.5
    return (abs(rows - shift_px - slope * cols) / np.hypot(1, slope) <= half_px).astype(np.uint8)


def line(slope, count=80):
    """Points in the plane of the isocentre whose images run along the band's middle."""
    mm = 0.3 * 750 / 1000
    cols = np.linspace(-60, 60, count)
    return np.stack([cols * mm, 0 * cols, -slope * cols * mm], axis=1)


@pytest.mark.parametrize("slope", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("half", [2.5, 6.2])
def test_middle_and_width_of_a_band_are_told_below_a_pixel(slope, half):
    points = line(slope)
    ends = np.array([0, len(points)])
    found = across(VIEW, band(half, slope, 2.0), points, ends, 8.0)
    assert abs(found.half.mean() - half) < 0.3
    offset = (2.0 / np.hypot(1, slope)) * np.sign(found.normal[:, 0])
    assert np.abs(found.middle - offset).max() < 0.5
    assert found.mm == pytest.approx(0.225)
    assert np.isnan(across(VIEW, band(half, slope, 90.0), line(0.0), ends, 8.0).half[:10]).all()
    radii = radii_about(VIEW, band(half, slope), points)
    assert abs(np.median(radii) / 0.225 - half) < 0.9  # the nearest pixels of the outline, whole


def test_a_vessel_along_the_rays_has_no_walls():
    t = np.linspace(-5, 5, 20)
    points = np.stack([0.01 * t, t, 0 * t], axis=1)
    found = across(VIEW, band(6.0, 0.0), points, np.array([0, 20]), 8.0)
    assert np.isnan(found.half).all()
    assert np.isnan(found.middle).all()


def test_where_branches_cross_both_are_merged_and_nowhere_else():
    one, two = line(0.0), line(1.0)
    points, branch = np.concatenate([one, two]), np.repeat([0, 1], 80)
    radii = np.full(160, 4 * 0.225)
    got = merged(VIEW, points, radii, branch, np.ones(160, bool))
    pixels = VIEW.project(points)
    apart = np.linalg.norm(pixels[:, None] - pixels[None], axis=-1)
    nearest = np.where(branch[:, None] != branch[None], apart, np.inf).min(1)
    assert np.array_equal(got, nearest < 9)
    assert got.any()
    assert not merged(VIEW, points, radii, branch, np.zeros(160, bool)).any()


def test_room_is_the_distance_to_another_vessels_wall_or_to_its_own_far_part():
    one, two = line(0.0), line(0.0) + np.array([0, 0, 3.0])
    points, s = np.concatenate([one, two]), np.tile(np.linspace(0, 27, 80), 2)
    got = room(VIEW, points, np.full(160, 0.5), np.repeat([0, 1], 80), s)
    assert got == pytest.approx(2.5)  # 3 mm apart, 0.5 mm wide on that side
    back = np.concatenate([one, two[::-1]])
    s = np.linspace(0, 57, 160)
    got = room(VIEW, back, np.full(160, 0.5), np.zeros(160, int), s)
    assert got[:40] == pytest.approx(2.5, abs=0.01)
    assert got[78:82].min() > 5  # where it turns it is near itself, which hides nothing
    assert np.isinf(room(VIEW, one, np.full(80, 0.5), np.zeros(80, int), np.zeros(80))).all()
