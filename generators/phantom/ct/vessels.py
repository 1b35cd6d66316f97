"""How much of each voxel a vessel fills: the union of tapered capsules, sampled at 64 points a voxel."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.ct.canvas import Canvas

Floats = NDArray[np.float64]
SUB = 4  # points along a voxel's edge: 64 fill one integer
_POINTS = (np.indices((SUB, SUB, SUB)).reshape(3, -1) + 0.5) / SUB - 0.5  # of a voxel, in its edges


def capsules(courses: Iterable[tuple[Floats, Floats]]) -> Floats:
    """The pieces (n, 8) of courses: centre in LPS mm and radius in mm of either end.

    Args:
        courses: centreline (n, 3) in LPS mm and radii (n,) in mm of each branch.
    """
    ends = [np.column_stack([points, radii]) for points, radii in courses]
    return np.concatenate([np.column_stack([e[:-1], e[1:]]) for e in ends])


def filled(canvas: Canvas, pieces: Floats) -> tuple[Canvas, Floats] | None:
    """The part of a canvas about ``capsules``, and the share 0 ... 1 of each voxel in it inside any of them.

    Exact to 1/64; None where none reaches into the canvas.
    """
    grid = canvas.grid
    spacing, origin, first = np.array(grid.spacing_mm), np.array(grid.origin_mm), np.array(grid.first)
    near = _near(pieces, origin + spacing * (first - 1), origin + spacing * (first + grid.shape))
    if not near.size:
        return None
    out = np.maximum(near[:, 3], near[:, 7])[:, None] + grid.voxel_mm
    low, high = np.minimum(near[:, :3], near[:, 4:7]) - out, np.maximum(near[:, :3], near[:, 4:7]) + out
    part = canvas.crop(low.min(axis=0).tolist(), high.max(axis=0).tolist())
    if part is None:
        return None
    bits = np.zeros(part.grid.shape, np.uint64)
    shifted = near - [*grid.origin_mm, 0.0, *grid.origin_mm, 0.0]
    _mark(bits, shifted, spacing, np.array(part.grid.first), _POINTS * spacing[:, None])
    share: Floats = np.bitwise_count(bits) / float(SUB**3)
    return part, share


@jit
def _near(pieces: Floats, low: Floats, high: Floats) -> Floats:
    """The pieces that may reach into a box."""
    out, count = np.empty_like(pieces), 0
    for n in range(len(pieces)):
        wide, meets = max(pieces[n, 3], pieces[n, 7]), True
        for axis in range(3):
            a, b = pieces[n, axis], pieces[n, 4 + axis]
            meets &= min(a, b) - wide <= high[axis] and max(a, b) + wide >= low[axis]
        if meets:
            out[count] = pieces[n]
            count += 1
    return out[:count]


@jit
def _mark(bits: NDArray[np.uint64], pieces: Floats, mm: Floats, first: NDArray[np.int64], points: Floats) -> None:
    """Set the bit of each of a voxel's sample points that lies in a piece; mm from the grid's voxel of index 0.

    No fastmath: the comparisons must come out alike on every machine.
    """
    corner = 0.5 * math.sqrt(mm[0] * mm[0] + mm[1] * mm[1] + mm[2] * mm[2])
    full = ~np.uint64(0)
    low, high, ahead = np.zeros(3, np.int64), np.zeros(3, np.int64), np.empty(points.shape[1])
    for n in range(len(pieces)):
        a, b = pieces[n, :3], pieces[n, 4:7]
        ra, slope = pieces[n, 3], pieces[n, 7] - pieces[n, 3]
        d0, d1, d2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        dd = d0 * d0 + d1 * d1 + d2 * d2
        per = 1.0 / dd if dd > 0.0 else 0.0
        reach, unsure = max(ra, pieces[n, 7]), corner + abs(slope) + 1e-6
        for axis in range(3):
            least, most = first[axis], first[axis] + bits.shape[axis] - 1
            low[axis] = max(least, math.floor((min(a[axis], b[axis]) - reach) / mm[axis] - 0.5))
            high[axis] = min(most, math.ceil((max(a[axis], b[axis]) + reach) / mm[axis] + 0.5))
        for m in range(ahead.size):
            ahead[m] = points[0, m] * d0 + points[1, m] * d1 + points[2, m] * d2
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    at = i - first[0], j - first[1], k - first[2]
                    known = bits[at]
                    if known == full:
                        continue
                    e0, e1, e2 = i * mm[0] - a[0], j * mm[1] - a[1], k * mm[2] - a[2]
                    along = e0 * d0 + e1 * d1 + e2 * d2
                    t = min(max(along * per, 0.0), 1.0)
                    g0, g1, g2 = e0 - t * d0, e1 - t * d1, e2 - t * d2
                    gap = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2) - (ra + t * slope)
                    if gap > unsure:
                        continue
                    if gap < -unsure:  # all of it lies inside
                        bits[at] = full
                        continue
                    for m in range(ahead.size):
                        t = min(max((along + ahead[m]) * per, 0.0), 1.0)
                        g0 = e0 + points[0, m] - t * d0
                        g1 = e1 + points[1, m] - t * d1
                        g2 = e2 + points[2, m] - t * d2
                        r = ra + t * slope
                        known |= np.uint64(g0 * g0 + g1 * g1 + g2 * g2 <= r * r) << np.uint64(m)
                    bits[at] = known
