"""Centrelines with radii of a tree that is known by its voxels alone, as a label of a CT gives it.

Cheapest ways through the lumen from the ostium, the farthest end first (TEASAR, Sato et al. 2000): one tree without
loops, whatever touches what. A label is wider than the lumen, by the CT's blur, and ends where vessels grow too fine
for it: radii are freed of the blur that its ends tell.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.spatial
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from lesionforge.generators.cine.twigs import Stem
from lesionforge.generators.cine.vessels import STEP_MM, Floats
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import BadCase, CoronaryTree, Side

Indices = NDArray[np.int64]

CELL_MM: Final = 0.7
END_RADIUS_MM: Final = 0.55  # of the vessels at which readers of a CT give up
_SMALLEST_MM, _LARGEST_MM = 0.3, 3.0
_SMOOTH_MM = 2.0  # sd of the mean along a line
_NEAR_MM = 1.5  # beyond its radius a line explains the cells around it
_STUB_MM = 8.0  # ends that stand out less are none
_CUT_OFF_MM = 3.0  # the same of the ostium: a branch may leave beside it
_TRUNK_MM = 40.0  # of vessel on either side of the fork that ends a left main
_CUT_STEPS = 10
_PULL = 0.004  # of the middle on a heart's centre, which a tree in one plane leaves open


@functools.lru_cache(16)
def _of_voxels(side: Side, packed: bytes, voxel_mm3: float) -> tuple[Stem, ...]:
    points = np.frombuffer(packed, np.float32).reshape(-1, 3).astype(np.float64)
    corner = points.min(axis=0)
    cells = np.floor((points - corner) / CELL_MM).astype(np.int64)
    grid = np.zeros(cells.max(axis=0) + 1, np.bool_)
    grid[tuple(cells.T)] = True
    cells = np.argwhere(grid)
    cells = cells[_largest(cells)]
    centres, depth = (cells + 0.5) * CELL_MM + corner, _depth(cells)
    graph = _graph(cells, depth)
    root = _ostium(graph, centres, depth)
    return _stems(_ways(graph, centres, depth, root, _STUB_MM), centres, points, voxel_mm3, side)


def stems_of_voxels(tree: CoronaryTree) -> list[Stem]:
    """The branches (a parent first) of a tree's voxels; remembered, for it takes a part of a second.

    Raises:
        BadCase: where there is no vessel of any length.
    """
    packed = np.ascontiguousarray(tree.points, np.float32).tobytes()
    stems = _of_voxels(tree.side, packed, math.prod(tree.voxel_mm))
    if not stems:
        raise BadCase(f"its {len(tree.points)} voxels hold no vessel of {_STUB_MM:g} mm")
    return list(stems)


def heart_about(stems: Sequence[Stem]) -> tuple[Heart, Floats]:
    """The ball that vessels lie on best, as a heart about the origin, and where its centre (3,) is, LPS mm."""
    points = np.concatenate([s.points[::4] for s in stems])
    middle = points.mean(axis=0)
    own = points - middle
    square = (own * own).sum(axis=1)
    # |p|^2 = 2 c p + k: the normal equations, the centre held to the middle a little
    a = np.array([[(own[:, i] * own[:, j]).sum() for j in range(3)] for i in range(3)])
    a += _PULL * a.trace() * np.eye(3)
    b = np.array([(own[:, i] * (square - square.mean())).sum() for i in range(3)])
    centre = 0.5 * np.array(_solve(a.tolist(), b.tolist()))
    away = points - (middle + centre)
    radius = float(np.sqrt((away * away).sum(axis=1)).mean())
    axes = (np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    edges = (radius, radius, radius)
    return Heart(axes, edges, edges, "right", 1.0, 1.0), middle + centre


def _solve(a: list[list[float]], b: list[float]) -> tuple[float, float, float]:
    """Three equations by Cramer's rule: the same bits wherever."""

    def det(x: list[list[float]]) -> float:
        return (
            x[0][0] * (x[1][1] * x[2][2] - x[1][2] * x[2][1])
            - x[0][1] * (x[1][0] * x[2][2] - x[1][2] * x[2][0])
            + x[0][2] * (x[1][0] * x[2][1] - x[1][1] * x[2][0])
        )

    whole = det(a)
    part = [det([[b[i] if j == k else a[i][j] for j in range(3)] for i in range(3)]) / whole for k in range(3)]
    return part[0], part[1], part[2]


