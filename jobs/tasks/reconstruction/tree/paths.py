"""Which cells the tree's branches run through: cheapest paths over the hull from the ostium, farthest end first.

After TEASAR (Sato et al. 2000): a path is grown to the farthest likely cell that no path has been near yet, until there
is none; as every path ends in the tree that is there, the result is one tree without loops, whatever the pieces are. A
gap is bridged through the hull's cells alone, at a cost; what lies beyond is a branch where the new path is likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from lesionforge.generators.kernels import jit

Cells = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAST = 1e-3  # likelihood below which one cell of the hull costs as much as any other
STEP = 0.1  # cost of a cell that is surely the tree's: of two such ways the shorter
SMOOTH = 0.6  # cells, sd over which neighbours' likelihoods count: ways run in the middle
NEAR = 2.0  # cells from a path, beyond its radius, that are its own
LIKELY = 0.8  # of the threshold that the mean of a new path must have
SHORTEST = 3.0  # cells that an end must stand out of the tree, beyond the tree's radius there

_FORWARD = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)])


@dataclass(frozen=True)
class Ways:
    """Cells that may be the tree's (n, 3), how likely each is, how wide the vessel there would be, and who is next to whom.

    ``radii``: in cells. ``costs``: sparse (n, n), upper triangle.
    """

    cells: Cells
    likely: Floats
    radii: Floats
    costs: csr_matrix

    @classmethod
    def over(cls, volume: NDArray[np.float32], allowed: NDArray[np.bool_], radii: NDArray[np.float32]) -> Ways:
        """Over the ``allowed`` cells of a volume of likelihoods; ``radii`` (n,) of those, in cells."""
        cells = np.argwhere(allowed)
        number = np.full(np.add(allowed.shape, 2), -1, np.int64)
        number[1:-1, 1:-1, 1:-1][allowed] = np.arange(len(cells))
        smooth = gaussian_filter(volume, SMOOTH, truncate=3)[allowed]
        cost = STEP - np.log(np.clip(smooth, LEAST, 1)).astype(np.float64)
        rows, cols, weights = [], [], []
        for step in _FORWARD:
            other = number[tuple((cells + 1 + step).T)]
            here = np.flatnonzero(other >= 0)
            there = other[here]
            rows.append(here)
            cols.append(there)
            weights.append((cost[here] + cost[there]) / 2 * np.sqrt((step**2).sum()))
        shape = (len(cells), len(cells))
        graph = csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(cols))), shape)
        return cls(cells, volume[allowed].astype(np.float64), radii.astype(np.float64), graph)

    def paths(self, root: int, threshold: float) -> list[Cells]:
        """Numbers of cells of each path, from where it leaves an earlier one (that cell too) to its end; the first from ``root``."""
        cost, before = dijkstra(self.costs, directed=False, indices=root, return_predecessors=True)
        length = _lengths(self.cells, before.astype(np.int64), np.argsort(cost, kind="stable"))
        open_ = (self.likely >= threshold) & np.isfinite(cost)
        taken = np.zeros(len(cost), np.bool_)
        taken[root] = True
        tree = cKDTree(self.cells)
        order = np.flatnonzero(open_)
        order = order[np.argsort(-length[order], kind="stable")]
        out = []
        for tip in order.tolist():
            if not open_[tip]:
                continue
            path = [tip]
            while not taken[path[-1]]:
                path.append(int(before[path[-1]]))
            way = np.array(path[::-1])
            fork = way[0]
            stands = length[tip] - length[fork] >= SHORTEST + self.radii[fork]
            if len(way) > 1 and (not out or (stands and self.likely[way[1:]].mean() >= LIKELY * threshold)):
                out.append(way)
                taken[way] = True
                mine = way
            else:
                mine = way[-1:]
            for near in tree.query_ball_point(self.cells[mine], NEAR + self.radii[mine]):
                open_[near] = False
        return out


@jit
def _lengths(cells: Cells, before: Cells, order: Cells) -> Floats:
    """Length in cells of the way to each cell; ``order``: the cells, each after the one before it."""
    out = np.zeros(len(cells))
    for n in order:
        b = before[n]
        if b >= 0:
            square = 0
            for axis in range(3):
                square += (cells[n, axis] - cells[b, axis]) ** 2
            out[n] = out[b] + np.sqrt(square)
    return out
