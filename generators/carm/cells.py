"""Compiled loops that turn points into cells and volumes into lists of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit


def nonzero(flat: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Indices of the nonzero bytes; whole words of zeros are skipped, as nearly all of a tree's grid is empty."""
    found = np.empty(np.count_nonzero(flat), np.int64)
    _list(flat, flat[: flat.size // 8 * 8].view(np.uint64), found)
    return found


def floats(flat: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of the nonzero numbers, in the same way."""
    found = np.empty(len(flat), np.int64)  # of which but a few pages are ever touched
    return found[: _list_floats(flat, flat[: len(flat) // 4 * 4].view(np.uint64), found)].copy()


@jit
def _list_floats(flat: NDArray[np.float32], words: NDArray[np.uint64], found: NDArray[np.int64]) -> int:
    count = 0
    for w in range(0, len(words), 2):
        if words[w] != 0 or words[w + 1] != 0:
            for n in range(w * 2, w * 2 + 4):
                if flat[n] != 0:
                    found[count] = n
                    count += 1
    for n in range(len(words) * 2, len(flat)):
        if flat[n] != 0:
            found[count] = n
            count += 1
    return count


@jit
def _list(flat: NDArray[np.uint8], words: NDArray[np.uint64], found: NDArray[np.int64]) -> None:
    count = 0
    for w in range(len(words)):
        if words[w] != 0:
            for n in range(w * 8, w * 8 + 8):
                if flat[n] != 0:
                    found[count] = n
                    count += 1
    for n in range(len(words) * 8, len(flat)):
        if flat[n] != 0:
            found[count] = n
            count += 1


@jit
def average(
    cells: NDArray[np.int64], low: NDArray[np.int64], share: NDArray[np.float64], size: int, total: NDArray[np.float64]
) -> None:
    """Add to ``total`` what each cell has in the coarser cells that it reaches; see ``grid.average_down``.

    Corner after corner, each summed on its own before it is added: single sums over all would have other last bits.
    """
    n = low.size
    first = np.empty(cells.size, np.int64)
    shares = np.empty((cells.size, 3))
    for m in range(cells.size):
        ij, k = cells[m] // n, cells[m] % n
        i, j = ij // n, ij % n
        first[m] = (low[i] * size + low[j]) * size + low[k]
        shares[m, 0], shares[m, 1], shares[m, 2] = share[i], share[j], share[k]
    part = np.zeros(total.size)
    for corner in range(8):
        a, b, c = corner >> 2 & 1, corner >> 1 & 1, corner & 1
        step = (a * size + b) * size + c
        for m in range(cells.size):
            x, y, z = shares[m]
            part[first[m] + step] += abs(a - x) * abs(b - y) * abs(c - z)  # the share, or of the next what it leaves
        for m in range(cells.size):
            total[first[m] + step] += part[first[m] + step]
            part[first[m] + step] = 0
