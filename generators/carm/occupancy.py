"""Which cells of a grid a tree fills: by the share of their volume, thin vessels as a line of single cells.

A cell that counted as soon as one voxel's centre fell into it would make a tree of 1 mm vessels twice as large. Half
filled or not, alone, loses twigs and breaks the tree where they cross a face between cells. So, in three steps:

1. a cell at least half full is occupied;
2. of thinner vessels remain the fullest cells that keep the tree in one piece: the others are taken away, emptiest
   first, where their neighbours hold together without them. A twig ends where it fills less than a quarter of a cell;
3. of what was taken away, fullest first, a cell comes back where those about it (5 x 5 x 5) lack half a cell or more of
   what is there: a curved wall leaves more cells less than half full than it fills beyond that.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.cells import floats
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.kernels import jit

RULE = "a cell at least half full; of thinner vessels one line of their fullest cells"
COARSE = "of truth and hull the share of a cell that is filled, 0 ... 1, not binarised"
HALF = 0.5
LEAST = 0.2  # of a cell that step 3 gives back
TIP = 0.25  # of a cell at a twig's end
_PASSES = 4  # a cell that holds two others together may be free once one of these is gone

Shares = NDArray[np.float32]
Indices = NDArray[np.int64]

_PLACES = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1)
#: Of each of 27 cells the others that touch it, one bit each.
_TOUCH = np.array(
    [sum(1 << b for b in range(27) if b != a and abs(_PLACES[a] - _PLACES[b]).max() == 1) for a in range(27)], np.int64
)


class Filled(NamedTuple):
    """How much of each cell a tree fills: float32 of the grid's shape in 0 ... 1; see ``shares``."""

    shares: Shares
    cells: Indices  # (n,) flat, ascending: those that are not 0
    outside: int  # voxels that reach out of the grid


def shares(
    points: NDArray[np.floating[Any]],
    voxel_mm: tuple[float, float, float],
    grid: Grid,
    offset_mm: NDArray[np.float64] | tuple[float, float, float] = (0, 0, 0),
) -> Filled:
    """How much of each cell the voxels of a tree fill, exactly.

    Args:
        points: (n, 3) LPS mm, the voxels' centres.
        voxel_mm: their edges along LPS.
        grid: the cells.
        offset_mm: (3,) LPS mm that is taken from the points: where the isocentre lies among them.

    Raises:
        ValueError: points that are no (n, 3) finite numbers, an edge that is not positive.
    """
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"points have shape {points.shape}: give (n, 3) finite numbers in LPS mm")
    if min(voxel_mm) <= 0:
        raise ValueError(f"voxel_mm is {voxel_mm}: give three positive edges")
    out = np.zeros(grid.shape, np.float32)
    found = np.empty(out.size, np.int64)  # of which, as of the grid, but a few pages are ever touched
    ex, ey, ez = (edge / grid.spacing_mm for edge in voxel_mm)
    x, y, z = np.asarray(offset_mm, np.float64).tolist()
    count, outside = _fill(np.ascontiguousarray(points), (x, y, z), grid.spacing_mm, (ex, ey, ez), out, found)
    cells, flat = np.sort(found[:count]), out.reshape(-1)
    flat[cells] = np.minimum(flat[cells], np.float32(1))
    return Filled(out, cells, int(outside))


def occupied(shares: Shares, cells: Indices | None = None) -> NDArray[np.uint8]:
    """The cells that count as the tree's, uint8 of the grid's shape; see the module.

    Args:
        shares: float32, how much of each cell is filled.
        cells: the flat indices, ascending, of those that are not 0, where they are known.
    """
    flat = shares.reshape(-1)
    some = floats(flat) if cells is None else cells
    out = np.zeros(shares.shape, np.uint8)
    out.reshape(-1)[some] = 1
    full = flat[some]
    less = full < HALF
    order = some[less][np.argsort(full[less], kind="stable")]
    for _ in range(_PASSES):
        if not _thin(order, shares, out, _TOUCH):
            break
    flat[some] = full  # as it was: a copy of the whole grid would take longer
    _balance(shares, order[out.reshape(-1)[order] == 0], out)
    return out


