"""How the C-arm stands: views by their names, how large the tree is in the picture, where the table moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lesionforge.generators.carm.view import View, angles_of
from lesionforge.generators.cine.vessels import Floats, Vessels
from lesionforge.generators.types import BadCase, Side

Pair = tuple[float, float]
OTHER = "other"  # name of a view that no named one's ranges hold
SID_MM, SOD_MM = (960.0, 1200.0), (730.0, 790.0)
FIELD_MM = (92.0, 175.0)  # least and greatest edge of the picture at the isocentre
FILLS = (0.58, 0.98)  # of the picture, by the tree's longer side
MARGIN = 0.03  # of the picture, within which an ostium that is to be seen stays away from the border


@dataclass(frozen=True)
class NamedView:
    """A view as it is called: whose tree it shows, and the angles at which it is taken (LAO +, cranial +), degrees."""

    side: Side
    primary_deg: Pair
    secondary_deg: Pair


#: CORE320's study (Cong et al.): four views of the left tree and three of the right.
PAPER: dict[str, NamedView] = {
    "LCA RAO CAU": NamedView("left", (-40, -10), (-35, -12)),
    "LCA RAO CRA": NamedView("left", (-40, -5), (20, 42)),
    "LCA LAO CRA": NamedView("left", (28, 60), (12, 35)),
    "LCA LAO CAU": NamedView("left", (35, 60), (-40, -15)),
    "RCA LAO": NamedView("right", (30, 60), (-10, 10)),
    "RCA RAO": NamedView("right", (-45, -20), (-10, 10)),
    "RCA LAO CRA": NamedView("right", (-5, 28), (15, 35)),
}
#: Those in clinical use: the four others are taken less often.
VIEWS: dict[str, NamedView] = {
    **PAPER,
    "LCA AP CAU": NamedView("left", (-8, 12), (-42, -20)),
    "LCA AP CRA": NamedView("left", (-4, 14), (25, 45)),
    "LCA lateral": NamedView("left", (80, 92), (-8, 8)),
    "RCA lateral": NamedView("right", (80, 92), (-8, 8)),
}
SETS = {"paper": tuple(PAPER), "clinical": tuple(VIEWS)}
_RARE = 0.4  # how often one of the four others is taken, beside one of the seven
ANY_DEG = (60.0, 42.0)  # greatest angles of a view that is drawn at random


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Names as given, those of a set in its place.

    Raises:
        ValueError: for what is neither a set, a view, ``any`` nor angles.
    """
    out: list[str] = []
    for name in names:
        if name not in ("any", *SETS, *VIEWS):
            try:
                angles_of(name)
            except ValueError:
                known = ", ".join(("any", *SETS, *VIEWS))
                raise ValueError(f"views has {name!r}: give angles as LAO 30 CRA 20, or of {known}") from None
        out += SETS.get(name, (name,))
    return tuple(dict.fromkeys(out))


def name_of(side: Side, primary_deg: float, secondary_deg: float) -> str:
    """The view whose ranges hold these angles, ``other`` where none does."""
    for name, view in VIEWS.items():
        (a, b), (c, d) = view.primary_deg, view.secondary_deg
        if view.side == side and a <= primary_deg <= b and c <= secondary_deg <= d:
            return name
    return OTHER


