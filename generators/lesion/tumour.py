"""Tumours: their size, shape and place in an organ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.lesion.classes import EARLY_MM, VALUE, canonical, home
from lesionforge.generators.lesion.ellipsoid import REACH, Ellipsoid
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.scene import Box, Scene, box_about
from lesionforge.generators.types import Rejected, Volume

TRIES = 40  # places looked at
ROUNDS = 6  # of scaling a shape that its organ clips
ROOM = 0.75  # share of the ball that should lie in the organ
LEAST_ROOM = 0.25  # thin organs: the shape fills them, which follows their form
OUTSIDE = (0.4, 0.7)  # share of an exophytic tumour's ball that lies in the organ
LEAST_INSIDE = 0.35  # share of an exophytic tumour itself that does
SOFT_HU = (-200, 150)  # fat and soft tissue, which a tumour may grow into; neither lung, bowel gas nor bone
MIN_VOXELS = 8  # of a lesion


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
        shape = Ellipsoid.draw(rng, params.axes, float(rng.uniform(*params.bend)))
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

    def rasterise(self, scene: Scene, centre: tuple[int, int, int], tolerance: float) -> tuple[Box, NDArray[np.bool_]]:
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

    def _allowed(self, scene: Scene, box: Box) -> NDArray[np.bool_]:
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

    def _checked(self, scene: Scene, box: Box, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
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
    marks, count = ndimage.label(mask)
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
