"""Coronary disease in a tree: lesions of a chosen percent diameter stenosis, and irregular walls that are none.

A lesion's lumen is narrowed by ``percent_ds`` exactly at its minimum, by an uneven profile of 5 to 20 mm around it;
plaque lies on one side as a rule (the inner side of a bend), so the lumen's centre moves to the other. Lesions prefer
proximal vessels, forks and bends, where the wall's shear is low (Asakura 1990).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.vessels import ARTERIES, STEP_MM, Floats, Narrowing, NarrowingKind, Vessels
from lesionforge.generators.phantom.tree.calibre import RADIUS_GRID_MM
from lesionforge.generators.phantom.tree.curve import GRID_MM
from lesionforge.generators.types import Rejected, significant

Degree = Literal["mild", "moderate", "severe", "occluded"]
PERCENT_DS: Final[dict[Degree, tuple[float, float]]] = {
    "mild": (25.0, 49.9), "moderate": (50.0, 69.9), "severe": (70.0, 95.0), "occluded": (100.0, 100.0)
}  # fmt: skip
LENGTH_MM: Final = (5.0, 20.0)
MIN_REFERENCE_MM: Final = 1.9  # smallest healthy diameter that is graded
DIFFUSE_PERCENT: Final = (6.0, 18.0)  # below what anybody calls a stenosis (20 %)
_APART_MM = 4.0  # healthy wall between two lesions
_STUMP_MM = 2.5  # over which an occlusion's ends close
_FORK_MM, _FORK_RATIO = 5.0, 0.4  # how near a fork counts, and of which daughters


@dataclass(frozen=True)
class Request:
    """A lesion that is wanted: percent diameter stenosis (100 for an occlusion), length in mm, and where.

    ``place``: a SYNTAX segment or an artery (LM, LAD, LCX, RCA). Length and place are drawn where None.
    """

    percent_ds: float
    length_mm: float | None = None
    place: str | None = None

    def __post_init__(self) -> None:
        if not 20.0 <= self.percent_ds <= 100.0:
            raise ValueError(f"percent_ds is {self.percent_ds}: give 20 to 100; what is less is no stenosis")
        if self.length_mm is not None and not self.length_mm >= 3.0:
            raise ValueError(f"length_mm is {self.length_mm}: give 3 mm or more, or None to draw it")
        if self.place is not None and self.place not in ARTERIES:
            raise ValueError(f"place is {self.place!r}: give one of {', '.join(ARTERIES)}")

    @classmethod
    def draw(cls, rng: np.random.Generator, degree: Degree, place: str | None = None) -> Request:
        """Of a degree, evenly over its range."""
        return cls(significant(rng.uniform(*PERCENT_DS[degree])), place=place)


def diseased(vessels: Vessels, requests: Sequence[Request], rng: np.random.Generator, diffuse: float = 0.5) -> Vessels:
    """The tree with the lesions asked for, and with irregular walls elsewhere.

    Args:
        vessels: a healthy tree.
        requests: lesions; they never overlap. An occlusion lies in no left main unless asked to, and nothing
            asked for lies behind an occlusion.
        rng: draws where and how.
        diffuse: mean share (0..1) of named vessels with irregular walls; between subjects it varies up to twice that.

    Raises:
        Rejected: where a lesion finds no room; its message names the request.
    """
    wanted = sorted(requests, key=lambda r: -r.percent_ds)
    try:
        lesions, radii, shift, free = _placed(vessels, wanted, rng)
    except Rejected:  # an occlusion near the ostium leaves no room for others: it goes behind them
        lesions, radii, shift, free = _placed(vessels, sorted(wanted, key=lambda r: r.percent_ds >= 100.0), rng)
    for _ in range(int(rng.poisson(8.0 * min(diffuse * 2.0 * rng.random(), 1.0)))):
        found = _irregular(vessels, free, rng)
        if found is not None:
            _apply(vessels, *found, radii, shift)
            lesions.append(found[0])
            _close(free, found[0], vessels)
    return replace(
        vessels,
        points=np.rint((vessels.points + _carried(vessels, shift)) / GRID_MM) * GRID_MM,
        radii=radii,
        lesions=tuple(sorted(lesions, key=lambda n: (vessels.along[n.minimum], n.minimum))),
    )


def _placed(
    vessels: Vessels, requests: Sequence[Request], rng: np.random.Generator
) -> tuple[list[Narrowing], Floats, Floats, NDArray[np.bool_]]:
    """Lesions as asked for, in that order; radii (n,), shifts (n, 3) of the centre, and what is still free (n,)."""
    radii, shift = vessels.radii.copy(), np.zeros_like(vessels.points)
    free, weight = _sites(vessels)
    lesions: list[Narrowing] = []
    for wanted in requests:
        likely = weight.copy()
        if wanted.percent_ds >= 100.0:
            for other in lesions:
                likely[vessels.upstream(other.minimum)] = 0.0
        lesion, shape = _focal(vessels, wanted, free, likely, rng)
        _apply(vessels, lesion, shape, radii, shift)
        lesions.append(lesion)
        _close(free, lesion, vessels)
        if lesion.kind == "occlusion":
            weight[vessels.downstream(lesion.minimum)] = 0.0
    return lesions, radii, shift, free


def _sites(vessels: Vessels) -> tuple[NDArray[np.bool_], Floats]:
    """Where a lesion may reach (n,), and how likely its minimum lies at each point (n,)."""
    count = len(vessels.radii)
    free = vessels.segment >= 0
    near = np.zeros(count)  # to a fork with a daughter that counts
    for first in vessels.starts[1:-1].tolist():
        origin = int(vessels.parent[first])
        if origin < 0:
            continue
        wide = float(vessels.healthy[origin])
        inside = math.ceil(wide / STEP_MM)  # a branch's first points lie in its parent's lumen
        free[first : first + inside] = False
        if vessels.healthy[first + 1] >= _FORK_RATIO * wide:
            reach = round(_FORK_MM / STEP_MM)
            here = vessels.branch[max(origin - reach, 0) : origin + reach] == vessels.branch[origin]
            near[max(origin - reach, 0) : origin + reach][here] = 1.0
            near[first : first + inside + reach] = 1.0
    weight = (1.0 + 2.5 * near + 2.0 * np.minimum(_bend(vessels) / 0.08, 1.0)) * (0.12 + np.exp(-vessels.along / 45.0))
    weight[~free | (2.0 * vessels.healthy < MIN_REFERENCE_MM)] = 0.0
    return free, weight


def _bend(vessels: Vessels) -> Floats:
    """Curvature (n,) in 1/mm over 4 mm to either side, 0 near a branch's ends."""
    reach = round(4.0 / STEP_MM)
    p, out = vessels.points, np.zeros(len(vessels.radii))
    second = p[2 * reach :] - 2.0 * p[reach:-reach] + p[: -2 * reach]
    same = vessels.branch[2 * reach :] == vessels.branch[: -2 * reach]
    out[reach:-reach][same] = np.sqrt((second * second).sum(axis=1))[same] / (reach * STEP_MM) ** 2
    return out


