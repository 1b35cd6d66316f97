"""Shapes with closed forms as voxels whose centres lie inside, on a lattice placed anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def tube(rng: np.random.Generator, radius: float, half: float, edge: float) -> Points:
    """Of a capsule of a random direction, ``half`` mm to each side of the origin."""
    way = direction(rng)

    def inside(points: Points) -> NDArray[np.bool_]:
        along = np.clip(points @ way, -half, half)
        out: NDArray[np.bool_] = ((points - along[:, None] * way) ** 2).sum(1) <= radius**2
        return out

    return _voxels(rng, inside, half + radius, edge)


def tube_volume(radius: float, half: float) -> float:
    """Of such a capsule, mm3."""
    return math.pi * radius**2 * 2 * half + 4 / 3 * math.pi * radius**3


def sphere(rng: np.random.Generator, radius: float, edge: float) -> Points:
    """About the origin."""
    return _voxels(rng, lambda points: (points**2).sum(1) <= radius**2, radius, edge)


def direction(rng: np.random.Generator) -> Points:
    """A unit vector."""
    way = rng.normal(size=3)
    out: Points = way / np.linalg.norm(way)
    return out


def _voxels(
    rng: np.random.Generator, inside: Callable[[Points], NDArray[np.bool_]], reach: float, edge: float
) -> Points:
    axes = [np.arange(-reach - 2 * edge, reach + 2 * edge, edge) + rng.uniform(0, edge) for _ in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return points[inside(points)]
