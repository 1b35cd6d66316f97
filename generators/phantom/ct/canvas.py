"""What procedural CT is painted on: a grid in the world, tissues with soft edges, fields of smooth noise.

Anatomy is a function of the world's millimetres and of the subject's key alone, so one subject comes out alike at any
spacing and through any field of view. All in float64: what CPUs round differently then never reaches an integer HU.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit, typed
from lesionforge.generators.phantom.ct.waves import Waves
from lesionforge.generators.types import stream

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]
Place = tuple[float, float, float]

AIR = -1000.0
TILE = 40  # voxels an edge, about, of what a painter works on at a time: larger ones are no faster, and hold more


class Grained(NamedTuple):
    """HU of a tissue that follow a field of noise, ``level + amount * noise``, worked out where it is laid alone."""

    level: float
    amount: float
    noise: Floats


@dataclass(frozen=True)
class CtGrid:
    """Voxel centres along LPS axes: ``origin_mm`` the one of index 0, ``spacing_mm`` their distances.

    ``first`` is the index of the first voxel: not 0 in a part of a larger grid.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    first: tuple[int, int, int] = (0, 0, 0)

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
            o + mm * np.arange(i, i + n, dtype=np.float64)
            for o, mm, i, n in zip(self.origin_mm, self.spacing_mm, self.first, self.shape, strict=True)
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
        self._whole = grid  # what it is a part of, and the noise drawn for that
        self._waves: dict[tuple[str, float], Waves] = {}

    def rng(self, name: str) -> np.random.Generator:
        """The stream of one structure."""
        return stream(self.key, f"phantom/ct/{name}")

    def waves(self, name: str, scale_mm: float) -> Floats:
        """Smooth noise from the stream of that name on this canvas (``Waves``)."""
        known = self._waves.get((name, scale_mm))
        if known is None:
            whole = self._whole
            known = Waves(self.rng(name), whole.shape, whole.spacing_mm, whole.origin_mm, scale_mm)
            self._waves[name, scale_mm] = known
        return known.on(self.grid.first, self.grid.shape)

    def tiles(self) -> Iterator[Canvas]:
        """Parts that together cover the canvas, painted through. Painted one by one, no array is as large as it."""
        cuts = [np.linspace(0, n, max(round(n / TILE), 1) + 1).astype(int).tolist() for n in self.grid.shape]
        for corner in itertools.product(*(itertools.pairwise(at) for at in cuts)):
            yield self.part([slice(start, stop) for start, stop in corner])

    def crop(self, low: Sequence[float], high: Sequence[float]) -> Canvas | None:
        """The part of this canvas between two world corners, painted through; None where there is none."""
        grid, parts = self.grid, []
        for o, mm, i, n, a, b in zip(grid.origin_mm, grid.spacing_mm, grid.first, grid.shape, low, high, strict=True):
            start, stop = max(0, math.floor((a - o) / mm) - i), min(n, math.ceil((b - o) / mm) + 1 - i)
            if start >= stop:
                return None
            parts.append(slice(start, stop))
        return self.part(parts)

    def part(self, parts: Sequence[slice]) -> Canvas:
        """The part of this canvas between indices of its own, painted through."""
        part, grid = copy.copy(self), self.grid
        part.at = (parts[0], parts[1], parts[2])
        part.hu, part.labels = self.hu[part.at], self.labels[part.at]
        i, j, k = (at + s.start for at, s in zip(grid.first, parts, strict=True))
        part.grid = CtGrid(part.labels.shape, grid.spacing_mm, grid.origin_mm, (i, j, k))
        return part

    def tube(self, way: Floats, radii: Floats, margin: float) -> tuple[Canvas, Floats] | None:
        """The part about a ``tube`` and the depth inside it, down to -``margin`` mm and a voxel; None if far off."""
        margin += self.grid.voxel_mm
        out = radii[:, None] + margin
        part = self.crop((way - out).min(axis=0).tolist(), (way + out).max(axis=0).tolist())
        return None if part is None else (part, tube(part.grid, way, radii, margin))

    def meets(self, depth: Floats, inset: float = 0.0) -> bool:
        """Whether a tissue that ``paint`` lays so would be seen in any voxel."""
        return float(depth.max()) - inset > -self.grid.voxel_mm

    def paint(self, depth: Floats, hu: Floats | float | Grained, label: int | None = None, inset: float = 0.0) -> None:
        """Lay a tissue where ``depth`` (mm under its surface, negative outside) says, half a voxel soft.

        Args:
            depth: of every voxel.
            hu: of the tissue.
            label: what the voxels mostly inside are named from now on; None leaves their names, 0 takes them away.
            inset: mm under the surface, where it begins; negative: outside.
        """
        self._lay(depth, inset, 1.0 / self.grid.voxel_mm, 0.5, hu, label)

    def blend(self, share: Floats, hu: Floats | float, label: int | None = None) -> None:
        """Lay a tissue that fills ``share`` (0 ... 1) of each voxel."""
        self._lay(share, 0.0, 1.0, 0.0, hu, label)

    def strands(
        self, name: str, scale_mm: float, width: float, hu: float, room: Floats, gain: float, most: float = 1.0
    ) -> None:
        """Lay a tissue on the curves where two noise fields are both 0: 1 there, 0 ``width`` deviations away.

        Args:
            name: of the two fields, which are called ``a`` and ``b`` besides.
            scale_mm: of both, see ``waves``.
            hu: of the tissue.
            room: the most that each voxel takes, 0 ... 1.
            gain, most: what the 1 is multiplied by, and where it is cut.
        """
        if not room.any():
            return
        a, b = self.waves(f"{name} a", scale_mm), self.waves(f"{name} b", scale_mm)
        _strands(self.hu, a, b, 1.0 / (width * width), gain, most, _broadcast(room, self.hu.shape), hu)

    def _lay(
        self, field: Floats, inset: float, slope: float, offset: float, hu: Floats | float | Grained, label: int | None
    ) -> None:
        name, shape = -1 if label is None else label, self.hu.shape
        level, amount, noise = hu if isinstance(hu, Grained) else (0.0, 1.0, hu)
        tissue = _broadcast(noise, shape)
        _lay(self.hu, self.labels, _broadcast(field, shape), inset, slope, offset, tissue, level, amount, name)


