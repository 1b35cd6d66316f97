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
SHORTEST = 3.0  # cells that an end must stand out of the tree, beyond the tree's radius there

LIKELY, NEW = 0.5, 0.1  # times the threshold, and share of a path that must explain something new in a view
FAINT, NEW_IN_ALL = 0.05, 0.2  # the same of a path that explains what no path has in any view
WIDTH = 4096  # parts along a row of a view, at most

_ABOUT = np.array([r * WIDTH + c for r in (-1, 0, 1) for c in (-1, 0, 1)])
_FORWARD = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) > (0, 0, 0)])


@dataclass(frozen=True)
class Ways:
    """Cells that may be the tree's (n, 3), how likely each is, how wide the vessel there would be.

    ``radii``: in cells. ``rays`` (views, n): which part of each view, about as large as a cell's image, each falls on.
    ``costs``: sparse (n, n), of the way from a cell to the next.
    """

    cells: Cells
    likely: Floats
    radii: Floats
    rays: NDArray[np.int64]
    costs: csr_matrix

    @classmethod
    def over(
        cls, volume: NDArray[np.float32], allowed: NDArray[np.bool_], radii: Floats, rays: NDArray[np.int64]
    ) -> Ways:
        """Over the ``allowed`` cells of a volume of likelihoods; ``radii`` and ``rays`` of those."""
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
        return cls(cells, volume[allowed].astype(np.float64), radii, rays, graph)

    def paths(self, root: int, threshold: float) -> list[Cells]:
        """Numbers of each path's cells from the one of an earlier path that it leaves to its end; the first from root.

        Thrice over: first what is beyond doubt, paths of a high mean likelihood; then of the others those that explain
        a part of some silhouette that no path has explained; then the unlikely that explain a part of every silhouette.
        """
        cost, before = dijkstra(self.costs, directed=False, indices=root, return_predecessors=True)
        length = _lengths(self.cells, before.astype(np.int64), np.argsort(cost, kind="stable"))
        near = cKDTree(self.cells)
        order = np.argsort(-length, kind="stable")
        taken = np.zeros(len(cost), np.bool_)
        taken[root] = True
        explained = np.zeros((len(self.rays), int(self.rays.max(initial=0)) + 2 * WIDTH), np.bool_)
        out: list[Cells] = []
        sure = (1 + 2 * threshold) / 3
        passes = ((sure, 0.0, False), (LIKELY * threshold, NEW, False), (FAINT * threshold, NEW_IN_ALL, True))
        for mean, new, every in passes:
            free = (self.likely >= min(mean, threshold)) & np.isfinite(cost)
            if every:
                free &= ~np.take_along_axis(explained, self.rays, 1).any(0)
            if out:
                on = np.concatenate(out)
                for close in near.query_ball_point(self.cells[on], NEAR + self.radii[on]):
                    free[close] = False
            for tip in order[free[order]].tolist():
                if not free[tip]:
                    continue
                path = [tip]
                while not taken[path[-1]]:
                    path.append(int(before[path[-1]]))
                way = np.array(path[::-1])
                stands = length[tip] - length[way[0]] >= SHORTEST + self.radii[way[0]]
                own = way[1:]
                known = np.take_along_axis(explained, self.rays[:, own], 1)
                told = ~(known.any(0) if every else known.all(0))
                if len(own) and (not out or (stands and self.likely[own].mean() >= mean and told.mean() >= new)):
                    out.append(way)
                    taken[way] = True
                    for view, rays in enumerate(self.rays[:, own]):
                        explained[view, rays[:, None] + _ABOUT] = True
                else:
                    way = way[-1:]
                for close in near.query_ball_point(self.cells[way], NEAR + self.radii[way]):
                    free[close] = False
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
