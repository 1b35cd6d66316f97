"""Ellipsoids with elastic deformation, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KNOTS = 7  # of the displacement along each axis; the box of REACH radii has four of their intervals
REACH = 1.9  # radii from the centre to the face of the box that is drawn


@dataclass(frozen=True)
class Ellipsoid:
    """``axes``: semi-axes as shares of the radius, their product 1. ``rotation`` (3, 3), orthonormal rows.

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


def _splines(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (n, KNOTS) of uniform cubic B-splines at positions in radii; zero motion beyond the box."""
    t = np.abs(np.clip((line / REACH + 1) * 2, 0, 4)[:, None] + 1 - np.arange(KNOTS))
    near = 2 / 3 - t * t + t * t * t / 2
    far = (2 - t) * (2 - t) * (2 - t) / 6
    weights: NDArray[np.float64] = np.where(t < 1, near, np.where(t < 2, far, 0.0))
    return weights
