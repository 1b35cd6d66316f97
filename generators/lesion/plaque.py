"""Plaques: a crescent between a narrowed lumen and a remodelled outer wall.

Across the vessel, about its old centreline: the old lumen is a circle of radius r; the new one is that circle without
the plaque. The plaque is what lies inside the wall's inner circle (radius grown by the remodelling, shifted so that
the far wall stays), outside a circle that stays open (radius q r, shifted to the far side by ``eccentric``), and within
the plaque's arc. Along the vessel all of it fades in and out by a raised cosine. q follows from the area that is left:
%DS = 1 - sqrt(area / old area), so diameter and area stenosis agree. Labels of lumen alone say nothing of the wall:
its thickness is drawn, not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion import bed, blend
from lesionforge.generators.lesion.classes import PLAQUE_HU, TISSUE_HU, VALUE, calcium_scale
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.scene import CtScene, box_about
from lesionforge.generators.lesion.tumour import MIN_VOXELS, largest, radius_mm
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel
from lesionforge.generators.types import Rejected

FLANK_MM = 2.0  # healthy vessel to either side, where the meter takes its references
SHORTER = 0.85  # of a plaque's length, where it has no room
SPOT_MM, SPOT_ARC, SPOT_DS = (2.0, 3.0), (50.0, 90.0), (2.0, 15.0)  # spotty calcium
LIPID = 0.2  # more remodelling about low-attenuation plaque, which goes with it
SPARE_ARC = 40.0  # degrees beyond the arc whose closing would just do
RING = 96  # points of a section's area: angles, and radii
HU_MARGIN = 4.0  # a request keeps so far off the ends of its class
OPEN = 0.02  # least share of the radius that stays open


@dataclass(frozen=True)
class Plaque:
    """A plaque to be drawn; see ``LesionParams`` for what the numbers mean."""

    lesion_class: str
    length_mm: float
    percent_ds: float
    remodelling: float
    wall_mm: float
    eccentric: float
    arc_deg: float
    angle: float  # where about the vessel it lies, radians from ``CtVessel.first``
    psf_mm: float
    mean_hu: float
    scale: float = 1.0  # of calcium's HU in this scan

    @staticmethod
    def draw(rng: np.random.Generator, params: LesionParams, lesion_class: str) -> Plaque:
        """Any place about the vessel."""
        hard = lesion_class == "calcified"
        low, high = params.calcified_mm if hard else params.length_mm
        share = float(rng.uniform())
        length = low * (high / low) ** share if hard else low + share * (high - low)
        percent_ds = float(rng.uniform(*params.percent_ds))
        remodelling = float(rng.uniform(*params.remodelling))
        if lesion_class == "low_attenuation":
            remodelling += LIPID
        wall, eccentric = float(rng.uniform(*params.wall_mm)), float(rng.uniform(*params.eccentric))
        arc = float(rng.uniform(*(params.calcified_arc_deg if hard else params.arc_deg)))
        need = 360 * (1 - (1 - percent_ds / 100) ** 2) + SPARE_ARC  # closing all of the sector must be enough
        angle, arc = float(rng.uniform(-math.pi, math.pi)), min(360.0, max(arc, need))
        psf, mean = float(rng.uniform(*params.psf_mm)), PLAQUE_HU[lesion_class].draw(rng, HU_MARGIN)
        if hard and float(rng.uniform()) < params.spotty:
            length, arc, percent_ds = (float(rng.uniform(*ends)) for ends in (SPOT_MM, SPOT_ARC, SPOT_DS))
        return Plaque(lesion_class, length, percent_ds, remodelling, wall, eccentric, arc, angle, psf, mean)

    def enhanced(self, lumen_hu: float) -> Plaque:
        """The same beside a lumen so bright."""
        scale = calcium_scale(lumen_hu) if self.lesion_class == "calcified" else 1.0
        return replace(self, mean_hu=self.mean_hu * scale, scale=scale)

    @property
    def class_hu(self) -> tuple[float, float]:
        """What the core of one of its class measures."""
        bounds = PLAQUE_HU[self.lesion_class]
        return self.scale * bounds.low, self.scale * bounds.high

    @property
    def tissue_hu(self) -> tuple[float, float]:
        """What its tissue can be."""
        low, high = TISSUE_HU[self.lesion_class]
        return low, self.scale * high

    def edge_mm(self, volume_mm3: float) -> float:
        """Sigma of its blur where it has that volume: the scanner's, at most a third of its radius."""
        return min(self.psf_mm, radius_mm(volume_mm3) / 3)

    def place(
        self,
        rng: np.random.Generator,
        vessels: list[CtVessel],
        params: LesionParams,
        clear: list[NDArray[np.bool_]] | None = None,
    ) -> tuple[Plaque, CtVessel, int]:
        """A stretch of vessel that is free over the plaque and its flanks, and ``clear`` (n,) of each as well.

        Returns:
            The plaque, shortened where there is less room, its vessel, and the row of its middle.

        Raises:
            Rejected: where the shortest plaque has no room.
        """
        least = (params.calcified_mm if self.lesion_class == "calcified" else params.length_mm)[0]
        least = min(least, self.length_mm)
        good = [vessel.free & (2 * vessel.radii >= params.min_lumen_mm) for vessel in vessels]
        if clear is not None:
            good = [one & own for one, own in zip(good, clear, strict=True)]
        plaque = self
        while not (places := _places(good, plaque.length_mm)):
            if plaque.length_mm <= least:
                raise Rejected(f"no clear stretch of vessel is {least + 2 * FLANK_MM:.0f} mm long here")
            plaque = replace(plaque, length_mm=max(least, SHORTER * plaque.length_mm))
        number, row = places[int(rng.integers(len(places)))]
        return plaque, vessels[number], row

    def rasteriser(
        self, scene: CtScene, vessel: CtVessel, row: int
    ) -> tuple[bed.Bed, Callable[[float], NDArray[np.bool_]]]:
        """What draws the plaque on the scene's voxels, one 6-connected piece, for a percent diameter stenosis.

        Returns:
            Where it lies, and a function of the percentage. That returns which voxels of the bed's box are plaque, and
            raises ``Rejected`` where it is too thin for the voxels.
        """
        half = int(self.length_mm / 2 / STEP_MM)
        rows = slice(max(0, row - half), row + half + 1)
        points, radii = vessel.points[rows], vessel.radii[rows]
        spacing = np.array(scene.spacing)
        reach = 1.5 * self.remodelling * radii.max() + self.wall_mm + spacing.max()
        blurred = blend.reach(self.psf_mm, scene.spacing)  # the box holds all that changes
        low = np.floor((points.min(axis=0) - reach) / spacing).astype(np.int64) - blurred
        high = np.ceil((points.max(axis=0) + reach) / spacing).astype(np.int64) + blurred
        box = box_about(low, high, scene.hu.shape)
        where = bed.lie(scene, box, self.wall_mm + self.psf_mm)
        grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1) * spacing
        gap, at = scipy.spatial.cKDTree(points).query(grid, distance_upper_bound=reach)
        near = np.isfinite(gap) & (at > 0) & (at < len(points) - 1)  # beyond the ends the nearest is an end point
        at = at[near]
        offset = grid[near] - points[at]
        u = (offset * vessel.first[rows][at]).sum(axis=1) / radii[at]
        v = (offset * vessel.second[rows][at]).sum(axis=1) / radii[at]
        along = (at - (row - rows.start)) / max(1, half)
        fade = 0.5 + 0.5 * np.cos(np.pi * np.clip(along, -1, 1))
        lumen = scene.labels[box][near] == VALUE["coronary"]

        def draw(percent_ds: float) -> NDArray[np.bool_]:
            mask = np.zeros(near.shape, bool)
            mask[near] = self._inside(u, v, fade, self.wall_mm / radii[at], lumen, percent_ds)
            mask = largest(mask & where.room)
            if mask.sum() < MIN_VOXELS:
                raise Rejected(f"a plaque of {self.percent_ds:.0f} %DS is too thin for voxels of {spacing.max():g} mm")
            return mask

        return where, draw

    def _inside(
        self,
        u: NDArray[np.float64],
        v: NDArray[np.float64],
        fade: NDArray[np.float64],
        wall: NDArray[np.float64],
        lumen: NDArray[np.bool_],
        percent_ds: float,
    ) -> NDArray[np.bool_]:
        """Which points are plaque: positions across the vessel and the wall in radii of the old lumen."""
        towards = math.cos(self.angle) * u + math.sin(self.angle) * v  # coordinate on the plaque's side
        aside = math.cos(self.angle) * v - math.sin(self.angle) * u
        grown = (1 + wall) * (self.remodelling - 1) * fade
        inner_wall = (towards - grown) ** 2 + aside**2 <= (1 + grown) ** 2
        q = self._open(percent_ds)[np.rint(100 * fade).astype(int)]
        still_open = (towards + self.eccentric * (1 - q)) ** 2 + aside**2 < q**2
        in_arc = np.abs(np.arctan2(aside, towards)) <= math.radians(self.arc_deg) / 2
        plaque: NDArray[np.bool_] = in_arc & ~still_open & (inner_wall | lumen)
        return plaque

    def _open(self, percent_ds: float) -> NDArray[np.float64]:
        """Radius of the open circle in radii of the old lumen, for each percent of ``fade`` (0 ... 100)."""
        q, left = self._left
        wanted = (1 - percent_ds / 100 * np.arange(101) / 100) ** 2
        return np.asarray(np.interp(wanted, left, q))

    @cached_property
    def _left(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Radii of the open circle in radii of the old lumen, and the share of the old area that each leaves."""
        angle = (np.arange(RING) + 0.5) * (2 * math.pi / RING)
        ring = np.sqrt((np.arange(RING) + 0.5) / RING)  # of equal areas
        x, y = (ring[:, None] * np.cos(angle)).ravel(), (ring[:, None] * np.sin(angle)).ravel()
        outside_arc = np.tile(np.abs(np.where(angle > math.pi, angle - 2 * math.pi, angle)), RING)
        spared = outside_arc > math.radians(self.arc_deg) / 2
        q = np.linspace(OPEN, 1, 50)
        within = (x + self.eccentric * (1 - q[:, None])) ** 2 + y**2 < q[:, None] ** 2
        return q, np.maximum.accumulate((within | spared).mean(axis=1))


def _places(good: list[NDArray[np.bool_]], length_mm: float) -> list[tuple[int, int]]:
    """Vessels and rows about which nothing but good rows lie."""
    half = int((length_mm / 2 + FLANK_MM) / STEP_MM) + 1
    out = []
    for number, one in enumerate(good):
        bad = np.concatenate([[0], np.cumsum(~one)])
        rows = np.arange(half, len(one) - half)
        out += [(number, int(row)) for row in rows[bad[rows + half + 1] == bad[rows - half]]]
    return out
