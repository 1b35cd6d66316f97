"""Smooth noise fixed in the world: cubic B-splines over white noise on a lattice, worked out where it is asked for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit, typed

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]
Triple = tuple[int, int, int]

REACH_MM = 300.0  # noise is drawn for this far from the world's origin; beyond, its last value goes on
_SPLINE_SD = 151.0 / 315.0  # mean over a cell of the sum of the squared weights of a cubic B-spline


class Waves:
    """A field of mean 0 and standard deviation 1, its lumps about ``scale_mm`` apart, on one grid.

    Args:
        rng: the field's own; another grid sees the same field with the same one.
        shape, spacing_mm, origin_mm: of the grid; LPS mm.
        scale_mm: distance of the lattice's points.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: Triple,
        spacing_mm: tuple[float, float, float],
        origin_mm: tuple[float, float, float],
        scale_mm: float,
    ) -> None:
        count = int(2 * REACH_MM / scale_mm) + 4
        axes = [_taps(o, mm, n, scale_mm, count) for o, mm, n in zip(origin_mm, spacing_mm, shape, strict=True)]
        (self._i, self._along_i), (j, self._along_j), (k, along_k) = axes
        white = rng.standard_normal((int(self._i.max()) + 4, count, count))  # the lattice up to where the grid ends
        white = white[int(self._i.min()) :, int(j.min()) : int(j.max()) + 4]
        self._i, self._j = self._i - self._i.min(), j - j.min()
        self._columns = np.empty((*white.shape[:2], len(k)))
        _weigh(white, k, along_k, self._columns)

    def on(self, first: Triple, shape: Triple) -> Floats:
        """The field on a part of the grid that begins at an index."""
        x, y = (slice(at, at + n) for at, n in zip(first[:2], shape[:2], strict=True))
        out: Floats = np.empty((shape[0], shape[1] * shape[2]))
        planes = np.empty((int(self._i[x][-1] - self._i[x][0]) + 4, shape[1] * shape[2]))
        _spread(self._columns, first[2], self._i[x], self._along_i[x], self._j[y], self._along_j[y], planes, out)
        return out.reshape(shape)


@typed("void(f8[:,:,:], i8[::1], f8[:,::1], f8[:,:,::1])")
def _weigh(white: Floats, k: Cells, along_k: Floats, columns: Floats) -> None:
    """Weigh the lattice along its third axis."""
    for a in range(columns.shape[0]):
        for b in range(columns.shape[1]):
            for n in range(len(k)):
                at = k[n]
                columns[a, b, n] = (
                    along_k[n, 0] * white[a, b, at]
                    + along_k[n, 1] * white[a, b, at + 1]
                    + along_k[n, 2] * white[a, b, at + 2]
                    + along_k[n, 3] * white[a, b, at + 3]
                )


@jit
def _spread(
    columns: Floats, z: int, i: Cells, along_i: Floats, j: Cells, along_j: Floats, planes: Floats, out: Floats
) -> None:
    """Weigh the lattice along its second axis, then along its first; voxels ``z`` and on of the third."""
    wide = out.shape[1]
    depth = wide // len(j)
    for c in range(len(planes)):
        for row in range(len(j)):
            a = along_j[row, 0]
            b = along_j[row, 1]
            d = along_j[row, 2]
            e = along_j[row, 3]
            m = j[row]
            at = row * depth
            near = c + i[0]
            for k in range(depth):
                planes[c, at + k] = (
                    a * columns[near, m, z + k]
                    + b * columns[near, m + 1, z + k]
                    + d * columns[near, m + 2, z + k]
                    + e * columns[near, m + 3, z + k]
                )
    for n in range(len(i)):
        a = along_i[n, 0]
        b = along_i[n, 1]
        d = along_i[n, 2]
        e = along_i[n, 3]
        m = i[n] - i[0]
        for k in range(wide):
            out[n, k] = a * planes[m, k] + b * planes[m + 1, k] + d * planes[m + 2, k] + e * planes[m + 3, k]


def _taps(origin: float, mm: float, count: int, scale: float, most: int) -> tuple[Cells, Floats]:
    """First of the four lattice points about each voxel (n,) and their weights (n, 4)."""
    at = np.clip((origin + mm * np.arange(count) + REACH_MM) / scale, 0.0, most - 3.001)
    cell = at.astype(np.int64)
    t = at - cell
    weights = (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6
    return cell, np.stack(weights, axis=1) / math.sqrt(_SPLINE_SD)
