"""Averaging a cubic volume down to fewer cells, exactly: each new cell holds the mean of what it covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def average_down(cells: NDArray[np.integer], n: int, size: int) -> NDArray[np.float16]:
    """Mean occupancy on a coarser cubic grid of the same extent.

    Unlike trilinear sampling it skips no cell, so a hull that contains the truth still contains it afterwards.

    Args:
        cells: (m, 3) indices of the occupied cells of an n x n x n volume.
        n: cells an edge of that volume.
        size: cells an edge of the result, at most n.

    Returns:
        float16 (size, size, size) in 0 ... 1.
    """
    # An old cell reaches into at most two new ones along each axis: ``low`` with share w, and the next.
    start = cells.T * size
    low = start // n
    share = np.minimum(1.0, ((low + 1) * n - start) / size)
    total = np.zeros(size**3 + size**2 + size + 1)  # room for a "next" past the end, whose share is zero
    for corner in range(8):
        step = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])[:, None]
        weight = np.where(step, 1 - share, share)
        i, j, k = low + step
        total += np.bincount((i * size + j) * size + k, weight[0] * weight[1] * weight[2], len(total))
    out = (total[: size**3] * (size / n) ** 3).reshape(size, size, size)
    # The least share must not round to zero in float16, or the hull would lose cells of the truth.
    return np.where(out > 1e-9, np.maximum(out, 2.0**-14), 0.0).astype(np.float16)
