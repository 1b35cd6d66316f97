"""Percent diameter stenosis along a branch: against the diameter it would have, told by its healthy parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lesionforge.generators.types import Branch
from lesionforge.generators.vessel.reference import computer_defined
from lesionforge.jobs.tasks.reconstruction.tree.line import STEP_MM, along
from lesionforge.jobs.tasks.reconstruction.tree.tree import Narrowing, Unassessed

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_PERCENT = 30.0  # at its narrowest, to be listed
LEAST_MM = 1.5  # reference diameter: below, a pixel's error is a tenth
FEWEST = 10  # rows that a reference is told by
BESIDE_MM, HEALTHY_MM = 8.0, 0.4  # on either side, and how much of it must be seen healthy
EDGE = 0.5  # of a narrowing's percent, where it ends
BULGE_PERCENT = 25.0  # wider than the reference: not healthy either
BOTH_PERCENT, APART_PERCENT = 15.0, 30.0  # that each of two views must show, and how far apart they may be
LONGEST_MM = 25.0  # beyond, the reference is wrong
VISIBLE = 0.6  # of the points about the narrowest, that a view must show
PEAK = 3  # points on either side of the narrowest
STRETCH_MM = 2.0  # shorter ones that are not seen hide nothing
PIXEL = 0.7  # sd of a diameter that a view shows, px
END_MM = 2.0  # of a branch's tip, where the silhouette's end looks like a narrowing


def healthy_diameter(branch: Branch, inside_mm: float, sure: Bools) -> Floats:
    """Diameter in mm (n,) without narrowings: a curve through the rows that do not lie below it (QCA's T.4.1).

    Args:
        branch: at even steps.
        inside_mm: how much of it lies in its parent's lumen, and tells nothing.
        sure: (n,) where its radius is; elsewhere two vessels may lie upon one another.
    """
    s = along(branch.points)
    tells = (s >= min(inside_mm, s[-1] / 2)) & (s <= max(s[-1] - END_MM, s[-1] / 2))
    told = tells & sure if (tells & sure).sum() >= FEWEST else tells
    if not told.any():  # a stump
        return np.asarray(2 * branch.radii, np.float64)
    at, reference = np.arange(len(s)), computer_defined(2 * branch.radii, told)
    held: Floats = np.maximum(np.interp(at, at[told], reference[told]), 1e-3)  # beyond, its lines mean nothing
    return held


@dataclass(frozen=True)
class Shown:
    """What views show along a branch.

    ``radii`` (views, n): mm, NaN where a view shows none. ``room`` (views, n): see ``walls.room``.
    ``pixel_mm`` (views, n): of a pixel.
    """

    radii: Floats
    room: Floats
    pixel_mm: Floats


def assessed(
    branch: Branch, healthy_mm: Floats, inside_mm: float, shown: Shown, alone: bool
) -> tuple[list[Narrowing], list[Unassessed]]:
    """Narrowings of ``LEAST_PERCENT`` or more in vessels of ``LEAST_MM`` or more, and where there may be others.

    A narrowing is listed where each view that no other vessel hides it from shows it, one at least, with healthy lumen
    on either side of it: elsewhere (at a fork, at an end, where silhouettes overlap) health looks the same.

    Args:
        branch, healthy_mm, inside_mm: see ``healthy_diameter``.
        shown: along the branch.
        alone: whether one view may be enough, where another vessel hides it from the others.
    """
    s = along(branch.points)
    percent = 100 * (1 - 2 * branch.radii / healthy_mm)
    told = (s >= inside_mm) & (s <= s[-1] - END_MM)
    seen = np.isfinite(shown.radii) & told & (shown.room >= 0)
    wide = healthy_mm >= LEAST_MM
    why = np.where(s < inside_mm, "fork", np.where(told, "overlap", "end")).astype(object)
    why[told & ~np.isfinite(shown.radii).any(0)] = "unseen"
    why[seen.any(0)] = ""
    found: list[Narrowing] = []
    for start, at, stop in _dips(percent):
        if not wide[at]:
            continue
        reason, views, error = _judged(percent, float(healthy_mm[at]), seen, shown, (start, at, stop), alone)
        if reason:
            why[start:stop] = reason
            continue
        why[start:stop] = ""
        x, y, z = branch.points[at].tolist()
        length, narrowest = float(s[stop - 1] - s[start]), float(2 * branch.radii[at])
        place = branch.name, (x, y, z), length, float(healthy_mm[at]), narrowest, float(percent[at])
        found.append(Narrowing(*place, error, views))
    return found, _stretches(branch, s, np.where(wide, percent, 0), np.where(wide, why, ""))


def _dips(percent: Floats) -> Iterator[tuple[int, int, int]]:
    """First, narrowest, and the one after the last point of each stretch that is narrow enough, the narrowest first."""
    free = percent >= LEAST_PERCENT
    taken = np.zeros(len(percent), np.bool_)
    while free.any():
        at = int(np.argmax(np.where(free, percent, -np.inf)))
        above = percent >= EDGE * percent[at]
        start, stop = at, at + 1
        while start > 0 and above[start - 1]:
            start -= 1
        while stop < len(percent) and above[stop]:
            stop += 1
        if not taken[start:stop].any():  # else it is a former one's slope
            yield start, at, stop
        free[start:stop], taken[start:stop] = False, True


def _judged(
    percent: Floats, reference_mm: float, seen: Bools, shown: Shown, dip: tuple[int, int, int], alone: bool
) -> tuple[str, tuple[int, ...], float]:
    """Of a dip why it is in doubt (else nothing), the views that show it, and the sd of its percent."""
    start, at, stop = dip
    reach = round(BESIDE_MM / STEP_MM)
    sides = [np.arange(max(0, start - reach), start), np.arange(stop, min(len(percent), stop + reach))]
    sound = (percent < EDGE * percent[at]) & (percent > -BULGE_PERCENT) & seen.any(0)
    if min(sound[side].sum() for side in sides) * STEP_MM < HEALTHY_MM or (stop - start) * STEP_MM > LONGEST_MM:
        return "no healthy lumen beside it", (), 0.0
    near, narrowest = slice(max(0, at - PEAK), at + PEAK + 1), slice(max(0, at - 2), at + 3)
    shows: dict[int, float] = {}
    for view, (radii, there) in enumerate(zip(shown.radii, seen, strict=True)):
        beside = [float(np.median(radii[side][there[side]])) for side in sides if there[side].any()]
        if beside and there[near].mean() >= VISIBLE:
            least = median_filter(np.where(np.isfinite(radii), radii, np.inf), 3)[narrowest].min()
            shows[view] = 100 * (1 - float(least) / float(np.median(beside)))
    if not shows:
        return "overlap", (), 0.0
    if len(shows) == 1 and not (alone and min(shows.values()) >= LEAST_PERCENT):
        return "one view alone", (), 0.0
    apart = max(shows.values()) - min(shows.values())
    if min(shows.values()) < BOTH_PERCENT or apart > APART_PERCENT:
        return "views differ", (), 0.0
    pixel = PIXEL * float(shown.pixel_mm[list(shows), at].mean()) / reference_mm / len(shows) ** 0.5
    spread = float(np.std(percent[np.concatenate(sides)][sound[np.concatenate(sides)]])) * (1 - percent[at] / 100)
    return "", tuple(shows), float(np.sqrt((100 * pixel) ** 2 + spread**2 + (apart / 2) ** 2))


def _stretches(branch: Branch, s: Floats, percent: Floats, why: NDArray[Any]) -> list[Unassessed]:
    """Those of ``STRETCH_MM`` or more, and those that look narrow."""
    doubt = np.concatenate([[False], why != "", [False]])
    out = []
    for start, stop in np.flatnonzero(np.diff(doubt.astype(int))).reshape(-1, 2).tolist():
        most, length = float(percent[start:stop].max()), float(s[stop - 1] - s[start])
        looks = most if most >= LEAST_PERCENT else None
        if looks is not None or length >= STRETCH_MM:
            names, counts = np.unique(why[start:stop].astype(str), return_counts=True)
            x, y, z = branch.points[(start + stop) // 2].tolist()
            reason = str(names[np.argmax(counts)])
            out.append(Unassessed(branch.name, (x, y, z), float(s[start]), length, reason, looks))
    return out
