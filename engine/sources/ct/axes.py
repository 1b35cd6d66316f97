"""Where the voxels of an array lie in the patient: axes turned into LPS exactly, oblique ones known by their angle."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import BadCase

MAX_ANGLE_DEG = 0.1  # further off the patient's axes an affine is oblique: 1 mm over 570 mm
MAX_SHEAR_DEG = 0.1
SAME_PLACE_MM = 0.1  # the corners of two grids that are one lie no further apart
Floats = NDArray[np.float64]
Box = tuple[slice, slice, slice]
Order = Literal["C", "F"]  # of axes in memory: the last index runs fastest, or the first, as mostly in files
AT_ONCE = 16  # slices that are copied from one order to the other: of more, no cache holds a line of each


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


def apart_mm(a: Floats, b: Floats, shape: tuple[int, ...]) -> float:
    """How far the corners of a grid lie from where another affine puts them."""
    ends = np.array(list(itertools.product(*[(0, n - 1) for n in shape])), np.float64)
    gap = ends @ (a - b)[:3, :3].T + (a - b)[:3, 3]
    return float(np.sqrt((gap * gap).sum(1)).max())


def laid(array: NDArray[Any], order: Order) -> NDArray[Any]:
    """A volume in this order in memory; the same one where it lies so."""
    if order == "F":
        return laid(array.T, "C").T
    if array.flags.c_contiguous:
        return array
    out = np.empty(array.shape, array.dtype)
    for k in range(0, array.shape[2], AT_ONCE):
        out[:, :, k : k + AT_ONCE] = array[:, :, k : k + AT_ONCE]
    return out


def box_in(own: Floats, size: tuple[int, ...], affine: Floats, shape: tuple[int, ...]) -> Box | None:
    """Where a grid along LPS lies in another, as masks cropped to what they mark do; None for what is no part of it."""
    first = np.rint(np.linalg.solve(affine[:3, :3], own[:3, 3] - affine[:3, 3]))
    part = affine.copy()
    part[:3, 3] += affine[:3, :3] @ first
    if (first < 0).any() or (first + size > shape).any() or apart_mm(own, part, size) > SAME_PLACE_MM:
        return None
    a, b, c = (slice(int(n), int(n) + edge) for n, edge in zip(first, size, strict=True))
    return a, b, c
