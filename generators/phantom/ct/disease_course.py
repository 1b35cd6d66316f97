"""Where plaques of the phantoms' own disease lie: on which vessel, how far along it, on which side of it.

Proximal stretches, forks and the myocardial side have more of them; see the table of ``disease``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.ct.canvas import Floats
from lesionforge.generators.phantom.ct.disease import cut_normal, pick
from lesionforge.generators.types import Branch

THIRD_MM, DISEASED = 35.0, (1.0, 0.79, 0.07)
VOLUMES = {"LAD": 58.6, "LCx": 10.0, "RCA": 32.8}
LEAST_MM = 1.0  # radius of a vessel that bears plaque
FORK_MM, FORK = 4.0, 2.5  # how near to a fork it is more likely, and how much
DAUGHTER_MM = 0.6  # radius of a branch that makes a fork
SIDES = ((math.pi, 0.467), (math.pi / 2, 0.104), (-math.pi / 2, 0.104), (0.0, 0.125))  # 0: epicardial
OPPOSITE, DIVIDER = 0.48, 0.09
APART_MM = 4.0  # between the middles of plaques, and their half lengths


@dataclass(frozen=True)
class Course:
    """A stretch of vessel: ``points`` (n, 3) LPS mm, lumen ``radii`` (n,), and what stands across it.

    ``out`` and ``aside`` (n, 3) are unit vectors away from the heart and at right angles to that; ``along`` (n,) is mm
    from the plaque's middle. ``away`` tells where other vessels begin: pieces that no plaque of this one fills.
    """

    points: Floats
    radii: Floats
    out: Floats
    aside: Floats
    along: Floats
    others: tuple[tuple[Floats, Floats], ...]


@dataclass(frozen=True)
class Seat:
    """A plaque's place: branch, index of its middle there, and the angle about the vessel (0: away from the heart)."""

    branch: int
    middle: int
    angle: float


