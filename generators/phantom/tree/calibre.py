"""Healthy lumen radii along a tree: Murray's law at every bifurcation, a gentle taper in between.

Murray's law (Murray 1926): r_parent^3 = sum of r_child^3. At a side branch the three radii are those of the parent
at the origin, of the branch's first point, and of the parent one parent diameter further on, over which the lumen
narrows smoothly (a step within one voxel would be unnatural). There is no other taper inside that stretch, so the
law holds on the stored arrays to their resolution, ``RADIUS_GRID_MM``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.tree.curve import STEP_MM
from lesionforge.generators.phantom.tree.heart import Floats
from lesionforge.generators.types import Branch

RADIUS_GRID_MM = 2.0**-20  # see curve.GRID_MM; finer, so that Murray's law can be checked
MIN_RADIUS_MM = 0.35  # smallest vessel an angiogram shows and a 0.4 mm voxel grid carries (diagonal / 2)


@dataclass(frozen=True)
class Bifurcation:
    """Where branches leave a parent: the index on the parent's centreline and the radii that Murray relates.

    ``distal`` is the index at which the parent goes on with its new radius, or None where it ends.
    """

    parent: int
    index: int
    children: tuple[int, ...]
    distal: int | None


def bifurcations(branches: Sequence[Branch]) -> tuple[Bifurcation, ...]:
    """Find every bifurcation of a tree. A child's first point is a point of its parent's centreline."""
    found: dict[tuple[int, int], list[int]] = {}
    for number, branch in enumerate(branches):
        if branch.parent >= 0:
            gap = np.abs(branches[branch.parent].points - branch.points[0]).sum(axis=1)
            found.setdefault((branch.parent, int(np.argmin(gap))), []).append(number)
    out = []
    for (parent, index), children in found.items():
        radii = branches[parent].radii
        end = index == len(radii) - 1
        out.append(Bifurcation(parent, index, tuple(children), None if end else index + reach(radii[index])))
    return tuple(out)


def reach(radius: float) -> int:
    """Number of centreline steps over which a parent of this radius (mm) narrows: about one diameter."""
    return math.ceil(2.0 * float(radius) / STEP_MM)


def snap(radius: float) -> float:
    """A radius on the storage grid."""
    return round(radius / RADIUS_GRID_MM) * RADIUS_GRID_MM


def taper(
    count: int, start: float, end: float, power: float, origins: Sequence[int], ratios: Sequence[float]
) -> Floats:
    """Radii (count,) in mm of a branch, on the storage grid.

    Args:
        count: number of centreline points.
        start: radius at the first point, mm.
        end: radius aimed at for the last point, mm; a little more stays where side branches stand close.
        power: 1 tapers evenly; more keeps the calibre longer and tapers distally.
        origins: indices of the side branches, increasing, at least ``reach`` + 1 apart.
        ratios: first radius of each side branch over the parent's radius there, below 1.
    """
    keep = [(1.0 - ratio**3) ** (1.0 / 3.0) for ratio in ratios]
    drop = max(math.log(start * math.prod(keep) / end), 0.0)
    fall = np.zeros(count)  # what the logarithm of the radius loses on the way to each point
    fall[1:] = drop * _fall(count, power)
    for origin, factor in zip(origins, keep, strict=True):
        span = reach(snap(start * math.exp(-float(fall[: origin + 1].sum()))))
        fall[origin + 1 : origin + span + 1] = (-math.log(factor) * _eased(span))[: count - origin - 1]
    radii = start * np.exp(-np.cumsum(fall))
    out: Floats = np.rint(radii / RADIUS_GRID_MM) * RADIUS_GRID_MM
    return out


@functools.cache
def _eased(span: int) -> Floats:
    """The shares (span,) that add up to 1 of a fall without edges."""
    edge = 0.5 - 0.5 * np.cos(math.pi * np.arange(span + 1) / span)
    out: Floats = edge[1:] - edge[:-1]
    return out


@functools.lru_cache(64)
def _fall(count: int, power: float) -> Floats:
    """The shares (count - 1,) that add up to 1 of a taper."""
    way = (np.arange(count) / (count - 1)) ** power
    out: Floats = way[1:] - way[:-1]
    return out
