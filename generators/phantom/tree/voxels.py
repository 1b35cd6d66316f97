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
    for p, r in zip(points, radii, strict=True):
        _fill(grid, p - low, r)
    centres: NDArray[np.float32] = ((np.argwhere(grid) + low) * voxel_mm).astype(np.float32)
    return centres


@jit
def _fill(grid: Occupied, points: NDArray[np.float64], radii: NDArray[np.float64]) -> None:
    """Mark the lattice points inside one branch; everything in voxels from the grid's corner.

    No fastmath: the comparisons must come out alike on every machine.
    """
    for k in range(points.shape[0] - 1):
        a, b = points[k], points[k + 1]
        ra, rb = radii[k], radii[k + 1]
        d0, d1, d2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        dd = d0 * d0 + d1 * d1 + d2 * d2
        widest = max(ra, rb)
        i0, i1 = math.ceil(min(a[0], b[0]) - widest), math.floor(max(a[0], b[0]) + widest)
        j0, j1 = math.ceil(min(a[1], b[1]) - widest), math.floor(max(a[1], b[1]) + widest)
        k0, k1 = math.ceil(min(a[2], b[2]) - widest), math.floor(max(a[2], b[2]) + widest)
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                for m in range(k0, k1 + 1):
                    if grid[i, j, m]:
                        continue
                    e0, e1, e2 = i - a[0], j - a[1], m - a[2]
                    t = (e0 * d0 + e1 * d1 + e2 * d2) / dd if dd > 0.0 else 0.0
                    t = min(max(t, 0.0), 1.0)
                    e0, e1, e2 = e0 - t * d0, e1 - t * d1, e2 - t * d2
                    r = ra + t * (rb - ra)
                    if e0 * e0 + e1 * e1 + e2 * e2 <= r * r:
                        grid[i, j, m] = 1
