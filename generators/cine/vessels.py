"""All vessels of one coronary tree as arrays, and the narrowings in them: what a run is drawn from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.types import Side

Floats = NDArray[np.float64]
Artery = Literal["LM", "LAD", "LCX", "RCA"]
NarrowingKind = Literal["focal", "diffuse", "occlusion"]
STEP_MM: Final = 0.5  # spacing of centreline points

#: Artery of each SYNTAX segment (Sianos 2005). Segments 14a to 15 are the circumflex's where the left dominates.
ARTERIES: Final[Mapping[str, Artery]] = {
    **dict.fromkeys(("1", "2", "3", "4", "16", "16a", "16b", "16c"), "RCA"),
    "5": "LM",
    **dict.fromkeys(("6", "7", "8", "9", "9a", "10", "10a"), "LAD"),
    **dict.fromkeys(("11", "12", "12a", "12b", "13", "14", "14a", "14b", "15"), "LCX"),
    "RCA": "RCA", "LM": "LM", "LAD": "LAD", "LCX": "LCX",  # trees whose segments nobody named
}  # fmt: skip


@dataclass(frozen=True)
class Narrowing:
    """One lesion of a vessel; every index is that of a point of ``Vessels``, all on one branch.

    Attributes:
        minimum, first, last: the narrowest point, and the first and last point that are narrowed.
        percent_ds: percent diameter stenosis, ``100 * (1 - mld_mm / reference_mm)``; 100 for an occlusion.
        mld_mm: minimal lumen diameter.
        reference_mm: healthy diameter at the minimum.
        length_mm: along the centreline.
        eccentric: 0 concentric .. 1 the plaque on one side alone; the lumen's centre has moved accordingly.
        direction: unit vector (3,) towards which the lumen moved, away from the plaque.
        kind: "focal", "diffuse" (irregular walls, below 20 %: labelled nowhere) or "occlusion".
        segment: SYNTAX name.
    """

    minimum: int
    first: int
    last: int
    percent_ds: float
    mld_mm: float
    reference_mm: float
    length_mm: float
    eccentric: float
    direction: tuple[float, float, float]
    kind: NarrowingKind
    segment: str

    @property
    def artery(self) -> Artery | None:
        """The artery its segment belongs to; None in an unnamed vessel."""
        return ARTERIES.get(self.segment)


@dataclass(frozen=True)
class Vessels:
    """All vessels of a tree at end-diastole: n points, branch after branch, each from proximal to distal.

    A branch's points are about ``STEP_MM`` apart and its first one lies on its parent; a parent comes before its
    children.

    Attributes:
        points: float64 (n, 3), LPS mm: the lumen's centre.
        radii, healthy: float64 (n,), mm, with and without lesions; 0 in an occlusion.
        branch: int32 (n,), counted from 0.
        parent: int32 (n,), the point before; -1 at the ostium. A branch's first point names the parent's point that
            it lies on.
        fade: float32 (n,), 0..1: how much of the contrast shows there, for the ends of vessels fade away.
        segment: int16 (n,), index into ``names``; -1 in unnamed twigs.
        names: SYNTAX segments, or LAD, LCX, RCA where the tree's segments nobody named.
        lesions: proximal ones first.
    """

    points: Floats
    radii: Floats
    healthy: Floats
    branch: NDArray[np.int32]
    parent: NDArray[np.int32]
    fade: NDArray[np.float32]
    segment: NDArray[np.int16]
    names: tuple[str, ...]
    side: Side
    dominance: str
    lesions: tuple[Narrowing, ...] = ()

    @functools.cached_property
    def starts(self) -> NDArray[np.int64]:
        """int64 (branches + 1,): branch k's points are ``starts[k]:starts[k + 1]``."""
        return np.searchsorted(self.branch, np.arange(int(self.branch[-1]) + 2))

    @functools.cached_property
    def along(self) -> Floats:
        """Path length (n,) in mm from the ostium."""
        before = np.maximum(self.parent, 0)
        steps = np.sqrt(((self.points - self.points[before]) ** 2).sum(axis=1))
        return self.summed(steps)

    def summed(self, amounts: Floats) -> Floats:
        """Sum (n,) of amounts (n,) on the way from the ostium to each point, its own among them."""
        out = np.empty(len(amounts))
        _sum(self.parent, np.ascontiguousarray(amounts, np.float64), out)
        return out

    def downstream(self, point: int) -> NDArray[np.bool_]:
        """Points (n,) that get their blood through one point, it among them."""
        mark = np.zeros(len(self.parent))
        mark[point] = 1.0
        return self.summed(mark) > 0.0

    def upstream(self, point: int) -> list[int]:
        """Points on the way from one point to the ostium, it among them."""
        out = []
        while point >= 0:
            out.append(point)
            point = int(self.parent[point])
        return out

    def segment_of(self, point: int) -> str:
        """SYNTAX name at a point, "" in unnamed twigs."""
        place = int(self.segment[point])
        return self.names[place] if place >= 0 else ""


@jit
def _sum(parent: NDArray[np.int32], amounts: Floats, out: Floats) -> None:
    for n in range(len(parent)):
        before = parent[n]
        out[n] = amounts[n] + (out[before] if before >= 0 else 0.0)
