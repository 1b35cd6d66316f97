"""The cubic grid around the isocentre on which trees are projected and back-projected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lesionforge.generators.carm import cells


@dataclass(frozen=True)
class Grid:
    """Isotropic cells centred on the isocentre; index (i, j, k) runs along (+x left, +y posterior, +z head).

    One grid belongs to one case, whatever the number of views: projecting with one spacing and back-projecting
    with another, as the reference system (XRA-Diff) did, puts the tree outside its own hull.

    Raises:
        ValueError: a size or the spacing is not positive.
    """

    shape: tuple[int, int, int]
    spacing_mm: float

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"grid shape is {self.shape}: give three sizes of 1 or more")
        if not (math.isfinite(self.spacing_mm) and self.spacing_mm > 0):
            raise ValueError(f"spacing_mm is {self.spacing_mm}: give a positive cell edge, about 1")

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Edge lengths of the whole grid."""
        i, j, k = self.shape
        return (i * self.spacing_mm, j * self.spacing_mm, k * self.spacing_mm)

    def centres(self, indices: ArrayLike) -> NDArray[np.float64]:
        """World points (n, 3) in LPS mm at the centres of the cells ``indices`` (n, 3)."""
        index = np.asarray(indices, np.float64)
        half = (np.asarray(self.shape, np.float64) - 1) / 2
        centre: NDArray[np.float64] = (index - half) * self.spacing_mm
        return centre

    def cells(self, occupied: NDArray[np.generic]) -> NDArray[np.int64]:
        """Flat indices (n,) in C order of the occupied cells.

        Args:
            occupied: a volume of ``shape`` (nonzero is occupied) or cell indices (n, 3).

        Raises:
            ValueError: neither of the two, or an index outside the grid.
        """
        if occupied.shape == self.shape:
            mask = np.ascontiguousarray(occupied if occupied.dtype.itemsize == 1 else occupied != 0)
            return cells.nonzero(mask.reshape(-1).view(np.uint8))
        if occupied.ndim != 2 or occupied.shape[1] != 3 or not np.issubdtype(occupied.dtype, np.integer):
            raise ValueError(
                f"occupied has shape {occupied.shape} and type {occupied.dtype}: give a volume of shape "
                f"{self.shape} or integer cells (n, 3)"
            )
        columns = occupied.T
        most = [column.max(initial=0) for column in columns]  # of all at once, three a row, it takes four times as long
        if occupied.min(initial=0) < 0 or any(last >= n for last, n in zip(most, self.shape, strict=True)):
            raise ValueError(f"a cell index lies outside the grid {self.shape}: drop it or enlarge the grid")
        i, j, k = columns.astype(np.int64)
        return np.ascontiguousarray((i * self.shape[1] + j) * self.shape[2] + k)


def average_down(occupied: NDArray[np.int64], n: int, size: int) -> NDArray[np.float16]:
    """Mean occupancy on a coarser cubic grid of the same extent.

    Unlike trilinear sampling it skips no cell, so a hull that contains the truth still contains it afterwards.

    Args:
        occupied: flat indices (m,) in C order of the occupied cells of an n x n x n volume.
        n: cells an edge of that volume.
        size: cells an edge of the result, at most n.

    Returns:
        float16 (size, size, size) in 0 ... 1.
    """
    # An old cell reaches into at most two new ones along each axis: ``low`` with its share, and the next.
    start = np.arange(n) * size
    low = start // n
    share = np.minimum(1.0, ((low + 1) * n - start) / size)
    total = np.zeros(size**3 + size**2 + size + 1)  # room for a "next" past the end, whose share is zero
    cells.average(occupied, low, share, size, total)
    out = np.zeros(size**3, np.float16)
    kept = np.flatnonzero(mean := total[: size**3] * (size / n) ** 3)
    # The least share must not round to zero in float16, or the hull would lose cells of the truth.
    out[kept] = np.where(mean[kept] > 1e-9, np.maximum(mean[kept], 2.0**-14), 0.0)
    return out.reshape(size, size, size)
