"""Where the voxels of a CT lie: array axes turned into LPS exactly, oblique ones told by their angle, resampling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.types import BadCase

MAX_ANGLE_DEG = 0.1  # further off the patient's axes an affine is oblique: 1 mm over 570 mm
MAX_SHEAR_DEG = 0.1
MAX_VOXELS = 2**28  # of a volume as it is held: 805 MB with its labels (3 bytes a voxel)
AIR = -1024
Interpolation = Literal["linear", "cubic"]
Floats = NDArray[np.float64]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Axes:
    """How an array lies in the patient: LPS axis r is the array's axis ``order[r]``, backwards where ``flips[r]``.

    ``angle_deg``: how far the furthest of the array's axes is off the patient's.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float, float]  # along LPS
    angle_deg: float

    @classmethod
    def of(cls, affine: Floats) -> Axes:
        """Of a 4 x 4 affine from array index to LPS mm.

        Raises:
            BadCase: where the array's axes are not at right angles, as under a tilted gantry.
        """
        lengths = np.sqrt((affine[:3, :3] ** 2).sum(0))
        unit = affine[:3, :3] / lengths
        cosines = (unit.T @ unit)[np.triu_indices(3, 1)]
        shear = math.degrees(math.asin(min(1.0, float(np.abs(cosines).max()))))
        if shear > MAX_SHEAR_DEG:
            raise BadCase(f"its axes are {shear:.1f} degrees off right angles: a tilted gantry? Resample it first")
        a, b, c = max(itertools.permutations(range(3)), key=lambda o: sum(abs(unit[r, o[r]]) for r in range(3)))
        along = [float(unit[r, axis]) for r, axis in enumerate((a, b, c))]
        angle = max(math.degrees(math.acos(min(1.0, abs(value)))) for value in along)
        x, y, z = (float(lengths[axis]) for axis in (a, b, c))
        flips = (along[0] < 0, along[1] < 0, along[2] < 0)
        return cls((a, b, c), flips, (x, y, z), angle)

    @property
    def oblique(self) -> bool:
        """Whether no flip and permutation makes the array's axes the patient's."""
        return self.angle_deg > MAX_ANGLE_DEG

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array (n0, n1, n2) as a view along LPS."""
        view = array.transpose(self.order)
        return view[tuple(slice(None, None, -1 if flip else None) for flip in self.flips)]

    def stored(self, lps: NDArray[Any]) -> NDArray[Any]:
        """The inverse of ``turn``: a view along the array's axes."""
        view = lps[tuple(slice(None, None, -1 if flip else None) for flip in self.flips)]
        return view.transpose(tuple(self.order.index(axis) for axis in range(3)))

    def stored_box(self, box: Box, shape: tuple[int, ...]) -> Box:
        """A box along LPS as slices of the array, whose own ``shape`` is given."""
        out = [slice(0)] * 3
        for part, axis, flip in zip(box, self.order, self.flips, strict=True):
            n = shape[axis]
            out[axis] = slice(n - part.stop, n - part.start) if flip else part
        return out[0], out[1], out[2]

    def turned(self, affine: Floats, shape: tuple[int, ...]) -> Floats:
        """The affine of the turned array; its last column is the place of the voxel that comes first along LPS."""
        first = np.zeros(3)
        out = affine.copy()
        for r, (axis, flip) in enumerate(zip(self.order, self.flips, strict=True)):
            first[axis] = shape[axis] - 1 if flip else 0
            out[:3, r] = -affine[:3, axis] if flip else affine[:3, axis]
        out[:3, 3] = affine[:3, :3] @ first + affine[:3, 3]
        return out

    def name(self) -> str:
        """The directions that the array's axes run in, as ``LPS``."""
        letters = [(("L", "R"), ("P", "A"), ("S", "I"))[r][flip] for r, flip in enumerate(self.flips)]
        return "".join(letters[self.order.index(axis)] for axis in range(3))


