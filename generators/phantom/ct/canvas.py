"""What procedural CT is painted on: a grid in the world, tissues with soft edges, fields of smooth noise.

Anatomy is a function of the world's millimetres and of the subject's key alone, so one subject comes out alike at any
spacing and through any field of view. All in float64: what CPUs round differently then never reaches an integer HU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.types import stream

Floats = NDArray[np.float64]

AIR = -1000.0
REACH_MM = 300.0  # noise is drawn for this far from the world's origin; beyond, its last value goes on
_SPLINE_SD = 151.0 / 315.0  # mean over a cell of the sum of the squared weights of a cubic B-spline


@dataclass(frozen=True)
class CtGrid:
    """Voxel centres along LPS axes: ``origin_mm`` the first one's, ``spacing_mm`` their distances."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    @classmethod
    def around(
        cls, centre: Sequence[float], shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
    ) -> CtGrid:
        """The grid whose middle lies at a world point; voxels lie at whole multiples of the spacing."""
        low = [round(c / mm - 0.5 * (n - 1)) * mm for c, n, mm in zip(centre, shape, spacing_mm, strict=True)]
        return cls(shape, spacing_mm, (low[0], low[1], low[2]))

    def axes(self) -> tuple[Floats, Floats, Floats]:
        """World coordinates in mm, shaped (n, 1, 1), (1, n, 1) and (1, 1, n) to be broadcast."""
        x, y, z = (
            o + mm * np.arange(n, dtype=np.float64)
            for o, mm, n in zip(self.origin_mm, self.spacing_mm, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @property
    def voxel_mm(self) -> float:
        """Edge of the cube of a voxel's volume."""
        a, b, c = self.spacing_mm
        return float((a * b * c) ** (1 / 3))


class Canvas:
    """HU and labels of a phantom while it is painted, later tissues over earlier ones.

    Every structure draws its random numbers from a stream of its own (``rng``), so that what lies outside the field
    of view need not be drawn.
    """

    def __init__(self, grid: CtGrid, hu: float, key: bytes) -> None:
        self.grid = grid
        self.key = key
        self.hu: Floats = np.full(grid.shape, float(hu))
        self.labels = np.zeros(grid.shape, np.uint8)
        self.at = (slice(None), slice(None), slice(None))  # of a crop: where it lies in what it was cropped from

    def rng(self, name: str) -> np.random.Generator:
        """The stream of one structure."""
        return stream(self.key, f"phantom/ct/{name}")

    def waves(self, name: str, scale_mm: float) -> Floats:
        """``waves`` from the stream of that name, on this canvas."""
        return waves(self.rng(name), self.grid, scale_mm)

    def crop(self, low: Sequence[float], high: Sequence[float]) -> Canvas | None:
        """The part of this canvas between two world corners, painted through; None where there is none."""
        parts, shape, origin = [], [], []
        for o, mm, n, a, b in zip(self.grid.origin_mm, self.grid.spacing_mm, self.grid.shape, low, high, strict=True):
            first, last = max(0, math.floor((a - o) / mm)), min(n, math.ceil((b - o) / mm) + 1)
            if first >= last:
                return None
            parts.append(slice(first, last))
            shape.append(last - first)
            origin.append(o + mm * first)
        part = copy.copy(self)
        part.grid = CtGrid((shape[0], shape[1], shape[2]), self.grid.spacing_mm, (origin[0], origin[1], origin[2]))
        part.at = (parts[0], parts[1], parts[2])
        part.hu, part.labels = self.hu[part.at], self.labels[part.at]
        return part

    def paint(self, depth: Floats, hu: Floats | float, label: int | None = None) -> None:
        """Lay a tissue where ``depth`` (mm under its surface, negative outside) says, half a voxel soft.

        ``label``: what the voxels mostly inside are named from now on; None leaves their names, 0 takes them away.
        """
        self._lay(depth, 1.0 / self.grid.voxel_mm, 0.5, hu, label)

    def blend(self, share: Floats, hu: Floats | float, label: int | None = None) -> None:
        """Lay a tissue that fills ``share`` (0 ... 1) of each voxel."""
        self._lay(share, 1.0, 0.0, hu, label)

    def _lay(self, field: Floats, slope: float, offset: float, hu: Floats | float, label: int | None) -> None:
        shape = self.hu.shape
        tissue = np.broadcast_to(np.asarray(hu, np.float64), shape)
        _lay(self.hu, self.labels, np.broadcast_to(field, shape), slope, offset, tissue, -1 if label is None else label)


@jit
def _lay(
    canvas: Floats, labels: NDArray[np.uint8], field: Floats, slope: float, offset: float, tissue: Floats, label: int
) -> None:
    """One pass over the voxels; no fastmath: the bits must come out alike on every machine."""
    for i in range(canvas.shape[0]):
        for j in range(canvas.shape[1]):
            for k in range(canvas.shape[2]):
                share = field[i, j, k] * slope + offset
                if share <= 0.0:
                    continue
                share = min(share, 1.0)
                canvas[i, j, k] += share * (tissue[i, j, k] - canvas[i, j, k])
                if label >= 0 and share >= 0.5:
                    labels[i, j, k] = label


def waves(rng: np.random.Generator, grid: CtGrid, scale_mm: float) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1 in the world, its lumps about ``scale_mm`` apart.

    Cubic B-splines over white noise on a lattice fixed in the world.
    """
    count = int(2 * REACH_MM / scale_mm) + 4
    out: Floats = rng.standard_normal((count, count, count))
    for o, mm, n in zip(grid.origin_mm, grid.spacing_mm, grid.shape, strict=True):
        at = np.clip((o + mm * np.arange(n) + REACH_MM) / scale_mm, 0.0, count - 3.001)
        cell = at.astype(np.int64)
        t = at - cell
        weights = np.zeros((n, count))
        for k, w in enumerate(
            ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
        ):
            weights[np.arange(n), cell + k] = w / math.sqrt(_SPLINE_SD)
        low, high = int(cell.min()), int(cell.max()) + 4
        # the first axis is contracted and the new one goes last, so that after three turns all stand in order
        out = np.tensordot(out[low:high], weights[:, low:high], (0, 1))
    return np.ascontiguousarray(out)


def strands(a: Floats, b: Floats, width: float) -> Floats:
    """1 on the curves where two noise fields are both 0, falling to 0 over ``width`` of their deviations."""
    out: Floats = np.empty_like(a)
    _strands(a.ravel(), b.ravel(), 1.0 / (width * width), out.ravel())
    return out


@jit
def _strands(a: Floats, b: Floats, scale: float, out: Floats) -> None:
    for n in range(a.size):
        out[n] = max(1.0 - (a[n] * a[n] + b[n] * b[n]) * scale, 0.0)


def ellipsoid(p: Sequence[Floats], centre: Sequence[float], semi: Sequence[float]) -> Floats:
    """Depth in mm (about) under an ellipsoid's surface; with two coordinates, that of an endless column."""
    shape = np.broadcast_shapes(*(q.shape for q in p))
    at = [np.broadcast_to(q, shape) for q in p]
    third, c, s = (at[2], centre[2], semi[2]) if len(p) == 3 else (at[0], 0.0, np.inf)
    out: Floats = np.empty(shape)
    _ellipsoid(at[0], at[1], third, (centre[0], centre[1], c), (semi[0], semi[1], s), float(min(semi)), out)
    return out


@jit
def _ellipsoid(
    x: Floats,
    y: Floats,
    z: Floats,
    centre: tuple[float, float, float],
    semi: tuple[float, float, float],
    scale: float,
    out: Floats,
) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                a = (x[i, j, k] - centre[0]) / semi[0]
                b = (y[i, j, k] - centre[1]) / semi[1]
                c = (z[i, j, k] - centre[2]) / semi[2]
                out[i, j, k] = (1.0 - math.sqrt(a * a + b * b + c * c)) * scale


def tube(grid: CtGrid, way: Floats, radii: Floats | float, reach_mm: float = 12.0) -> Floats:
    """Depth in mm inside a chain of tapered capsules along way points (n, 3); ``radii`` in mm, one or (n,).

    Further than ``reach_mm`` outside it is not worked out and is -``reach_mm``.
    """
    radius = np.ascontiguousarray(np.broadcast_to(np.asarray(radii, np.float64), len(way)))
    out: Floats = np.full(grid.shape, -reach_mm)
    _tube(out, np.ascontiguousarray(way) - grid.origin_mm, radius, np.array(grid.spacing_mm))
    return out


@jit
def _tube(out: Floats, way: Floats, radii: Floats, mm: Floats) -> None:
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    reach = -out[0, 0, 0]
    for s in range(way.shape[0] - 1):
        a, b = way[s], way[s + 1]
        d0, d1, d2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        dd = d0 * d0 + d1 * d1 + d2 * d2
        wide = max(radii[s], radii[s + 1]) + reach
        for axis in range(3):
            low[axis] = max(0, math.floor((min(a[axis], b[axis]) - wide) / mm[axis]))
            high[axis] = min(out.shape[axis] - 1, math.ceil((max(a[axis], b[axis]) + wide) / mm[axis]))
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    e0, e1, e2 = i * mm[0] - a[0], j * mm[1] - a[1], k * mm[2] - a[2]
                    t = min(max((e0 * d0 + e1 * d1 + e2 * d2) / dd, 0.0), 1.0)
                    g0, g1, g2 = e0 - t * d0, e1 - t * d1, e2 - t * d2
                    depth = radii[s] + t * (radii[s + 1] - radii[s]) - math.sqrt(g0 * g0 + g1 * g1 + g2 * g2)
                    if depth > out[i, j, k]:
                        out[i, j, k] = depth
