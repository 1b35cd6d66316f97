"""Voxels of a lumen: the union of tapered capsules along the centrelines, on a lattice fixed in the world."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.types import Branch

Occupied = NDArray[np.uint8]


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
    points = [branch.points / voxel_mm for branch in branches]
    radii = [np.maximum(branch.radii / voxel_mm, floor) for branch in branches]
    reach = max(float(r.max()) for r in radii) + 1.0
    low = np.floor(np.min([p.min(axis=0) for p in points], axis=0) - reach).astype(np.int64)
    high = np.ceil(np.max([p.max(axis=0) for p in points], axis=0) + reach).astype(np.int64)
    grid: Occupied = np.zeros(tuple(int(n) for n in high - low + 1), dtype=np.uint8)
    found = np.sort(np.concatenate([_fill(grid, p - low, r) for p, r in zip(points, radii, strict=True)]))
    index = np.stack(np.unravel_index(found, grid.shape), axis=1) + low
    centres: NDArray[np.float32] = (index * voxel_mm).astype(np.float32)
    return centres


@jit
def _fill(grid: Occupied, points: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.int64]:
    """Mark the lattice points inside one branch; everything in voxels from the grid's corner.

    No fastmath: the comparisons must come out alike on every machine.

    Returns:
        Flat indices of those that no branch before it had marked: the grid itself is too large to be searched.
    """
    found, count = np.empty(1024, np.int64), 0
    for s in range(points.shape[0] - 1):
        a0, a1, a2 = points[s, 0], points[s, 1], points[s, 2]
        b0, b1, b2 = points[s + 1, 0], points[s + 1, 1], points[s + 1, 2]
        ra, rb = radii[s], radii[s + 1]
        d0, d1, d2 = b0 - a0, b1 - a1, b2 - a2
        dd = d0 * d0 + d1 * d1 + d2 * d2
        flat = d0 * d0 + d1 * d1
        widest = max(ra, rb)
        for i in range(math.ceil(min(a0, b0) - widest), math.floor(max(a0, b0) + widest) + 1):
            for j in range(math.ceil(min(a1, b1) - widest), math.floor(max(a1, b1) + widest) + 1):
                e0, e1 = i - a0, j - a1
                t = min(max((e0 * d0 + e1 * d1) / flat, 0.0), 1.0) if flat > 0.0 else 0.0
                g0, g1 = e0 - t * d0, e1 - t * d1
                room = widest * widest - (g0 * g0 + g1 * g1)
                if room < -1e-6:  # the whole column passes it by
                    continue
                half = math.sqrt(max(room, 0.0)) + 1e-3
                for k in range(math.ceil(min(a2, b2) - half), math.floor(max(a2, b2) + half) + 1):
                    if grid[i, j, k]:
                        continue
                    e2 = k - a2
                    t = (e0 * d0 + e1 * d1 + e2 * d2) / dd if dd > 0.0 else 0.0
                    t = min(max(t, 0.0), 1.0)
                    g0, g1, g2 = e0 - t * d0, e1 - t * d1, e2 - t * d2
                    r = ra + t * (rb - ra)
                    if g0 * g0 + g1 * g1 + g2 * g2 <= r * r:
                        grid[i, j, k] = 1
                        if count == found.size:
                            more = np.empty(2 * count, np.int64)
                            more[:count] = found
                            found = more
                        found[count] = (i * grid.shape[1] + j) * grid.shape[2] + k
                        count += 1
    return found[:count].copy()