def _focal(
    vessels: Vessels, wanted: Request, free: NDArray[np.bool_], weight: Floats, rng: np.random.Generator
) -> tuple[Narrowing, Floats]:
    """A lesion at a free place, and its narrowing (0..1, 1 at the minimum) over its points."""
    closed = wanted.percent_ds >= 100.0
    low, high = LENGTH_MM
    length = wanted.length_mm or min(max(11.0 * math.exp(0.4 * float(rng.standard_normal())), low), high)
    here = weight.copy()
    if wanted.place is not None:
        fits = [name == wanted.place or ARTERIES.get(name) == wanted.place for name in vessels.names] + [False]
        here[~np.array(fits)[vessels.segment]] = 0.0
    elif closed:
        here[vessels.segment == (vessels.names.index("5") if "5" in vessels.names else -2)] = 0.0
    for least in (length, 0.7 * length, 3.0):  # rather a shorter lesion than none
        before = round(rng.uniform(0.35, 0.65) * least / STEP_MM)
        after = max(round(least / STEP_MM) - before, 2)
        taken = np.concatenate([[0], np.cumsum(~free)])
        at = np.arange(len(free))
        firsts, lasts = np.maximum(at - before, 0), np.minimum(at + after, len(free) - 1)
        room = (taken[lasts + 1] == taken[firsts]) & (vessels.branch[firsts] == vessels.branch[lasts])
        room &= lasts - firsts == before + after
        total = np.cumsum(np.where(room, here, 0.0))
        if total[-1] > 0.0:
            break
    else:
        raise Rejected(f"no room for a lesion of {wanted.percent_ds:g} % in {wanted.place or 'the tree'}")
    minimum = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    first, last = minimum - before, minimum + after
    along = np.arange(first, last + 1) - minimum
    if closed:
        stump = max(round(_STUMP_MM / STEP_MM), 2)
        ends = np.minimum(np.arange(len(along)), np.arange(len(along))[::-1])
        shape = np.minimum(ends / min(stump, len(along) // 3), 1.0) ** 0.7
        minimum = first + int(np.argmax(shape))
        kind: NarrowingKind = "occlusion"
    else:
        part = np.where(along < 0, along / before, along / after)
        shape = (0.5 + 0.5 * np.cos(math.pi * part)) ** rng.uniform(0.6, 1.5)
        ripple = np.zeros(len(along))
        for _ in range(3):
            ripple += np.sin(2.0 * math.pi * (along * STEP_MM / rng.uniform(2.0, 6.0) + rng.random()))
        shape = np.clip(shape + 0.12 * ripple * 4.0 * shape * (1.0 - shape), 0.0, 0.985)
        shape[before] = 1.0
        kind = "focal"
    eccentric = float(rng.beta(2.2, 1.3))
    reference = 2.0 * float(vessels.healthy[minimum])
    lesion = Narrowing(
        minimum=minimum,
        first=first,
        last=last,
        percent_ds=significant(wanted.percent_ds),
        mld_mm=significant(reference * (1.0 - 0.01 * wanted.percent_ds)),
        reference_mm=significant(reference),
        length_mm=STEP_MM * (last - first),
        eccentric=significant(eccentric),
        direction=_aside(vessels, minimum, rng),
        kind=kind,
        segment=vessels.segment_of(minimum),
    )
    return lesion, shape


def _aside(vessels: Vessels, at: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Unit vector across the vessel: away from the inner side of its bend, more or less."""
    p, last = vessels.points, len(vessels.points) - 1
    a, b = p[max(at - 6, 0)], p[min(at + 6, last)]
    along = b - a
    outward = 2.0 * p[at] - a - b
    away = 0.25 * rng.standard_normal(3) + outward / 1.5
    away -= (away * along).sum() / max(float((along * along).sum()), 1e-9) * along
    size = max(math.sqrt(float((away * away).sum())), 1e-9)
    x, y, z = (significant(v / size) for v in away.tolist())
    return x, y, z


def _irregular(vessels: Vessels, free: NDArray[np.bool_], rng: np.random.Generator) -> tuple[Narrowing, Floats] | None:
    """A stretch of uneven wall, or None where the place drawn has no room."""
    sites = np.flatnonzero(free & (vessels.healthy > 0.7))
    if not len(sites):
        return None
    first = int(sites[int(rng.integers(len(sites)))])
    last = first + round(rng.uniform(10.0, 40.0) / STEP_MM)
    stop = np.flatnonzero(~free[first : last + 1] | (vessels.branch[first : last + 1] != vessels.branch[first]))
    last = first + int(stop[0]) - 1 if len(stop) else last
    last = min(last, len(free) - 1)
    if last - first < 8.0 / STEP_MM:
        return None
    along = STEP_MM * np.arange(last - first + 1)
    wave = np.zeros(len(along))
    for low, high in ((3.0, 6.0), (5.0, 10.0), (8.0, 16.0)):
        wave += np.sin(2.0 * math.pi * (along / rng.uniform(low, high) + rng.random()))
    shape = np.clip(0.5 + 0.3 * wave, 0.0, 1.0) * np.minimum(np.minimum(along, along[::-1]) / 3.0, 1.0)
    shape /= max(float(shape.max()), 1e-9)
    minimum = first + int(np.argmax(shape))
    reference = 2.0 * float(vessels.healthy[minimum])
    percent = significant(rng.uniform(*DIFFUSE_PERCENT))
    lesion = Narrowing(
        minimum, first, last, percent, significant(reference * (1.0 - 0.01 * percent)), significant(reference),
        STEP_MM * (last - first), significant(0.5 * rng.random()), _aside(vessels, minimum, rng), "diffuse",
        vessels.segment_of(minimum),
    )  # fmt: skip
    return lesion, shape


def _apply(vessels: Vessels, lesion: Narrowing, shape: Floats, radii: Floats, shift: Floats) -> None:
    """Narrow the lumen by a lesion and move its centre, in place."""
    part = np.s_[lesion.first : lesion.last + 1]
    healthy = vessels.healthy[part]
    radii[part] = np.rint(healthy * (1.0 - 0.01 * lesion.percent_ds * shape) / RADIUS_GRID_MM) * RADIUS_GRID_MM
    shift[part] = (lesion.eccentric * (healthy - radii[part]))[:, None] * np.array(lesion.direction)


def _close(free: NDArray[np.bool_], lesion: Narrowing, vessels: Vessels) -> None:
    """No other lesion near this one."""
    apart = round(_APART_MM / STEP_MM)
    first, last = max(lesion.first - apart, 0), min(lesion.last + apart, len(free) - 1)
    own = vessels.branch[first : last + 1] == vessels.branch[lesion.minimum]
    free[first : last + 1][own] = False


def _carried(vessels: Vessels, shift: Floats) -> Floats:
    """Shifts (n, 3) with those of the branches that leave where the lumen moved: they return to their place."""
    out = shift.copy()
    for first, last in zip(vessels.starts[1:-1].tolist(), vessels.starts[2:].tolist(), strict=True):
        origin = int(vessels.parent[first])
        if origin >= 0 and out[origin].any():
            out[first:last] += 0.8 ** np.arange(last - first)[:, None] * out[origin]
    return out