def _largest(cells: Indices) -> Indices:
    pairs = scipy.spatial.cKDTree(cells).query_pairs(1.8, output_type="ndarray")
    ones = np.ones(len(pairs), np.int8)
    joined = scipy.sparse.coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (len(cells), len(cells)))
    _, number = scipy.sparse.csgraph.connected_components(joined, directed=False)
    return np.flatnonzero(number == np.argmax(np.bincount(number)))


def _depth(cells: Indices) -> Floats:
    """Distance (n,) in mm of each cell's centre to the lumen's wall."""
    steps = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if i or j or k])
    low = cells.min(axis=0) - 1
    size = cells.max(axis=0) - low + 2
    grid = np.zeros(size, np.bool_)
    grid[tuple((cells - low).T)] = True
    around = np.zeros_like(grid)
    for step in steps:
        around[tuple((cells - low + step).T)] = True
    far, _ = scipy.spatial.cKDTree(np.argwhere(around & ~grid)).query(cells - low)
    out: Floats = (far - 0.5) * CELL_MM
    return out


def _graph(cells: Indices, depth: Floats) -> scipy.sparse.csr_matrix:
    """Cost of the way from each cell to its neighbours: its length, the more the nearer the wall."""
    pairs = scipy.spatial.cKDTree(cells).query_pairs(1.8, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    a, b = pairs.T
    length = np.sqrt(((cells[a] - cells[b]) ** 2).sum(axis=1)) * CELL_MM
    cost = length * (1.0 / depth[a] + 1.0 / depth[b]) ** 2
    return scipy.sparse.csr_matrix((cost, (a, b)), (len(cells), len(cells)))


def _ostium(graph: scipy.sparse.csr_matrix, centres: Floats, depth: Floats) -> int:
    """The end at which the vessel is widest over its first centimetre."""
    start, last = 0, round(10.0 / CELL_MM)
    for _ in range(2):  # from the end that is farthest from any cell, every other end is the tip of a way
        ways = _ways(graph, centres, depth, start, _CUT_OFF_MM)
        if not ways:
            break
        start = int(ways[0][-1])
    ends = [(float(depth[way[-last:]].mean()), int(way[-1])) for way in ways]
    ends += [(float(depth[way[:last]].mean()), int(way[0])) for way in ways[:1]]
    return max(ends)[1] if ends else start


def _ways(graph: scipy.sparse.csr_matrix, centres: Floats, depth: Floats, root: int, stub_mm: float) -> list[Indices]:
    """Cells of each way, from the one of an earlier way at which it leaves to its end, ``stub_mm`` or longer."""
    cost, before = dijkstra(graph, directed=False, indices=root, return_predecessors=True)
    length = np.zeros(len(cost))
    for n in np.argsort(cost, kind="stable")[1:].tolist():
        gap = centres[n] - centres[before[n]]
        length[n] = length[before[n]] + math.sqrt(float((gap * gap).sum()))
    tree = scipy.spatial.cKDTree(centres)
    taken, free = np.zeros(len(cost), np.bool_), np.ones(len(cost), np.bool_)
    taken[root] = True
    out: list[Indices] = []
    for tip in np.argsort(-length, kind="stable").tolist():
        if not free[tip]:
            continue
        path = [tip]
        while not taken[path[-1]]:
            path.append(int(before[path[-1]]))
        way = np.array(path[::-1])
        if length[tip] - length[way[0]] < stub_mm + depth[way[0]]:
            way = way[-1:]
        else:
            out.append(way)
            taken[way] = True
        for near in tree.query_ball_point(centres[way], depth[way] + _NEAR_MM):
            free[near] = False
    return out


def _stems(ways: Sequence[Indices], centres: Floats, voxels: Floats, voxel_mm3: float, side: Side) -> tuple[Stem, ...]:
    """Smooth lines every ``STEP_MM``, each from its parent's, with radii and the names that can be told."""
    lines: list[Stem] = []
    owner: dict[int, int] = {}
    for number, way in enumerate(ways):
        line = scipy.ndimage.gaussian_filter1d(centres[way], _SMOOTH_MM / CELL_MM, axis=0, mode="nearest")
        parent = owner.get(int(way[0]), -1)
        origin = -1
        if parent >= 0:
            gap = ((lines[parent].points - line[0]) ** 2).sum(axis=1)
            origin = int(np.argmin(gap[1:-1])) + 1
            line[0] = lines[parent].points[origin]
        along = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(line, axis=0) ** 2).sum(axis=1)))])
        steps = np.linspace(0.0, along[-1], max(round(along[-1] / STEP_MM), 4) + 1)
        points = np.stack([np.interp(steps, along, line[:, k]) for k in range(3)], axis=1)
        lines.append(Stem(points, np.zeros(len(points)), parent, origin))
        for cell in way[1:].tolist():
            owner[cell] = number
        owner.setdefault(int(way[0]), number)
    return _named(_widths(lines, voxels, voxel_mm3), side) if lines else ()


