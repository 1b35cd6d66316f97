"""Plaques of the phantoms' own disease: walls that grow outwards and inwards, with cores, caps, rings and calcium.

Across the vessel a plaque lies between a lumen that it narrows and an outer wall that it pushes out, thickest on one
side, twisting and uneven along the way. Its tissue is told at points a third of a voxel apart, by how deep in the wall
they lie (0 at the lumen, 1 outside). Numbers: the table of ``disease``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats
from lesionforge.generators.phantom.ct.disease import Wobble, cut_normal, pick, spread
from lesionforge.generators.phantom.ct.disease_course import Course
from lesionforge.generators.phantom.ct.vessels import capsules, filled

KINDS = ("non_calcified", "mixed", "calcified")
SHARES = (0.36, 0.4, 0.24)
RISK, RING = 0.35, 0.25  # of plaques with soft tissue: lipid-rich; of these: with a napkin ring
LUMEN_HU, SHIFT = 326.0, 0.18
FIBROUS, LIPID, RIM_HU = (91.0, 22.0), (25.0, 18.0), 25.0  # a lipid core is darker than the blurred 49 it reads as
CALCIUM_HU = 950.0  # median; most of it blurs into less
SUB = 3  # points an edge of a voxel
ALIKE_MM = 0.12  # of thickness beyond the healthy wall that is plaque
CLOSED = 0.06  # least share of the lumen's radius that stays


@dataclass(frozen=True)
class Nodule:
    """A lump of calcium: place in the wall (mm along, radians, depth), radius in mm, longer along the vessel."""

    along: float
    angle: float
    depth: float
    radius: float
    longer: float


@dataclass(frozen=True)
class Sheet:
    """A plate of calcium in the wall: middle, half length in mm, half arc in radians, depth, half thickness in mm."""

    along: float
    angle: float
    half: float
    arc: float
    depth: float
    thick: float


@dataclass(frozen=True)
class Plaque:
    """One plaque, drawn; see ``draw``."""

    kind: str
    half_mm: float
    lean: float  # -1 ... 1: its thickest part before or behind the middle
    percent_ds: float
    outwards: float  # share of the vessel's outer radius that it grows by
    focus: float  # of the thickness about the angle; 0: all around
    angle: float
    twist: float  # radians over its length
    cap: float  # share of the thickness that covers the core; 0: no core
    ring: bool
    fibrous: float
    lipid: float
    uneven: Wobble
    ragged: Wobble
    nodules: tuple[Nodule, ...]
    sheets: tuple[Sheet, ...]
    calcium_hu: float

    @classmethod
    def draw(cls, rng: np.random.Generator, angle: float, lumen_hu: float) -> Plaque:
        """All about it but its place; ``lumen_hu`` shifts its soft tissue."""
        kind = KINDS[pick(rng, SHARES)]
        risk = kind != "calcified" and float(rng.uniform()) < RISK
        half = 0.5 * spread(rng, 8.4, 0.47, 3.0, 24.0)
        ds = spread(rng, 23.0, 0.6, 3.0, 75.0)
        grown = cut_normal(rng, 0.26 if risk else 0.13, 0.15)
        shift = SHIFT * (lumen_hu - LUMEN_HU)
        focus = 0.0 if float(rng.uniform()) < 0.25 else float(rng.uniform(0.4, 1.6))
        if kind == "calcified":  # little else than calcium
            focus, ds = focus + 1.0, 0.6 * ds
        while _area_left(np.array([1.0 - CLOSED]), focus)[0] > (1.0 - ds / 100.0) ** 2:
            focus *= 0.8  # one side alone cannot narrow it so far
        lumps, plates = _calcium(rng, kind, half, angle)
        return cls(
            kind=kind,
            half_mm=half,
            lean=float(rng.uniform(-0.5, 0.5)),
            percent_ds=ds,
            outwards=max(grown, 0.0),
            focus=focus,
            angle=angle,
            twist=cut_normal(rng, 0.0, 0.6),
            cap=float(rng.uniform(0.12, 0.4)) if risk else 0.0,
            ring=risk and float(rng.uniform()) < RING,
            fibrous=cut_normal(rng, *FIBROUS) + shift,
            lipid=cut_normal(rng, *LIPID) + shift,
            uneven=Wobble.draw(rng, 1.5),
            ragged=Wobble.draw(rng, 4.0),
            nodules=lumps,
            sheets=plates,
            calcium_hu=spread(rng, CALCIUM_HU, 0.3, 550.0, 1900.0),
        )

    def paint(
        self, canvas: Canvas, course: Course, outer: Callable[[Floats], Floats], spared: frozenset[int]
    ) -> tuple[Canvas, Floats, Floats] | None:
        """Lay it on the canvas.

        Args:
            canvas: with the vessels.
            course: where it lies.
            outer: radius of the outer wall of healthy vessels by that of the lumen, mm.
            spared: labels that it does not grow into.

        Returns:
            The part of the canvas that it may have changed, and the shares of its voxels that are plaque and calcium of
            it, (i, j, k); None where it lies outside.
        """
        walls = outer(course.radii)
        reach = float(((1.0 + self.outwards) * walls).max()) * 1.6 + 0.5
        near = canvas.tube(course.points, np.full(len(course.points), reach), 3 * canvas.grid.voxel_mm)
        if near is None:
            return None
        part, depth = near
        room = ~np.isin(part.labels, list(spared))
        for points, radii in course.others:
            if found := filled(part, capsules([(points, radii)])):
                room[found[0].at] &= found[1] < 0.5
        where = np.argwhere((depth > 0) & room)
        if not len(where):
            return None
        steps = (np.indices((SUB,) * 3).reshape(3, -1).T + 0.5) / SUB - 0.5
        grid = part.grid
        world = np.array(grid.origin_mm) + np.array(grid.spacing_mm) * (
            (where + np.array(grid.first))[:, None, :] + steps[None]
        )
        inside, hard, tissue = self._tissue(world.reshape(-1, 3), course, walls, reach)
        count = len(steps)
        share = inside.reshape(-1, count).sum(axis=1) / count
        at = tuple(where.T)
        level = np.where(inside, tissue, 0.0).reshape(-1, count).sum(axis=1) / count
        part.hu[at] = (1.0 - share) * part.hu[at] + level
        whole, calcium = np.zeros(part.hu.shape), np.zeros(part.hu.shape)
        whole[at], calcium[at] = share, hard.reshape(-1, count).sum(axis=1) / count
        return part, whole, calcium

    def _tissue(self, p: Floats, course: Course, walls: Floats, reach: float) -> tuple[Floats, Floats, Floats]:
        """Of points (n, 3): whether they are plaque, whether calcium of it, and their HU."""
        gap, at = scipy.spatial.cKDTree(course.points).query(p, distance_upper_bound=reach)
        near = np.isfinite(gap)
        at = np.minimum(at, len(course.points) - 1)
        s = course.along[at]
        offset = p - course.points[at]
        angle = np.arctan2((offset * course.aside[at]).sum(axis=1), (offset * course.out[at]).sum(axis=1))
        place = s / self.half_mm
        place = place - 0.5 * self.lean * (1.0 - np.minimum(np.abs(place), 1.0) ** 2)
        fade = np.where(np.abs(place) < 1.0, np.cos(0.5 * math.pi * np.clip(place, -1.0, 1.0)) ** 2, 0.0)
        turned = angle - self.angle - self.twist * place
        side = np.exp(self.focus * (np.cos(turned) - 1.0))
        uneven = np.maximum(1.0 + 0.3 * self.uneven.at(place, angle), 0.2)
        lumen, wall = course.radii[at], walls[at]
        inner = lumen * np.maximum(1.0 - self._inwards() * fade * side * uneven, CLOSED)
        beyond = wall * (1.0 + self.outwards * fade * side * uneven)
        thick = beyond - inner
        q = (gap - inner) / np.maximum(thick, 1e-6)
        inside = near & (q > 0.0) & (q < 1.0) & (thick > wall - lumen + ALIKE_MM)
        ragged = self.ragged.at(place, angle)
        hu = self.fibrous + 9.0 * ragged
        turned = np.arctan2(np.sin(turned), np.cos(turned))
        if self.cap:
            deep = (q - self.cap) / (0.85 - self.cap) - 0.5
            core = (place / 0.6) ** 2 + (turned / 1.1) ** 2 + (2.0 * deep) ** 2 < 1.0 + 0.25 * ragged
            hu = np.where(core, self.lipid + 5.0 * ragged, hu)
            if self.ring:
                hu = np.where(q > 0.85, self.fibrous + RIM_HU, hu)
        hard = np.zeros(len(p), bool)
        for one in self.nodules:
            mid = inner + one.depth * thick
            away = np.arctan2(np.sin(angle - one.angle), np.cos(angle - one.angle)) * np.maximum(gap, 0.3)
            square = ((s - one.along) / one.longer) ** 2 + away**2 + (gap - mid) ** 2
            hard |= square < (one.radius * (1.0 + 0.25 * ragged)) ** 2
        for plate in self.sheets:
            mid = inner + plate.depth * thick
            turn = np.abs(np.arctan2(np.sin(angle - plate.angle), np.cos(angle - plate.angle)))
            edge = 1.0 + 0.3 * ragged
            hard |= (
                (np.abs(s - plate.along) < plate.half * edge)
                & (turn < plate.arc * edge)
                & (np.abs(gap - mid) < plate.thick * np.maximum(edge, 0.3))
            )
        hard &= near & (q > -0.1) & (q < 1.1) & (np.abs(place) < 1.2)
        hu = np.where(hard, self.calcium_hu * (1.0 + 0.12 * ragged), hu)
        return inside | hard, hard, hu

    def _inwards(self) -> float:
        """The most of the lumen's radius that it takes, so that the area left tells its %DS."""
        tries = np.linspace(0.0, 1.0 - CLOSED, 95)
        return float(np.interp(-((1.0 - self.percent_ds / 100.0) ** 2), -_area_left(tries, self.focus), tries))


