"""The mask edit: closed forms on tubes, and what holds for every mask."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from tests.generators.stenosis.tubes import narrowing, tube
from tests.generators.vessel import tubes

PATHS = {
    "straight": tubes.line(0),
    "slanted": tubes.line(33),
    "diagonal": tubes.line(45),
    "arc": tubes.arc(60, 20),
}


def widths(mask, lesion):
    """Width of a mask along the normals of the nine rows about the minimum, from its own pixels: bilinear, 1/16 px."""
    t = np.arange(-15, 15, 1 / 16)
    rows = slice(lesion.at - 4, lesion.at + 5)
    x, y = np.moveaxis(lesion.points[rows, None] + t[:, None] * lesion.normals[rows, None], 2, 0)
    return (ndimage.map_coordinates(mask.astype(float), [y, x], order=1) >= 0.5).sum(axis=1) / 16


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [8.0, 14.0])
@pytest.mark.parametrize("percent_ds", [30, 50, 70])
def test_the_drawn_width_is_the_target_s(path, width, percent_ds):
    """|measured - target| <= 100 / width: one pixel of the mask's own width (facts, A6)."""
    healthy = tube(PATHS[path], width)
    for eccentric in (0.0, 0.8):
        lesion = narrowing(healthy, percent_ds, eccentric=eccentric)
        before, after = widths(lesion.mask, lesion), widths(lesion.narrowed, lesion)
        keep = lesion.keep[lesion.at - 4 : lesion.at + 5]
        assert abs(100 * (after / before - keep).mean()) <= 100 / width


@pytest.mark.parametrize("path", PATHS)
def test_it_only_removes_inside_the_box_and_more_for_more(path):
    healthy = tube(PATHS[path], 11.0)
    left = []
    for percent_ds in (0, 15, 30, 45, 60, 75, 90, 100):
        lesion = narrowing(healthy, percent_ds, eccentric=-0.5)
        after = lesion.narrowed
        assert not (after & ~lesion.mask).any()
        x0, y0, x1, y1 = lesion.edit_box
        changed = after != lesion.mask
        assert changed[y0:y1, x0:x1].sum() == changed.sum()
        parts = ndimage.label(after, np.ones((3, 3)))[1]
        assert parts == (1 if percent_ds < 100 else 2)
        left.append(after)
    assert np.array_equal(left[0], healthy.mask)
    for wide, narrow in pairwise(left):
        assert not (narrow & ~wide).any()
        assert narrow.sum() < wide.sum()


def test_one_wall_stays_in_an_eccentric_lesion():
    healthy = tube(tubes.line(0), 12.0)
    up, down = (narrowing(healthy, 60, eccentric=e).narrowed for e in (1.0, -1.0))
    x = healthy.image.shape[1] // 2
    rows = np.flatnonzero(healthy.mask[:, x])
    walls = {tuple(np.flatnonzero(m[:, x])[[0, -1]]) for m in (up, down)}
    assert {wall[0] == rows[0] for wall in walls} == {True, False}
    assert {wall[1] == rows[-1] for wall in walls} == {True, False}


def test_a_neighbouring_vessel_is_left_alone():
    healthy = tube(tubes.line(0), 10.0)
    both, y = healthy.mask.copy(), int(healthy.points[0, 1])
    both[y + 14 : y + 22] = True  # a second vessel, 9 px below the first
    lesion = narrowing(healthy, 80, mask=both)
    assert lesion.narrowed[y + 14 : y + 22].all()
    assert lesion.narrowed.sum() < both.sum()