def _broadcast(value: Floats | float, shape: tuple[int, ...]) -> Floats:
    """``np.broadcast_to``, which is slow to begin with, for numbers and for arrays without gaps."""
    array: Floats = np.asarray(value, np.float64)
    if array.shape == shape:
        return array
    if array.ndim == 0:
        return np.ndarray(shape, np.float64, array, strides=(0,) * len(shape))
    if not array.flags.c_contiguous or any(n not in (1, m) for n, m in zip(array.shape, shape, strict=True)):
        return np.broadcast_to(array, shape)
    strides = [0 if n == 1 else step for n, step in zip(array.shape, array.strides, strict=True)]
    return np.ndarray(shape, np.float64, array, strides=strides)


@typed("void(f8[:,:,:], u1[:,:,:], f8[:,:,:], f8, f8, f8, f8[:,:,:], f8, f8, i8)")
def _lay(
    canvas: Floats,
    labels: NDArray[np.uint8],
    field: Floats,
    inset: float,
    slope: float,
    offset: float,
    noise: Floats,
    level: float,
    amount: float,
    label: int,
) -> None:
    """One pass over the voxels; no fastmath: the bits must come out alike on every machine."""
    for i in range(canvas.shape[0]):
        for j in range(canvas.shape[1]):
            for k in range(canvas.shape[2]):
                share = (field[i, j, k] - inset) * slope + offset
                if share > 0.0:
                    tissue = level + amount * noise[i, j, k]
                    canvas[i, j, k] += min(share, 1.0) * (tissue - canvas[i, j, k])
                    if label >= 0 and share >= 0.5:
                        labels[i, j, k] = label


@typed("void(f8[:,:,:], f8[:,:,:], f8[:,:,:], f8, f8, f8, f8[:,:,:], f8)")
def _strands(
    canvas: Floats, a: Floats, b: Floats, scale: float, gain: float, most: float, room: Floats, tissue: float
) -> None:
    for i in range(canvas.shape[0]):
        for j in range(canvas.shape[1]):
            for k in range(canvas.shape[2]):
                near = 1.0 - (a[i, j, k] * a[i, j, k] + b[i, j, k] * b[i, j, k]) * scale
                if near > 0.0:
                    canvas[i, j, k] += min(min(gain * near, most) * room[i, j, k], 1.0) * (tissue - canvas[i, j, k])


