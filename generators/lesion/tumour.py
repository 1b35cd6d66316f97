"""Tumours: their size, shape (an ellipsoid with elastic deformation) and place in an organ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import EARLY_MM, VALUE, canonical, home
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.scene import Box, CtScene, box_about
from lesionforge.generators.types import Rejected, Volume

TRIES = 40  # places looked at
ROUNDS = 6  # of scaling a shape that its organ clips
ROOM = 0.75  # share of the ball that should lie in the organ
LEAST_ROOM = 0.25  # thin organs: the shape fills them, which follows their form
OUTSIDE = (0.4, 0.7)  # share of an exophytic tumour's ball that lies in the organ
LEAST_INSIDE = 0.35  # share of an exophytic tumour itself that does
SOFT_HU = (-200, 150)  # fat and soft tissue, which a tumour may grow into; neither lung, bowel gas nor bone
MIN_VOXELS = 8  # of a lesion
KNOTS = 7  # of the displacement along each axis; the box of REACH radii has four of their intervals
REACH = 1.9  # radii from the centre to the face of the box that is drawn


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with elastic deformation, in millimetres.

    ``axes``: semi-axes as shares of the radius, their product 1. ``rotation`` (3, 3), orthonormal rows.

    ``knots`` (3, KNOTS, KNOTS, KNOTS): displacement at the knots of cubic B-splines, in radii, per coordinate.
    """

    axes: NDArray[np.float64]
    rotation: NDArray[np.float64]
    knots: NDArray[np.float64]

    @staticmethod
    def draw(rng: np.random.Generator, axes: tuple[float, float], bend: float) -> Ellipsoid:
        """Any orientation; ``bend`` is the displacement's standard deviation, about."""
        ratios = rng.uniform(*axes, 3)
        w, x, y, z = (q := rng.normal(size=4)) / np.sqrt((q * q).sum())
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        knots = 3 * bend * rng.normal(size=(3, KNOTS, KNOTS, KNOTS))  # a B-spline evens them out to about a third
        return Ellipsoid(ratios / np.cbrt(ratios.prod()), rotation, knots)

    def inside(
        self, shape: tuple[int, ...], spacing: tuple[float, float, float], centre: NDArray[np.float64], radius: float
    ) -> NDArray[np.bool_]:
        """Which voxel centres of a grid lie in it, bool of ``shape``.

        Args:
            shape: of the grid.
            spacing: of its voxels, mm.
            centre: in the grid, mm from the centre of its first voxel.
            radius: of the ball of its volume, mm.
        """
        lines = [(np.arange(n) * s - c) / radius for n, s, c in zip(shape, spacing, centre, strict=True)]
        here = [line.reshape([-1 if a == axis else 1 for a in range(3)]) for axis, line in enumerate(lines)]
        if self.knots.any():
            here = [x + shift for x, shift in zip(here, self._shifts(lines), strict=True)]
        total: NDArray[np.float64] = np.zeros(shape)
        for row, axis in zip(self.rotation, self.axes, strict=True):
            along = (row[0] * here[0] + row[1] * here[1] + row[2] * here[2]) / axis
            total += along * along
        return total <= 1.0

    def _shifts(self, lines: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """The displacement on the grid, per coordinate. Sums are spelled out: BLAS differs in the last bit by CPU."""
        weights = [_splines(line) for line in lines]
        out = []
        for knots in self.knots:
            field = knots
            for w in weights:  # each turn interpolates the first axis and puts it last
                field = sum(w[:, a] * field[a][..., None] for a in range(KNOTS))
            out.append(field)
        return out


@dataclass(frozen=True)
class Tumour:
    """A tumour to be drawn: its class, shape, and the radius of the ball of its volume in mm."""

    lesion_class: str
    shape: Ellipsoid
    radius_mm: float
    exophytic: bool

    @staticmethod
    def draw(rng: np.random.Generator, params: LesionParams, lesion_class: str) -> Tumour:
        """Size by stage, log-uniform as small ones are more frequent."""
        organ, stage = lesion_class.rsplit("_", 1)
        low, high = params.early_mm if stage == "early" else getattr(params, f"{organ}_mm")
        radius = low * (high / low) ** float(rng.uniform())
        axes = params.axes if stage == "early" else params.late_axes
        shape = Ellipsoid.draw(rng, axes, float(rng.uniform(*params.bend)))
        exophytic = bool(rng.uniform() < params.exophytic) and organ == "kidney"
        return Tumour(lesion_class, shape, radius, exophytic)

    @property
    def volume_mm3(self) -> float:
        """Volume asked for."""
        return ball_mm3(self.radius_mm)

    def place(self, rng: np.random.Generator, volume: Volume, candidates: NDArray[np.int64]) -> tuple[int, int, int]:
        """A voxel of the organ with room about it, at an exophytic tumour's with as much as half of the room.

        Raises:
            Rejected: where the organ is nowhere thick enough.
        """
        assert volume.labels is not None
        low, high = OUTSIDE if self.exophytic else (ROOM, 1.0)
        organ = canonical(volume.legend) == VALUE[home(self.lesion_class)]
        best, found = -1.0, (0, 0, 0)
        for at in candidates[rng.integers(len(candidates), size=TRIES)]:
            share = _room(organ, volume.labels, at, self.radius_mm, volume.spacing_mm)
            if low <= share <= high:
                return int(at[0]), int(at[1]), int(at[2])
            miss = -abs(share - (low + high) / 2) if self.exophytic else share
            if best < miss or best == -1.0:
                best, found = miss, (int(at[0]), int(at[1]), int(at[2]))
        if self.exophytic or best < LEAST_ROOM:
            raise Rejected(f"no place in the {home(self.lesion_class)} for a tumour of radius {self.radius_mm:.1f} mm")
        return found

    def rasterise(
        self, scene: CtScene, centre: tuple[int, int, int], tolerance: float
    ) -> tuple[Box, NDArray[np.bool_]]:
        """The tumour on the scene's voxels: one 6-connected piece, of the volume asked for within ``tolerance``.

        Returns:
            A box of the scene and which of its voxels are the tumour.

        Raises:
            Rejected: where the organ clips too much of it, or its stage would not be its class.
        """
        spacing = np.array(scene.spacing)
        wanted, radius = self.volume_mm3, self.radius_mm
        early = self.lesion_class.endswith("early")
        for _ in range(ROUNDS):
            reach = np.ceil(REACH * radius / spacing).astype(np.int64)
            at = np.array(centre)
            box = box_about(at - reach, at + reach, scene.hu.shape)
            start = np.array([s.start for s in box])
            allowed = self._allowed(scene, box)
            mask = self.shape.inside(allowed.shape, scene.spacing, (at - start) * spacing, radius) & allowed
            mask = largest(mask)
            volume = int(mask.sum()) * scene.voxel_mm3
            if not volume:
                break
            if abs(volume / wanted - 1) <= tolerance / 2 and (volume <= ball_mm3(EARLY_MM)) == early:
                return box, self._checked(scene, box, mask)
            radius *= float(np.clip((wanted / volume) ** (1 / 3), 0.7, 1.4))
        raise Rejected(f"a {self.lesion_class} of radius {self.radius_mm:.1f} mm does not fit where it was put")

    def _allowed(self, scene: CtScene, box: Box) -> NDArray[np.bool_]:
        labels = scene.labels[box]
        organ: NDArray[np.bool_] = (labels == VALUE[home(self.lesion_class)]) & ~scene.taken[box]
        if not self.exophytic:
            return organ
        hu = scene.before[box]
        soft: NDArray[np.bool_] = (
            (labels == 0) & ~scene.foreign[box] & ~scene.taken[box] & (hu >= SOFT_HU[0]) & (hu <= SOFT_HU[1])
        )
        both: NDArray[np.bool_] = organ | soft
        return both

    def _checked(self, scene: CtScene, box: Box, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if mask.sum() < MIN_VOXELS:
            raise Rejected(f"a {self.lesion_class} of {mask.sum()} voxels is too small to be seen")
        inside = float((scene.labels[box] == VALUE[home(self.lesion_class)])[mask].mean())
        if inside < LEAST_INSIDE:
            raise Rejected(f"only {inside:.0%} of an exophytic tumour lie in the organ")
        return mask


def ball_mm3(radius_mm: float) -> float:
    """Volume of a ball."""
    return 4 / 3 * math.pi * radius_mm**3


def radius_mm(volume_mm3: float) -> float:
    """Equivalent radius: that of the ball of a volume."""
    return float((volume_mm3 * 3 / (4 * math.pi)) ** (1 / 3))


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 6-connected component (the first of equals)."""
    marks, count = scipy.ndimage.label(mask)
    if count <= 1:
        return mask
    out: NDArray[np.bool_] = marks == 1 + int(np.argmax(np.bincount(marks.ravel())[1:]))
    return out


def _room(
    organ: NDArray[np.bool_],
    labels: NDArray[np.uint8],
    at: NDArray[np.int64],
    radius: float,
    spacing: tuple[float, float, float],
) -> float:
    """Share of a ball's voxels that are organ, every other voxel of large ones looked at."""
    step = max(1, int(radius / min(spacing) / 8))
    total = hit = 0
    offsets = [np.arange(-int(radius / s), int(radius / s) + 1, step) for s in spacing]
    squares = [(o * s) ** 2 for o, s in zip(offsets, spacing, strict=True)]
    ball = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius**2
    total = int(ball.sum())
    lines, keep = [], []
    for o, a, n in zip(offsets, at, labels.shape, strict=True):
        keep.append(ok := (o + a >= 0) & (o + a < n))
        lines.append(o[ok] + a)
    hit = int((organ[labels[np.ix_(*lines)]] & ball[np.ix_(*keep)]).sum())
    return hit / total


def _splines(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (n, KNOTS) of uniform cubic B-splines at positions in radii; zero motion beyond the box."""
    t = np.abs(np.clip((line / REACH + 1) * 2, 0, 4)[:, None] + 1 - np.arange(KNOTS))
    near = 2 / 3 - t * t + t * t * t / 2
    far = (2 - t) * (2 - t) * (2 - t) / 6
    weights: NDArray[np.float64] = np.where(t < 1, near, np.where(t < 2, far, 0.0))
    return weights