def _area_left(inwards: Floats, focus: float) -> Floats:
    """Share of the lumen's area that is left (n,) where shares of its radius (n,) are taken, from one side mostly."""
    turn = np.linspace(-math.pi, math.pi, 96, endpoint=False)
    side = np.exp(focus * (np.cos(turn) - 1.0))
    out: Floats = (np.maximum(1.0 - inwards[:, None] * side, CLOSED) ** 2).mean(axis=1)
    return out


def _calcium(
    rng: np.random.Generator, kind: str, half: float, angle: float
) -> tuple[tuple[Nodule, ...], tuple[Sheet, ...]]:
    """Lumps, mostly; plates above all in calcified plaque; nothing in soft plaque."""
    if kind == "non_calcified":
        return (), ()
    rich = kind == "calcified"
    lumps = tuple(
        Nodule(
            angle=angle + math.radians(cut_normal(rng, 0.0, 50.0)),
            along=half * float(rng.uniform(-0.7, 0.7)),
            depth=float(rng.uniform(0.3, 0.85)),
            radius=spread(rng, 0.75, 0.4, 0.25, 1.8),
            longer=float(rng.uniform(1.0, 2.5)),
        )
        for _ in range(1 + int(rng.poisson(2.0 if rich else 1.0)))
    )
    if float(rng.uniform()) > (0.9 if rich else 0.3):
        return lumps, ()
    plate = Sheet(
        along=half * float(rng.uniform(-0.3, 0.3)),
        angle=angle + math.radians(cut_normal(rng, 0.0, 30.0)),
        half=half * (float(rng.uniform(0.55, 0.95)) if rich else float(rng.uniform(0.2, 0.5))),
        arc=math.radians(float(rng.uniform(30.0, 100.0 if rich else 60.0))),
        depth=float(rng.uniform(0.45, 0.8)),
        thick=float(rng.uniform(0.3, 0.7)),
    )
    return lumps, (plate,)