@dataclass(frozen=True)
class Stand:
    """A view with its name, and ``shift_mm`` (3,), which the table adds to the tree's points, LPS."""

    name: str
    view: View
    shift_mm: Floats

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        names: Sequence[str],
        vessels: Vessels,
        size: int,
        ostium: float,
        told: Pair | None = None,
        opening: tuple[int, int, int, int] | None = None,
    ) -> Stand:
        """A view of the tree's side, with the tree in the picture.

        Args:
            names: as from ``chosen``.
            size: rows and columns.
            ostium: how often the ostium must be in the picture.
            told: the angles, where a background says them.
            opening: first and last row and column that its collimator leaves open.

        Raises:
            BadCase: no view among the names is of this side.
        """
        side = vessels.side
        own = [n for n in names if n not in VIEWS or VIEWS[n].side == side]
        if not own:
            raise BadCase(f"views {', '.join(names)} show no {side} tree")
        odds = np.array([1.0 if n in PAPER or n not in VIEWS else _RARE for n in own])
        pick = float(rng.random()) * float(odds.sum())
        name = own[min(int(np.searchsorted(np.cumsum(odds), pick, "right")), len(own) - 1)]
        if name in VIEWS:
            primary, secondary = (float(rng.uniform(*r)) for r in (VIEWS[name].primary_deg, VIEWS[name].secondary_deg))
        elif name == "any":
            primary, secondary = (float(rng.uniform(-most, most)) for most in ANY_DEG)
        else:
            primary, secondary = angles_of(name)
        if told is not None:
            primary, secondary = told
        name = name if name in VIEWS and told is None else name_of(side, primary, secondary)
        sid, sod = float(rng.uniform(*SID_MM)), float(rng.uniform(*SOD_MM))
        view = View(round(sid, 1), round(sod, 1), round(primary, 1), round(secondary, 1), size, size)
        return cls(name, *_framed(rng, vessels, view, rng.random() < ostium, opening or (0, size - 1, 0, size - 1)))


def _framed(
    rng: np.random.Generator, vessels: Vessels, view: View, ostium: bool, opening: tuple[int, int, int, int]
) -> tuple[View, Floats]:
    """The view with pixels of such a size, and a shift such, that the tree fills what is open of the picture."""
    u, v, d = view.axes
    along = [(vessels.points * axis).sum(1) for axis in (v, u)]
    box = np.array([np.quantile(line, (0.01, 0.99)) for line in along])
    top, bottom, left, right = opening
    sides = np.array([bottom - top + 1, right - left + 1]) / view.rows  # what is open, as shares of the picture
    middle_px = np.array([top + bottom, left + right]) / 2 - (view.rows - 1) / 2
    extent = float(((box[:, 1] - box[:, 0]) / sides).max())
    field = min(max(extent / float(rng.uniform(*FILLS)), FIELD_MM[0]), FIELD_MM[1])
    pixel = round(field / view.rows * view.magnification, 5)
    middle = box.mean(1)
    free = np.maximum(field * sides - (box[:, 1] - box[:, 0]), 0.06 * field) / 2
    middle += free * np.clip(rng.normal(0, 0.5, 2), -1.2, 1.2)
    if ostium:
        root = np.array([line[0] for line in along])
        reach = (0.5 - MARGIN) * field * sides
        middle = np.clip(middle, root - reach, root + reach)
    middle -= middle_px * field / view.rows
    low, high = (np.quantile((vessels.points * d).sum(1), q) for q in (0.02, 0.98))
    middle, depth = np.round(middle, 3), round(float(low + high) / 2, 3)
    return replace(view, pixel_mm=(pixel, pixel)), -(middle[0] * v + middle[1] * u + depth * d)


@dataclass(frozen=True)
class Pan:
    """The table moved while filming: by ``rows``, ``cols`` pixels in all, from ``start_s`` on for ``seconds``."""

    start_s: float
    seconds: float
    rows: int
    cols: int

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: float, most: int) -> Pan:
        """One of a run this long; ``most`` pixels along each axis."""
        start = float(rng.uniform(0.35, 0.85)) * seconds
        lasts = float(rng.uniform(0.25, 1.0)) * (seconds - start) + 0.3
        angle, far = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.3, 1)) * most
        return cls(start, lasts, round(far * math.sin(angle)), round(far * math.cos(angle)))

    def at(self, time_s: float) -> tuple[int, int]:
        """Rows and columns by which everything has moved: whole pixels, for a background is never resampled."""
        t = min(max((time_s - self.start_s) / self.seconds, 0.0), 1.0)
        share = t * t * (3 - 2 * t)
        return round(share * self.rows), round(share * self.cols)

    def shift_mm(self, moved: tuple[int, int], view: View) -> Floats:
        """The same (3,) in LPS mm at the isocentre."""
        u, v, _ = view.axes
        mm = view.pixel_mm[0] / view.magnification
        out: Floats = mm * (moved[0] * v + moved[1] * u)
        return out
