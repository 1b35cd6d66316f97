"""A branch's centreline below the size of a cell: drawn to the vessel's middle in every view, and its radius there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.tree.walls import Across, across

Floats = NDArray[np.float64]

STEP_MM = 0.4  # between a centreline's points
STAIRS_CELLS = 1.0  # sd along the line that takes a grid's stairs away
BEND_MM = 1.2  # sd along the line after each draw
ROUNDS = 3
WIDE = 1.7  # times the expected radius: what is wider in a view is two vessels
ALONE = 0.3  # of the eigenvalues' sum: normals nearer to parallel do not tell the depth
MEDIAN_MM, MEAN_MM = 2.0, 0.4  # along the line, of the radius
NEARBY_MM, WIDER = 12.0, 1.3  # what is so much wider than the median about it is two vessels


def along(points: Floats) -> Floats:
    """Length in mm from the first point to each (n,)."""
    return np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(points, axis=0) ** 2).sum(1)))])


def resampled(points: Floats, step: float = STEP_MM) -> Floats:
    """At even steps of about ``step`` mm, ends kept, two points or more."""
    s = along(points)
    count = max(2, round(s[-1] / step) + 1)
    even = np.linspace(0, s[-1], count)
    return np.stack([np.interp(even, s, points[:, axis]) for axis in range(3)], axis=1)


def smoothed(points: Floats, sd: float) -> Floats:
    """Gaussian of ``sd`` points along a line, mirrored at its ends so that they stay."""
    if len(points) < 3 or sd <= 0:
        return points
    reach = min(len(points) - 1, int(4 * sd) + 1)
    head, tail = 2 * points[0] - points[reach:0:-1], 2 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = gaussian_filter1d(np.concatenate([head, points, tail]), sd, axis=0, truncate=4)
    out: Floats = padded[reach : reach + len(points)]
    return out


def centred(
    points: Floats,
    radii: Floats,
    views: Sequence[View],
    shadows: Sequence[NDArray[np.uint8]],
    cell_mm: float,
    most_mm: float,
    inside_mm: float = 0.0,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Points (n, 3) of a branch, radii (n,) in mm, and where these are sure.

    Args:
        points: (m, 3) LPS mm, from cell to cell.
        radii: (m,) mm, about what is expected there; wider shadows belong to two vessels.
        views, shadows: of the pair.
        cell_mm: edge of a cell: how far the points may lie off.
        most_mm: radius that the branch surely does not have.
        inside_mm: how much of it lies in its parent's lumen: its calibre there is the one behind.
    """
    share = along(points) / along(points)[-1]
    line = resampled(smoothed(resampled(points), STAIRS_CELLS * cell_mm / STEP_MM))
    for again in range(ROUNDS + 1):
        expected = np.interp(np.linspace(0, 1, len(line)), share, radii)
        seen = [_seen(view, shadow, line, expected, cell_mm) for view, shadow in zip(views, shadows, strict=True)]
        if again < ROUNDS:
            line = resampled(smoothed(line + _draw(line, views, seen), BEND_MM / STEP_MM))
    return line, *_radii(seen, most_mm, along(line) >= min(inside_mm, along(line)[-1] / 2))


def _seen(view: View, shadow: NDArray[np.uint8], line: Floats, radius_mm: Floats, cell_mm: float) -> Across:
    """Across the line in a view, NaN in ``middle`` where it shows two vessels, or this one too far away."""
    found = across(view, shadow, line, cell_mm / float(view.pixel_mm[0] * view.sod_mm / view.sid_mm))
    wrong = (found.half * found.mm > WIDE * radius_mm + 0.2) | (abs(found.middle) * found.mm > 1.5 * cell_mm)
    return Across(np.where(wrong, np.nan, found.middle), found.half, found.normal, found.mm)


def _draw(line: Floats, views: Sequence[View], seen: Sequence[Across]) -> Floats:
    """How far each point must go to lie in the middle in all views that tell; the least of such ways, damped."""
    total, right = np.zeros((len(line), 3, 3)), np.zeros((len(line), 3))
    for view, one in zip(views, seen, strict=True):
        u, v, _ = view.axes  # across columns and rows; a pixel is ``mm`` of them at the point's depth
        way = one.normal[:, :1] * v + one.normal[:, 1:] * u
        tells = np.isfinite(one.middle)
        way = np.where(tells[:, None], way, 0)
        total += way[:, :, None] * way[:, None, :]
        right += way * np.where(tells, one.middle * one.mm, 0)[:, None]
    total += 0.05 * np.eye(3)
    return np.asarray(np.linalg.solve(total, right[:, :, None])[:, :, 0], np.float64)


def _radii(seen: Sequence[Across], most_mm: float, tells: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Radii (n,), and where they are sure: views that agree, and no wider than the vessel is nearby.

    The views' geometric mean where they agree, else the smallest, as an overlap only ever widens; where all are wider
    than the vessel nearby, it is read between its neighbours.
    """
    each = np.stack([one.half * one.mm for one in seen])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no view tells
        low, high = np.nanmin(each, axis=0), np.nanmax(each, axis=0)
        mean = np.exp(np.nanmean(np.log(np.maximum(each, 0.05)), axis=0))
    known = tells & (low <= most_mm)
    if not known.any():
        return np.full(each.shape[1], most_mm), known
    at = np.arange(len(low))
    nearby = median_filter(np.interp(at, at[known], low[known]), _odd(NEARBY_MM), mode="nearest")
    known &= low <= WIDER * nearby + 0.1
    if not known.any():
        return nearby, known
    agree = np.isfinite(each).all(0) & (high <= 1.3 * low + 0.1)
    found = np.interp(at, at[known], np.where(agree, mean, low)[known])
    smooth: Floats = gaussian_filter1d(median_filter(found, _odd(MEDIAN_MM), mode="nearest"), MEAN_MM / STEP_MM)
    return smooth, known & agree


def _odd(length_mm: float) -> int:
    return 2 * int(length_mm / STEP_MM / 2) + 1
