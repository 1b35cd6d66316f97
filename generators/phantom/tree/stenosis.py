"""Stenoses with a known percent diameter stenosis, and their measurement on the finished radii."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.tree.calibre import RADIUS_GRID_MM, bifurcations
from lesionforge.generators.phantom.tree.curve import STEP_MM
from lesionforge.generators.types import Branch, Stenosis

MIN_REFERENCE_MM = 2.0  # smallest healthy diameter given a stenosis
_DRAWN_PERCENT = (30.0, 90.0)
_DRAWN_LENGTH_MM = (5.0, 15.0)
_MARGIN_MM = 0.5  # healthy lumen left on either side, before the next bifurcation or stenosis


@dataclass(frozen=True)
class TreeNarrowing:
    """A stenosis asked for: percent diameter stenosis, length in mm, and the SYNTAX segment (any where None)."""

    percent_ds: float
    length_mm: float = 10.0
    segment: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.percent_ds < 100.0:
            raise ValueError(f"percent_ds is {self.percent_ds}: give a number between 0 and 100")
        if not self.length_mm >= 3.0:
            raise ValueError(f"length_mm is {self.length_mm}: give 3 mm or more, the centreline step is {STEP_MM} mm")


def narrow(
    rng: np.random.Generator, branches: Sequence[Branch], stenoses: int | Sequence[TreeNarrowing]
) -> tuple[tuple[Branch, ...], tuple[Stenosis, ...]]:
    """Build stenoses into healthy branches. See ``tree.coronary_tree``.

    The profile is a raised cosine over the stated length: r(s) = r0(s) * (1 - DS / 2 * (1 + cos(2 pi s / length))).
    """
    drawn = isinstance(stenoses, int)
    if isinstance(stenoses, int):
        stenoses = [
            TreeNarrowing(float(rng.uniform(*_DRAWN_PERCENT)), float(rng.uniform(*_DRAWN_LENGTH_MM)))
            for _ in range(stenoses)
        ]
    out = list(branches)
    free = _free(branches)
    found: list[Stenosis] = []
    # the longest first: they have the fewest places
    for wanted in sorted(stenoses, key=lambda n: -n.length_mm):
        half = math.ceil(0.5 * wanted.length_mm / STEP_MM)
        sites = _sites(out, free, half, wanted.segment)
        while drawn and not sites and wanted.length_mm > _DRAWN_LENGTH_MM[0]:  # take what room there is
            wanted = TreeNarrowing(wanted.percent_ds, max(0.9 * wanted.length_mm, _DRAWN_LENGTH_MM[0]))
            half = math.ceil(0.5 * wanted.length_mm / STEP_MM)
            sites = _sites(out, free, half, wanted.segment)
        if not sites:
            raise ValueError(
                f"no room for a stenosis of {wanted.length_mm:.1f} mm in segment {wanted.segment or '(any)'} "
                f"of {branches[0].name}: ask for fewer, shorter ones or another segment"
            )
        number, index = sites[int(rng.integers(len(sites)))]
        branch = out[number]
        along = STEP_MM * (np.arange(len(branch.radii)) - index)
        shape = 0.5 + 0.5 * np.cos(2.0 * math.pi * np.clip(along / wanted.length_mm, -0.5, 0.5))
        radii = branch.radii * (1.0 - 0.01 * wanted.percent_ds * shape)
        radii = np.rint(radii / RADIUS_GRID_MM) * RADIUS_GRID_MM
        out[number] = Branch(branch.name, branch.points, radii, branch.segments, branch.parent)
        margin = half + math.ceil(_MARGIN_MM / STEP_MM)
        free[number][max(index - margin, 0) : index + margin + 1] = False
        point = (float(branch.points[index, 0]), float(branch.points[index, 1]), float(branch.points[index, 2]))
        blank = Stenosis(branch.segments[index], point, wanted.length_mm, 0.0, 0.0, wanted.percent_ds)
        reference, mld, percent = measure_percent_ds(out[number], blank)
        found.append(Stenosis(blank.segment, point, wanted.length_mm, reference, mld, percent))
    return tuple(out), tuple(found)


def measure_percent_ds(branch: Branch, stenosis: Stenosis) -> tuple[float, float, float]:
    """Measure a stenosis on the branch's final radii: (reference mm, MLD mm, percent diameter stenosis).

    Interpolated reference (DICOM PS3.17 T.4.2): the straight line through the diameters at both ends of the lesion,
    read where the lumen is narrowest. Only the position and length of ``stenosis`` are used.

    Raises:
        ValueError: the stenosis does not lie on this branch.
    """
    gap = np.sqrt(((branch.points - np.array(stenosis.point)) ** 2).sum(axis=1))
    centre = int(np.argmin(gap))
    half = math.ceil(0.5 * stenosis.length_mm / STEP_MM)
    low, high = centre - half, centre + half
    if gap[centre] > STEP_MM or low < 0 or high >= len(branch.radii):
        raise ValueError(
            f"the stenosis at {stenosis.point} lies {gap[centre]:.1f} mm from {branch.name} or at its end: "
            "pass the branch it was built into"
        )
    diameters = 2.0 * branch.radii
    at = low + int(np.argmin(diameters[low : high + 1]))
    share = (at - low) / (high - low)
    reference = float((1.0 - share) * diameters[low] + share * diameters[high])
    mld = float(diameters[at])
    return reference, mld, 100.0 * (1.0 - mld / reference)


def _free(branches: Sequence[Branch]) -> list[np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Points of each branch that a stenosis may cover: numbered segments away from bifurcations and ends."""
    margin = math.ceil(_MARGIN_MM / STEP_MM)
    out = []
    for branch in branches:
        free = np.array([name != "" for name in branch.segments])
        first = math.ceil(branch.radii[0] / STEP_MM)  # still inside the parent's lumen
        free[: first + margin] = False
        free[-margin - 1 :] = False
        out.append(free)
    for fork in bifurcations(branches):
        last = fork.index if fork.distal is None else fork.distal
        out[fork.parent][max(fork.index - margin, 0) : last + margin + 1] = False
    return out


def _sites(
    branches: Sequence[Branch],
    free: Sequence[np.ndarray[tuple[int], np.dtype[np.bool_]]],
    half: int,
    segment: str | None,
) -> list[tuple[int, int]]:
    """Branch and point indices where a stenosis of this half length (in steps) fits."""
    out = []
    for number, branch in enumerate(branches):
        taken = np.concatenate([[0], np.cumsum(~free[number])])
        inside = taken[2 * half + 1 :] == taken[: max(len(taken) - 2 * half - 1, 0)]
        for index in (half + np.flatnonzero(inside & (2.0 * branch.radii[half:-half] >= MIN_REFERENCE_MM))).tolist():
            if segment is None or branch.segments[index] == segment:
                out.append((number, index))
    return out