@dataclass(frozen=True)
class Scan:
    """HU int16 and labels uint8 or None along LPS, edges in mm, the first voxel's place in LPS mm."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8] | None
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def crop(self, box: Box) -> Scan:
        """The part in a box of slices."""
        origin = [o + mm * s.start for o, mm, s in zip(self.origin_mm, self.spacing_mm, box, strict=True)]
        labels = None if self.labels is None else np.ascontiguousarray(self.labels[box])
        return Scan(np.ascontiguousarray(self.hu[box]), labels, self.spacing_mm, (origin[0], origin[1], origin[2]))

    def resampled(self, spacing_mm: tuple[float, float, float], how: Interpolation) -> Scan:
        """On voxels of another size over the same volume: HU linear or cubic, labels nearest.

        Cubic is Keys's convolution (1981, a = -1/2), which needs no more than its four neighbours along each axis, so
        that a few slices are in work at a time. Nothing is smoothed where voxels grow.
        """
        shape = [max(1, round(n * a / b)) for n, a, b in zip(self.hu.shape, self.spacing_mm, spacing_mm, strict=True)]
        if math.prod(shape) > MAX_VOXELS:
            raise BadCase(f"would have {' x '.join(map(str, shape))} voxels of that spacing; {MAX_VOXELS} are the most")
        shift = [0.5 * (b - a) for a, b in zip(self.spacing_mm, spacing_mm, strict=True)]  # outer edges stay together
        places = [
            (np.arange(n) * b + s) / a for n, a, b, s in zip(shape, self.spacing_mm, spacing_mm, shift, strict=True)
        ]
        taps = [_taps(at, n, how) for at, n in zip(places, self.hu.shape, strict=True)]
        hu = np.empty(shape, np.int16)
        for k in range(shape[2]):
            plane = sum(w[k] * self.hu[:, :, i[k]] for i, w in taps[2])
            plane = sum(w[:, None] * plane[i] for i, w in taps[0])
            plane = sum(w[None, :] * plane[:, i] for i, w in taps[1])
            hu[:, :, k] = np.clip(np.rint(plane), -32768, 32767)
        labels = None
        if self.labels is not None:
            nearest = [
                np.clip(np.floor(at + 0.5).astype(np.int64), 0, n - 1)
                for at, n in zip(places, self.labels.shape, strict=True)
            ]
            labels = self.labels[np.ix_(*nearest)]
        x, y, z = (o + s for o, s in zip(self.origin_mm, shift, strict=True))
        return Scan(hu, labels, spacing_mm, (x, y, z))


def _taps(at: Floats, n: int, how: Interpolation) -> list[tuple[NDArray[np.int64], Floats]]:
    """Neighbours of each place and their weights; beyond the ends the last voxel goes on."""
    cell = np.floor(at).astype(np.int64)
    t = at - cell
    if how == "linear":
        pairs = [(0, 1 - t), (1, t)]
    else:
        pairs = [
            (-1, ((-0.5 * t + 1) * t - 0.5) * t),
            (0, (1.5 * t - 2.5) * t * t + 1),
            (1, ((-1.5 * t + 2) * t + 0.5) * t),
            (2, (0.5 * t - 0.5) * t * t),
        ]
    return [(np.clip(cell + k, 0, n - 1), w) for k, w in pairs]


def straightened(
    hu: NDArray[np.int16],
    labels: NDArray[np.uint8] | None,
    affine: Floats,
    spacing_mm: tuple[float, float, float],
    how: Interpolation,
) -> Scan:
    """An oblique volume on a grid along LPS around all of it; air where it has no voxels. Needs 8 bytes a voxel more.

    Args:
        hu, labels: as stored, with ``affine`` from their indices to LPS mm.
        spacing_mm: of the new grid.
        how: of the HU, splines of degree 1 or 3; labels are taken from the nearest voxel.
    """
    ends = np.array(list(itertools.product(*[(0, n - 1) for n in hu.shape])), np.float64)
    corners = ends @ affine[:3, :3].T + affine[:3, 3]
    low, high = corners.min(0), corners.max(0)
    shape = tuple(int(v) for v in np.floor((high - low) / spacing_mm + 1.5))
    if math.prod(shape) > MAX_VOXELS:
        raise BadCase(f"would have {' x '.join(map(str, shape))} voxels along the patient's axes")
    back = np.linalg.inv(affine[:3, :3])
    matrix, offset = back @ np.diag(spacing_mm), back @ (low - affine[:3, 3])
    turned = {"matrix": matrix, "offset": offset, "output_shape": shape, "mode": "grid-constant"}
    degree = 1 if how == "linear" else 3
    straight = ndimage.affine_transform(hu, order=degree, cval=AIR, output=np.int16, **turned)
    names = None if labels is None else ndimage.affine_transform(labels, order=0, cval=0, output=np.uint8, **turned)
    return Scan(straight, names, spacing_mm, (float(low[0]), float(low[1]), float(low[2])))


def apart_mm(a: Floats, b: Floats, shape: tuple[int, ...]) -> float:
    """How far the corners of a grid lie from where another affine puts them."""
    ends = np.array(list(itertools.product(*[(0, n - 1) for n in shape])), np.float64)
    gap = ends @ (a - b)[:3, :3].T + (a - b)[:3, 3]
    return float(np.sqrt((gap * gap).sum(1)).max())


def box_of(labels: NDArray[np.uint8], wanted: list[int], margin_mm: float, spacing_mm: tuple[float, ...]) -> Box:
    """The box around some labels, and a margin.

    Raises:
        BadCase: where none of them is there.
    """
    chosen = np.isin(np.arange(256), wanted)
    mask = chosen[labels]
    out = []
    for axis, mm in enumerate(spacing_mm):
        at = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(at):
            raise BadCase("has no voxel of the region it is to be cropped to")
        grow = math.ceil(margin_mm / mm)
        out.append(slice(max(0, int(at[0]) - grow), min(labels.shape[axis], int(at[-1]) + grow + 1)))
    return out[0], out[1], out[2]