def _widths(lines: Sequence[Stem], voxels: Floats, voxel_mm3: float) -> list[Stem]:
    """Lines with the radii of circles as large as their sections: the volume nearest to each point over its length."""
    every = np.concatenate([s.points for s in lines])
    _, nearest = scipy.spatial.cKDTree(every).query(voxels)
    volume = np.bincount(nearest, minlength=len(every)) * voxel_mm3
    starts = np.cumsum([0] + [len(s.points) for s in lines])
    wide = []
    for first, last in itertools.pairwise(starts.tolist()):
        own = volume[first:last]
        own[0], own[-1] = own[1], own[-2]  # theirs is what lies beyond
        area = scipy.ndimage.gaussian_filter1d(own, _SMOOTH_MM / STEP_MM, mode="nearest") / STEP_MM
        wide.append(np.sqrt(area / math.pi))
    blur = max(float(np.median([r[-_CUT_STEPS:].mean() for r in wide])) ** 2 - END_RADIUS_MM**2, 0.0)
    out: list[Stem] = []
    for line, measured in zip(lines, wide, strict=True):
        radii = np.sqrt(np.maximum(measured**2 - blur, _SMALLEST_MM**2))
        if line.parent >= 0:  # inside its parent's lumen a branch has no radius of its own
            parent = float(out[line.parent].radii[line.origin])
            out_of_it = min(math.ceil(2.0 * parent / STEP_MM), len(radii) - 1)
            radii[:out_of_it] = radii[out_of_it]
            radii = np.minimum(radii, 0.9 * parent)
        else:  # the lumen is cut off at its ostium
            radii[:_CUT_STEPS] = np.maximum(radii[:_CUT_STEPS], radii[: 2 * _CUT_STEPS].max())
        # no wider again further on: between the least so far and the most to come
        radii = 0.5 * (np.minimum.accumulate(radii) + np.maximum.accumulate(radii[::-1])[::-1])
        out.append(replace(line, radii=np.minimum(radii, _LARGEST_MM)))
    return out


def _named(stems: list[Stem], side: Side) -> tuple[Stem, ...]:
    """Each point's artery: of a left tree the main stem up to the first large fork, beyond it LAD before LCX."""
    weight = [STEP_MM * len(s.radii) for s in stems]
    for n in range(len(stems) - 1, 0, -1):
        weight[stems[n].parent] += weight[n]
    names = [["RCA" if side == "right" else "LAD"] * len(s.radii) for s in stems]
    forks = [n for n in range(1, len(stems)) if stems[n].parent == 0 and weight[n] > _TRUNK_MM]
    if side == "left" and forks:
        first = min(forks, key=lambda n: stems[n].origin)
        split = stems[first].origin
        other = {first}
        for n in range(first + 1, len(stems)):
            if stems[n].parent in other:
                other.add(n)
        apart = np.concatenate([stems[n].points for n in sorted(other)])
        rest = [s.points for n, s in enumerate(stems) if n not in other and n > 0 and s.parent]
        main = np.concatenate([stems[0].points[split:], *rest])
        # the LAD runs before the heart, the circumflex behind it: +y is posterior
        main_is_lad = float(main[:, 1].mean()) < float(apart[:, 1].mean())
        for n in range(len(stems)):
            is_lad = main_is_lad != (n in other)
            names[n] = ["LAD" if is_lad else "LCX"] * len(names[n])
        names[0][:split] = ["5"] * split
    return tuple(Stem(s.points, s.radii, s.parent, s.origin, tuple(n)) for s, n in zip(stems, names, strict=True))