class Bearers:
    """The vessels of one tree that bear plaque.

    Args:
        branches: of the tree, a parent before its children.
    """

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._branches = branches
        self._starts = [0] * len(branches)  # on the parent
        ways = [0.0] * len(branches)  # from the ostium, mm
        self._forks: list[list[tuple[int, Floats]]] = [[] for _ in branches]
        for number, branch in enumerate(branches):
            if branch.parent < 0:
                continue
            parent = branches[branch.parent]
            gap = ((parent.points - branch.points[0]) ** 2).sum(axis=1)
            self._starts[number] = at = int(gap.argmin())
            ways[number] = ways[branch.parent] + float(_lengths(parent.points)[at])
            if branch.radii[0] >= DAUGHTER_MM:
                ahead = branch.points[min(8, len(branch.points) - 1)] - branch.points[0]
                self._forks[branch.parent].append((at, ahead))
        self._weights = [self._weigh(n, way) for n, way in enumerate(ways)]

    def seat(self, rng: np.random.Generator) -> Seat | None:
        """One place, anywhere; None where no vessel is wide enough."""
        totals = [float(weights.sum()) for weights in self._weights]
        if not sum(totals):
            return None
        branch = pick(rng, tuple(totals))
        middle = pick(rng, tuple(self._weights[branch].tolist()))
        near = [(at, ahead) for at, ahead in self._forks[branch] if self._near(branch, middle, at)]
        chance = float(rng.uniform())
        if near and chance < OPPOSITE + DIVIDER:
            course = self.course(Seat(branch, middle, 0.0), 8.0)
            here = int(np.abs(course.along).argmin())
            ahead = near[0][1]
            towards = math.atan2(float((ahead * course.aside[here]).sum()), float((ahead * course.out[here]).sum()))
            angle = towards + (math.pi if chance < OPPOSITE else 0.0)
        else:
            angle = SIDES[pick(rng, tuple(share for _, share in SIDES))][0]
        return Seat(branch, middle, angle + math.radians(cut_normal(rng, 0.0, 25.0)))

    def free(self, seat: Seat, half_mm: float, taken: Sequence[tuple[Seat, float]]) -> bool:
        """Whether a plaque so long keeps off the others of the tree."""
        here = self._branches[seat.branch].points[seat.middle]
        for other, reach in taken:
            there = self._branches[other.branch].points[other.middle]
            if math.sqrt(float(((here - there) ** 2).sum())) < half_mm + reach + APART_MM:
                return False
        return True

    def course(self, seat: Seat, half_mm: float) -> Course:
        """The vessel about a place, so far to either side and a little more: up into its parent where it is short."""
        branch, parts = self._branches[seat.branch], []
        low, high = self._window(branch.points, seat.middle, half_mm + 1.0)
        others = [n for n in range(len(self._branches)) if n not in (seat.branch, branch.parent)]
        tubes = [(self._branches[n].points, self._branches[n].radii) for n in others]
        lead = 0
        if low == 0 and branch.parent >= 0:
            parent, start = self._branches[branch.parent], self._starts[seat.branch]
            missing = half_mm + 1.0 - float(_lengths(branch.points)[seat.middle])
            first = self._window(parent.points, start, max(missing, 0.5))[0]
            parts.append((parent.points[first:start], parent.radii[first:start]))
            lead = start - first
            tubes.append((parent.points[start:], parent.radii[start:]))
        elif branch.parent >= 0:
            tubes.append((self._branches[branch.parent].points, self._branches[branch.parent].radii))
        parts.append((branch.points[low:high], branch.radii[low:high]))
        points, radii = np.concatenate([p for p, _ in parts]), np.concatenate([r for _, r in parts])
        along = _lengths(points)
        ahead = np.gradient(points, axis=0)
        ahead /= np.sqrt((ahead**2).sum(axis=1))[:, None]
        out = points / np.sqrt((points**2).sum(axis=1))[:, None]  # the heart's middle is the world's
        out = out - (out * ahead).sum(axis=1)[:, None] * ahead
        out /= np.maximum(np.sqrt((out**2).sum(axis=1)), 1e-9)[:, None]
        kept = tuple((p, r) for p, r in tubes if len(p) > 1)
        return Course(points, radii, out, np.cross(ahead, out), along - along[lead + seat.middle - low], kept)

    def _weigh(self, number: int, way: float) -> Floats:
        branch = self._branches[number]
        along = way + _lengths(branch.points)
        weights = np.array(DISEASED)[np.minimum((along / THIRD_MM).astype(np.int64), len(DISEASED) - 1)]
        for at, _ in self._forks[number]:
            weights = np.where(np.abs(along - along[at]) < FORK_MM, FORK * weights, weights)
        out: Floats = weights * _volume(branch.segments) * (branch.radii >= LEAST_MM)
        return out

    def _near(self, branch: int, middle: int, at: int) -> bool:
        along = _lengths(self._branches[branch].points)
        return abs(float(along[middle] - along[at])) < FORK_MM

    @staticmethod
    def _window(points: Floats, middle: int, mm: float) -> tuple[int, int]:
        along = _lengths(points)
        inside = np.flatnonzero(np.abs(along - along[middle]) <= mm)
        return int(inside[0]), int(inside[-1]) + 1


def _volume(segments: tuple[str, ...]) -> float:
    """Mean plaque volume of the artery that a branch belongs to; 0 for twigs."""
    number = next((int(digits) for name in segments if (digits := "".join(c for c in name if c.isdigit()))), 0)
    if number in (1, 2, 3, 4, 16):
        return VOLUMES["RCA"]
    return VOLUMES["LAD"] if number in (5, 6, 7, 8, 9, 10) else VOLUMES["LCx"] if number else 0.0


def _lengths(points: Floats) -> Floats:
    """How far along each point lies, mm (n,)."""
    gaps = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
    out: Floats = np.concatenate([[0.0], np.cumsum(gaps)])
    return out
