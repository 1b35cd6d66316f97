"""Centrelines below the size of a cell: drawn to the vessels' middles in every view, and the radii there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from lesionforge.generators.carm.view import View
from lesionforge.generators.kernels import jit
from lesionforge.jobs.tasks.reconstruction.tree.walls import Across, across

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

STEP_MM = 0.4  # between a centreline's points
STAIRS_CELLS = 1.0  # sd along the line that takes a grid's stairs away
BEND_MM = 1.0  # sd along the line after each draw
ROUNDS = 10
WIDE = 1.7  # times the expected radius: what is wider in a view is two vessels
DAMPED = 0.05  # beside 1: where all views' normals are parallel, the depth stays
MEDIAN_MM, MEAN_MM = 1.2, 0.3  # along the line, of the radius
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


def centred(
    chains: Sequence[Floats],
    radii: Sequence[Floats],
    views: Sequence[View],
    shadows: Sequence[NDArray[np.uint8]],
    cell_mm: float,
) -> list[tuple[Floats, Floats]]:
    """Of each branch points (n, 3) at steps of about ``STEP_MM``, and the radius in mm that each view shows (views, n).

    A radius is NaN where a view shows none; that of a view in which vessels lie upon one another is theirs together.

    Args:
        chains: of each branch (m, 3) LPS mm, from cell to cell.
        radii: of each (m,) mm, about what is expected there; wider shadows belong to two vessels.
        views, shadows: of the pair.
        cell_mm: edge of a cell: how far the points may lie off.
    """
    stairs = STAIRS_CELLS * cell_mm / STEP_MM
    lines = [resampled(_smoothed(one, np.array([0, len(one)]), stairs)) for one in map(resampled, chains)]
    ends = np.cumsum([0, *(len(one) for one in lines)])
    expected = np.concatenate(
        [
            np.interp(np.linspace(0, 1, len(line)), along(chain) / along(chain)[-1], own)
            for line, chain, own in zip(lines, chains, radii, strict=True)
        ]
    )
    line = np.concatenate(lines)
    for _ in range(ROUNDS):
        seen = [_seen(view, shadow, line, ends, expected, cell_mm) for view, shadow in zip(views, shadows, strict=True)]
        line = _smoothed(line + _draw(views, seen), ends, BEND_MM / STEP_MM)
    seen = [_seen(view, shadow, line, ends, expected, cell_mm) for view, shadow in zip(views, shadows, strict=True)]
    by_view = np.stack([one.half * one.mm for one in seen])
    return [(line[a:b], by_view[:, a:b]) for a, b in pairwise(ends.tolist())]


def calibre(by_view: Floats, most_mm: float, tells: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Radii (n,) of a branch, and where they are sure: views that agree, and no wider than the vessel is nearby.

    The views' geometric mean where they agree, else the smallest, as an overlap only ever widens; where all are wider
    than the vessel nearby, it is read between its neighbours.

    Args:
        by_view: (views, n) in mm, see ``centred``.
        most_mm: what the branch surely does not exceed.
        tells: (n,) where the silhouettes are its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no view tells
        low, high = np.nanmin(by_view, axis=0), np.nanmax(by_view, axis=0)
        mean = np.exp(np.nanmean(np.log(np.maximum(by_view, 0.05)), axis=0))
    known = tells & (low <= most_mm)
    if not known.any():
        return np.full(len(low), most_mm), known
    at = np.arange(len(low))
    nearby = median_filter(np.interp(at, at[known], low[known]), _odd(NEARBY_MM), mode="nearest")
    known &= low <= WIDER * nearby + 0.1
    if not known.any():
        return nearby, known
    agree = np.isfinite(by_view).all(0) & (high <= 1.3 * low + 0.1)
    found = np.interp(at, at[known], np.where(agree, mean, low)[known])
    smooth: Floats = gaussian_filter1d(median_filter(found, _odd(MEDIAN_MM), mode="nearest"), MEAN_MM / STEP_MM)
    return smooth, known & agree


def _odd(length_mm: float) -> int:
    return 2 * int(length_mm / STEP_MM / 2) + 1


def _seen(
    view: View, shadow: NDArray[np.uint8], line: Floats, ends: Indices, radius_mm: Floats, cell_mm: float
) -> Across:
    """Across the lines in a view, NaN in ``middle`` where it shows two vessels, or this one too far away."""
    found = across(view, shadow, line, ends, cell_mm / float(view.pixel_mm[0] * view.sod_mm / view.sid_mm))
    wrong = (found.half * found.mm > WIDE * radius_mm + 0.2) | (abs(found.middle) * found.mm > 1.5 * cell_mm)
    return Across(np.where(wrong, np.nan, found.middle), found.half, found.normal, found.mm)


def _draw(views: Sequence[View], seen: Sequence[Across]) -> Floats:
    """How far each point must go to lie in the middle in all views that tell; the least of such ways, damped."""
    count = len(seen[0].middle)
    total, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    for view, one in zip(views, seen, strict=True):
        u, v, _ = view.axes  # across columns and rows; a pixel is ``mm`` of them at the point's depth
        way = one.normal[:, :1] * v + one.normal[:, 1:] * u
        tells = np.isfinite(one.middle)
        way = np.where(tells[:, None], way, 0)
        total += way[:, :, None] * way[:, None, :]
        right += way * np.where(tells, one.middle * one.mm, 0)[:, None]
    total += DAMPED * np.eye(3)
    return np.asarray(np.linalg.solve(total, right[:, :, None])[:, :, 0], np.float64)


@jit
def _smoothed(points: Floats, ends: Indices, sd: float) -> Floats:
    """Gaussian of ``sd`` points along each line from ``ends[n]`` to ``ends[n + 1]``, mirrored in its end points."""
    out = np.empty_like(points)
    reach = int(4 * sd) + 1
    for n in range(len(ends) - 1):
        first, last = ends[n], ends[n + 1] - 1
        for i in range(first, last + 1):
            for axis in range(3):
                total, mean = 0.0, 0.0
                for k in range(-reach, reach + 1):
                    j = i + k
                    if j < first:
                        value = 2 * points[first, axis] - points[min(2 * first - j, last), axis]
                    elif j > last:
                        value = 2 * points[last, axis] - points[max(2 * last - j, first), axis]
                    else:
                        value = points[j, axis]
                    weight = np.exp(-0.5 * (k / sd) ** 2)
                    total += weight
                    mean += weight * value
                out[i, axis] = mean / total
    return out
