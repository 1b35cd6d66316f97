"""Voxels of a lumen: the union of tapered capsules along the centrelines, on a lattice fixed in the world."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.types import Branch

Occupied = NDArray[np.uint8]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def voxelise(branches: Sequence[Branch], voxel_mm: float = 0.4) -> NDArray[np.float32]:
    """Centres (n, 3) in LPS mm of the voxels whose centre lies in the lumen.

    The lattice is ``voxel_mm`` times the integers, so a tree's voxels do not depend on its extent. A centre p is
    inside where |p - q| <= r(q), q being the nearest point of a centreline piece and r linear along it. Radii below
    half a voxel's diagonal are raised to it: every centreline point then lies in an occupied voxel, so each tree is
    one 26-connected component, and a minimal lumen narrower than that (0.69 mm at 0.4 mm voxels) is drawn so wide.

    Raises:
        ValueError: no branches, or a voxel size that is not positive.
    """
    if not branches:
        raise ValueError("no branches to voxelise: pass those of one tree")
    if voxel_mm <= 0.0:
        raise ValueError(f"voxel_mm is {voxel_mm}: give an edge length in mm above 0")
    floor = 0.5 * math.sqrt(3.0) * (1.0 + 1e-9)
    points = np.concatenate([branch.points for branch in branches]) / voxel_mm
    radii = np.maximum(np.concatenate([branch.radii for branch in branches]) / voxel_mm, floor)
    reach = float(radii.max()) + 1.0
    corner = np.floor(points.min(axis=0) - reach)
    size = (np.ceil(points.max(axis=0) + reach) - corner).astype(np.int64) + 1
    grid: Occupied = np.zeros(tuple(size.tolist()), dtype=np.uint8)
    points -= corner
    piece = np.ones(len(points), np.bool_)
    piece[np.cumsum([len(branch.radii) for branch in branches]) - 1] = False  # no piece begins where a branch ends
    first = np.flatnonzero(piece)
    near, far, wide = points[first], points[first + 1], np.maximum(radii[first], radii[first + 1])
    low = np.ceil(np.minimum(near, far) - wide[:, None]).astype(np.int64)
    high = np.floor(np.maximum(near, far) + wide[:, None]).astype(np.int64) + 1
    cones = np.empty((len(first), 13))
    cones[:, :3], cones[:, 3], cones[:, 4:7], cones[:, 7] = (
        near,
        radii[first],
        far - near,
        radii[first + 1] - radii[first],
    )
    squares = cones[:, 4:7] * cones[:, 4:7]
    flat = squares[:, 0] + squares[:, 1]
    whole = flat + squares[:, 2]
    cones[:, 8] = (wide + 1e-3) ** 2
    cones[:, 9] = 1.0 / np.where(flat > 0.0, flat, np.inf)
    cones[:, 10], cones[:, 11] = np.minimum(near[:, 2], far[:, 2]), np.maximum(near[:, 2], far[:, 2])
    cones[:, 12] = np.where(whole > 0.0, whole, np.inf)
    found = np.empty(
        int((high - low).prod(axis=1).sum()), np.int64
    )  # more than there will be: nothing touches the rest
    found = found[: _fill(grid, cones, low, high, found)]
    found.sort()
    centres = np.empty((len(found), 3), np.float32)
    for axis, index in enumerate(np.unravel_index(found, grid.shape)):
        centres[:, axis] = (index + int(corner[axis])) * voxel_mm
    return centres


@jit
def _fill(grid: Occupied, cones: Floats, low: Indices, high: Indices, found: Indices) -> int:
    """Mark the lattice points inside pieces of vessels; everything in voxels from the grid's corner.

    No fastmath: the comparisons must come out alike on every machine.

    Args:
        grid: where they are marked.
        cones: of each piece, one end and the radius there, the way to the other end and what the radius gains on it,
            the square of a radius beyond which nothing of it lies, one over the square of the way in the first two
            axes, its lowest and highest place on the third, and the square of the way (n, 13).
        low, high: first indices of each piece's box and those behind its last (n, 3).
        found: takes the flat indices of what is marked: the grid itself is too large to be searched.

    Returns:
        How many there are.
    """
    count = 0
    for s in range(len(cones)):
        d0 = cones[s, 4]
        d1 = cones[s, 5]
        d2 = cones[s, 6]
        for i in range(low[s, 0], high[s, 0]):
            e0 = i - cones[s, 0]
            for j in range(low[s, 1], high[s, 1]):
                e1 = j - cones[s, 1]
                along = e0 * d0 + e1 * d1
                near = min(max(along * cones[s, 9], 0.0), 1.0)
                f0 = e0 - near * d0
                f1 = e1 - near * d1
                room = cones[s, 8] - (f0 * f0 + f1 * f1)
                if room < 0.0:  # the whole column passes it by
                    continue
                half = math.sqrt(room)
                for k in range(math.ceil(cones[s, 10] - half), math.floor(cones[s, 11] + half) + 1):
                    if grid[i, j, k]:
                        continue
                    e2 = k - cones[s, 2]
                    t = min(max((along + e2 * d2) / cones[s, 12], 0.0), 1.0)
                    g0 = e0 - t * d0
                    g1 = e1 - t * d1
                    g2 = e2 - t * d2
                    r = cones[s, 3] + t * cones[s, 7]
                    if g0 * g0 + g1 * g1 + g2 * g2 <= r * r:
                        grid[i, j, k] = 1
                        found[count] = (i * grid.shape[1] + j) * grid.shape[2] + k
                        count += 1
    return count
