"""The open lumen on cells finer than CT's voxels, about the isocentre of the C-arm.

A lumen of 1 mm is two CT voxels wide; its blocks, projected, are a silhouette nobody would read. The surface taken
here is that of the label interpolated linearly, where it is one half: exactly the surface whose sections the percent
diameter stenosis is measured on, so CT, label and angiogram show one lumen. A phantom's own smooth branches would be
another lumen than the labelled one, and a source of labels alone has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.carm import Grid
from lesionforge.generators.types import CoronaryTree


@dataclass(frozen=True)
class Lumen:
    """Occupied ``cells`` (n, 3) of ``grid``, whose middle, the isocentre, lies at ``isocentre_mm`` (3,) in LPS mm."""

    cells: NDArray[np.int64]
    grid: Grid
    isocentre_mm: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """The cells' centres (n, 3), LPS mm from the isocentre."""
        return self.grid.centres(self.cells)


def fine(tree: CoronaryTree, cell_mm: float) -> Lumen:
    """The tree's voxels as cells of ``cell_mm``; the isocentre is the middle of its bounding box."""
    voxel = np.array(tree.voxel_mm)
    points = tree.points.astype(np.float64)
    low = points.min(axis=0)
    at = np.rint((points - low) / voxel).astype(np.int64) + 2
    occupied = np.zeros(at.max(axis=0) + 3, np.float32)
    occupied[tuple(at.T)] = 1
    near = ndimage.binary_dilation(occupied > 0, np.ones((3, 3, 3)))  # further off the interpolation is 0
    extent = np.ptp(points, axis=0) + 2 * voxel
    n0, n1, n2 = (int(n) for n in np.ceil(extent / cell_mm))
    grid = Grid((n0, n1, n2), cell_mm)
    isocentre = (low + points.max(axis=0)) / 2
    # Positions of the cells' centres in voxels, axis by axis: both lattices are along the patient's axes.
    x, y, z = (
        (isocentre[a] - low[a] + (np.arange(n) - (n - 1) / 2) * cell_mm) / voxel[a] + 2
        for a, n in enumerate(grid.shape)
    )
    i, j, k = (np.rint(axis).astype(np.int64) for axis in (x, y, z))
    cells = []
    for plane, row in enumerate(i):
        a, b = np.nonzero(near[row][j[:, None], k])
        share = ndimage.map_coordinates(occupied, [np.full(len(a), x[plane]), y[a], z[b]], order=1)
        kept = share >= 0.5
        cells.append(np.stack([np.full(int(kept.sum()), plane), a[kept], b[kept]], axis=1))
    return Lumen(np.concatenate(cells).astype(np.int64), grid, isocentre)
