"""Percent diameter stenosis along a branch: against the diameter it would have, told by its healthy parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Branch, Stenosis
from lesionforge.generators.vessel.reference import computer_defined
from lesionforge.jobs.tasks.reconstruction.tree.line import along

Floats = NDArray[np.float64]

LEAST_PERCENT = 30.0  # at its narrowest
EDGE_PERCENT = 10.0  # where a narrowing begins
LEAST_MM = 1.5  # reference diameter: below, a pixel's error is a tenth
FEWEST = 10  # rows that a reference is told by
END_MM = 2.0  # of a branch's tip, where the silhouette's end looks like a narrowing


def healthy_diameter(branch: Branch, inside_mm: float, sure: NDArray[np.bool_]) -> Floats:
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


def narrowings(branch: Branch, healthy_mm: Floats, inside_mm: float) -> list[Stenosis]:
    """Those of ``LEAST_PERCENT`` or more in vessels of ``LEAST_MM`` or more, with healthy lumen on either side.

    Without it (at a branch's beginning or end, or where silhouettes overlap) a taper looks the same.
    """
    s, diameter = along(branch.points), 2 * branch.radii
    percent = 100 * (1 - diameter / healthy_mm)
    tells = (s >= inside_mm) & (s <= s[-1] - END_MM)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], percent >= EDGE_PERCENT, [False]]).astype(int)))
    out = []
    for start, stop in edges.reshape(-1, 2).tolist():
        at = start + int(np.argmax(percent[start:stop]))
        sided = start > 0 and stop < len(s) and tells[start - 1] and tells[stop]
        if not sided or percent[at] < LEAST_PERCENT or healthy_mm[at] < LEAST_MM:
            continue
        x, y, z = branch.points[at].tolist()
        length = float(s[stop - 1] - s[start])
        out.append(
            Stenosis(branch.name, (x, y, z), length, float(healthy_mm[at]), float(diameter[at]), float(percent[at]))
        )
    return out