@jit
def _fill(
    points: NDArray[np.floating[Any]],
    offset: tuple[float, float, float],
    spacing: float,
    edges: tuple[float, float, float],
    out: Shares,
    found: Indices,
) -> tuple[int, int]:
    """Add what each voxel has in each cell, and list the cells.

    Args:
        points: mm.
        offset: mm, taken from the points.
        spacing: mm a cell.
        edges: of a voxel, in cells.

    Returns:
        How many cells are listed, and how many voxels reach out of the grid.
    """
    ni, nj, nk = out.shape
    ex, ey, ez = edges
    count = outside = 0
    for n in range(len(points)):
        x0 = (points[n, 0] - offset[0]) / spacing - 0.5 * ex + 0.5 * ni
        y0 = (points[n, 1] - offset[1]) / spacing - 0.5 * ey + 0.5 * nj
        z0 = (points[n, 2] - offset[2]) / spacing - 0.5 * ez + 0.5 * nk
        x1, y1, z1 = x0 + ex, y0 + ey, z0 + ez
        if not (x0 >= 0 and y0 >= 0 and z0 >= 0 and x1 <= ni and y1 <= nj and z1 <= nk):
            outside += 1
        for i in range(max(math.floor(x0), 0), min(math.ceil(x1), ni)):
            a = min(x1, i + 1.0) - max(x0, float(i))
            for j in range(max(math.floor(y0), 0), min(math.ceil(y1), nj)):
                b = a * (min(y1, j + 1.0) - max(y0, float(j)))
                for k in range(max(math.floor(z0), 0), min(math.ceil(z1), nk)):
                    before = out[i, j, k]
                    out[i, j, k] = before + b * (min(z1, k + 1.0) - max(z0, float(k)))
                    if before == 0 and out[i, j, k] != 0:
                        found[count] = (i * nj + j) * nk + k
                        count += 1
    return count, outside


@jit
def _balance(shares: Shares, order: Indices, out: NDArray[np.uint8]) -> None:
    """Step 3: occupy cells (flat indices, emptiest first, taken from the end) where volume is missing about them."""
    ni, nj, nk = shares.shape
    for n in range(len(order) - 1, -1, -1):
        i, j, k = order[n] // (nj * nk), order[n] // nk % nj, order[n] % nk
        if shares[i, j, k] < LEAST:
            break
        lacking = 0.0
        for x in range(max(i - 2, 0), min(i + 3, ni)):
            for y in range(max(j - 2, 0), min(j + 3, nj)):
                for z in range(max(k - 2, 0), min(k + 3, nk)):
                    lacking += shares[x, y, z] - out[x, y, z]
        if lacking >= HALF:
            out[i, j, k] = 1


@jit
def _thin(order: Indices, held: Shares, out: NDArray[np.uint8], touch: Indices) -> int:
    """Step 2, once over the cells (flat indices, emptiest first); what one held goes to its fullest neighbour.

    Returns:
        How many were taken away.
    """
    ni, nj, nk = out.shape
    gone = 0
    for n in range(len(order)):
        i, j, k = order[n] // (nj * nk), order[n] // nk % nj, order[n] % nk
        if out[i, j, k] == 0 or not (0 < i < ni - 1 and 0 < j < nj - 1 and 0 < k < nk - 1):
            continue
        about, count, best, most = 0, 0, 0, -1.0
        for bit in range(27):
            x, y, z = i + bit // 9 - 1, j + bit // 3 % 3 - 1, k + bit % 3 - 1
            if bit != 13 and out[x, y, z] != 0:
                about |= 1 << bit
                count += 1
                if held[x, y, z] > most:
                    best, most = bit, held[x, y, z]
        if count == 0 or (count == 1 and held[i, j, k] >= TIP):
            continue
        reached = 1 << best
        grown = 0
        while grown != reached:
            grown = reached
            for bit in range(27):
                if reached >> bit & 1:
                    reached |= touch[bit] & about
        if reached == about:
            held[i + best // 9 - 1, j + best // 3 % 3 - 1, k + best % 3 - 1] += held[i, j, k]
            out[i, j, k] = 0
            gone += 1
    return gone
