"""How much of each voxel a vessel fills: the union of tapered capsules, sampled at 64 points a voxel."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.ct.canvas import Canvas

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]
Words = NDArray[np.uint64]
SUB = 4  # points along a voxel's edge: 64 fill one integer
_POINTS = (np.indices((SUB, SUB, SUB)).reshape(3, -1) + 0.5) / SUB - 0.5  # of a voxel, in its edges

_BITS = np.append(np.uint64(1) << np.arange(SUB**3, dtype=np.uint64), ~np.uint64(0))


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
    mm, first = spacing, np.array(part.grid.first)
    shifted = near - [*grid.origin_mm, 0.0, *grid.origin_mm, 0.0]
    a, b, wide = shifted[:, :3], shifted[:, 4:7], np.maximum(near[:, 3], near[:, 7])[:, None]
    bottom = np.maximum(np.floor((np.minimum(a, b) - wide) / mm - 0.5).astype(np.int64), first)
    top = np.minimum(np.ceil((np.maximum(a, b) + wide) / mm + 0.5).astype(np.int64), first + part.grid.shape - 1)
    points, way, rise = _POINTS * mm[:, None], b - a, near[:, 7] - near[:, 3]
    square = way[:, 0] * way[:, 0] + way[:, 1] * way[:, 1] + way[:, 2] * way[:, 2]
    per = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0.0)
    corner = 0.5 * math.sqrt(mm[0] * mm[0] + mm[1] * mm[1] + mm[2] * mm[2])
    cones = np.column_stack([a, near[:, 3], way, rise, per, corner + np.abs(rise) + 1e-6])
    _mark(bits, cones, mm, first, bottom, top + 1, points, _BITS)
    share: Floats = np.bitwise_count(bits) / float(SUB**3)
    return part, share


def _near(pieces: Floats, low: Floats, high: Floats) -> Floats:
    """The pieces that may reach into a box."""
    a, b, wide = pieces[:, :3], pieces[:, 4:7], np.maximum(pieces[:, 3], pieces[:, 7])[:, None]
    meets = (np.minimum(a, b) - wide <= high) & (np.maximum(a, b) + wide >= low)
    out: Floats = pieces[meets[:, 0] & meets[:, 1] & meets[:, 2]]
    return out


@jit
def _mark(
    bits: Words, cones: Floats, mm: Floats, first: Cells, low: Cells, high: Cells, points: Floats, bit: Words
) -> None:
    """Set the bit of each of a voxel's sample points that lies in a piece; mm from the grid's voxel of index 0.

    No fastmath: the comparisons must come out alike on every machine.

    Args:
        bits: the voxels.
        cones: of each piece, one end and the radius there, the way to the other end and what the radius gains on it,
            one over the square of the way, and how far from the surface a voxel is all in or all out (n, 10).
        mm, first: the grid's spacing and the index of its first voxel.
        low, high: first indices of each piece's box and those behind its last (n, 3).
        points: sample points of a voxel (3, 64).
        bit: the word of each, then the one of all.
    """
    full = bit[-1]
    for n in range(len(cones)):
        d0 = cones[n, 4]
        d1 = cones[n, 5]
        d2 = cones[n, 6]
        per = cones[n, 8]
        for i in range(low[n, 0], high[n, 0]):
            e0 = i * mm[0] - cones[n, 0]
            for j in range(low[n, 1], high[n, 1]):
                e1 = j * mm[1] - cones[n, 1]
                for k in range(low[n, 2], high[n, 2]):
                    known = bits[i - first[0], j - first[1], k - first[2]]
                    if known == full:
                        continue
                    e2 = k * mm[2] - cones[n, 2]
                    along = e0 * d0 + e1 * d1 + e2 * d2
                    t = min(max(along * per, 0.0), 1.0)
                    g0 = e0 - t * d0
                    g1 = e1 - t * d1
                    g2 = e2 - t * d2
                    gap = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2) - (cones[n, 3] + t * cones[n, 7])
                    if gap > cones[n, 9]:
                        continue
                    if gap < -cones[n, 9]:  # all of it lies inside
                        bits[i - first[0], j - first[1], k - first[2]] = full
                        continue
                    for m in range(points.shape[1]):
                        ahead = points[0, m] * d0 + points[1, m] * d1 + points[2, m] * d2
                        t = min(max((along + ahead) * per, 0.0), 1.0)
                        g0 = e0 + points[0, m] - t * d0
                        g1 = e1 + points[1, m] - t * d1
                        g2 = e2 + points[2, m] - t * d2
                        r = cones[n, 3] + t * cones[n, 7]
                        if g0 * g0 + g1 * g1 + g2 * g2 <= r * r:
                            known |= bit[m]
                    bits[i - first[0], j - first[1], k - first[2]] = known