def ellipsoid(p: Sequence[Floats], centre: Sequence[float], semi: Sequence[float]) -> Floats:
    """Depth in mm (about) under an ellipsoid's surface; with two coordinates, that of an endless column."""
    none = [0.0] * (3 - len(p))
    shape = np.broadcast_shapes(*(q.shape for q in p))
    x, y, z = [_broadcast(q, shape) for q in p] + [_broadcast(0.0, shape) for _ in none]
    a, b, c = [*centre, *none]
    out: Floats = np.empty(shape)
    per_semi = [1.0 / s for s in semi] + none
    _ellipsoid(out, x, y, z, (a, b, c), (per_semi[0], per_semi[1], per_semi[2]), min(semi))
    return out


@typed("void(f8[:,:,::1], f8[:,:,:], f8[:,:,:], f8[:,:,:], UniTuple(f8, 3), UniTuple(f8, 3), f8)")
def _ellipsoid(out: Floats, x: Floats, y: Floats, z: Floats, centre: Place, per_semi: Place, least: float) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                a = (x[i, j, k] - centre[0]) * per_semi[0]
                b = (y[i, j, k] - centre[1]) * per_semi[1]
                c = (z[i, j, k] - centre[2]) * per_semi[2]
                out[i, j, k] = (1.0 - math.sqrt(a * a + b * b + c * c)) * least


def blunt(a: Floats, b: Floats, mm: float) -> Floats:
    """The smaller of two depths in mm, the edge between them rounded where they differ by less than ``mm``."""
    near = np.maximum(mm - np.abs(a - b), 0.0)
    out: Floats = np.minimum(a, b) - near * near * (0.25 / mm)
    return out


def tube(grid: CtGrid, way: Floats, radii: Floats | float, reach_mm: float = 12.0) -> Floats:
    """Depth in mm inside a chain of tapered capsules along way points (n, 3); ``radii`` in mm, one or (n,).

    Further than ``reach_mm`` outside it is not worked out and is -``reach_mm``.
    """
    radius = np.broadcast_to(np.asarray(radii, np.float64), len(way))
    mm, first, out = np.array(grid.spacing_mm), np.array(grid.first), np.full(grid.shape, -reach_mm)
    way = way - np.array(grid.origin_mm)
    a, b, wide = way[:-1], way[1:], (np.maximum(radius[:-1], radius[1:]) + reach_mm)[:, None]
    low = np.maximum(np.floor((np.minimum(a, b) - wide) / mm).astype(np.int64), first)
    high = np.minimum(np.ceil((np.maximum(a, b) + wide) / mm).astype(np.int64), first + out.shape - 1)
    cones = np.column_stack([a, radius[:-1], b - a, radius[1:] - radius[:-1]])
    _tube(out, cones, mm, first, low, high + 1)
    return out


@jit
def _tube(out: Floats, cones: Floats, mm: Floats, first: Cells, low: Cells, high: Cells) -> None:
    """Deepest of pieces: one end and its radius, the way to the other end and its gain in radius (n, 8); their boxes.

    The boxes are worked out before: each loop and each call takes tens of milliseconds to compile.
    """
    for s in range(len(cones)):
        d0 = cones[s, 4]
        d1 = cones[s, 5]
        d2 = cones[s, 6]
        dd = d0 * d0 + d1 * d1 + d2 * d2
        for i in range(low[s, 0], high[s, 0]):
            e0 = i * mm[0] - cones[s, 0]
            for j in range(low[s, 1], high[s, 1]):
                e1 = j * mm[1] - cones[s, 1]
                for k in range(low[s, 2], high[s, 2]):
                    e2 = k * mm[2] - cones[s, 2]
                    t = min(max((e0 * d0 + e1 * d1 + e2 * d2) / dd, 0.0), 1.0)
                    g0 = e0 - t * d0
                    g1 = e1 - t * d1
                    g2 = e2 - t * d2
                    depth = cones[s, 3] + t * cones[s, 7] - math.sqrt(g0 * g0 + g1 * g1 + g2 * g2)
                    if depth > out[i - first[0], j - first[1], k - first[2]]:
                        out[i - first[0], j - first[1], k - first[2]] = depth
