"""From likelihoods to one tree: cheapest paths from the ostium, branches, centrelines and radii by the silhouettes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied, shares
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import Branch, Side, UserError
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.tree.branches import Chain, chains, names
from lesionforge.jobs.tasks.reconstruction.tree.line import along, centred
from lesionforge.jobs.tasks.reconstruction.tree.paths import Cells, Ways
from lesionforge.jobs.tasks.reconstruction.tree.walls import radii_about

Floats = NDArray[np.float64]

PROXIMAL_MM = 8.0  # of an end, whose calibre tells the ostium
SMOOTH_CELLS = 9  # along a branch, over which the expected radius is a median
VOXEL = 0.25  # of a cell, or finer: what a tree's share of the cells is counted in


@dataclass(frozen=True)
class Tree:
    """One coronary tree: its branches, a parent before its children, points from the ostium outwards.

    A branch is called by its place (``branches.names``); which SYNTAX segments it holds is not told. ``lost``: of the
    cells that are likely, the share that no branch comes near: pieces that no way through the hull leads to, and twigs
    that were too short.
    """

    side: Side
    branches: tuple[Branch, ...]
    lost: float


def grow(volume: NDArray[np.float32], pair: Pair, threshold: float = 0.5, ostium_mm: ArrayLike | None = None) -> Tree:
    """One tree of a volume of likelihoods.

    Args:
        volume: (n, n, n) of the pair's grid, 0 to 1.
        pair: the silhouettes that the volume was made of.
        threshold: from which on a cell counts as the tree's.
        ostium_mm: where the tree begins, LPS mm from the isocentre; else at its widest end.

    Raises:
        UserError: where no cell is likely enough.
    """
    allowed = pair.hull | (volume >= threshold)
    if not (volume >= threshold).any():
        raise UserError(f"no cell is as likely as {threshold:g} to be the tree's: is the geometry that of the silhouettes?")
    cells = np.argwhere(allowed)
    points = pair.grid.centres(cells)
    mm = np.minimum.reduce([radii_about(v, s, points) for v, s in zip(pair.views, pair.shadows, strict=True)])
    ways = Ways.over(volume, allowed, (mm / pair.grid.spacing_mm).astype(np.float32))
    if ostium_mm is None:
        root = _widest_end(ways, threshold)
    else:
        far = ((points - np.asarray(ostium_mm, np.float64)) ** 2).sum(1)
        root = int(np.argmin(np.where(ways.likely >= threshold, far, np.inf)))
    paths = ways.paths(root, threshold)
    if not paths:
        raise UserError("the likely cells are a single spot: is the geometry that of the silhouettes?")
    made = chains(paths, cells, ways.radii)
    branches = _branches(made, points, mm, pair)
    return Tree(pair.side, branches, 0.0)


def _widest_end(ways: Ways, threshold: float) -> int:
    """The end of the tree's branches whose first ``PROXIMAL_MM`` are the widest."""
    strong = np.where(ways.likely >= threshold, ways.radii, 0)
    start = int(np.argmax(strong))
    paths = ways.paths(start, threshold)
    ends = [path[::-1] for path in paths] + ([paths[0]] if paths else [])
    if not ends:
        return start
    wide = [float(np.median(ways.radii[end[:6]])) for end in ends]
    return int(ends[int(np.argmax(wide))][0])


def _branches(made: list[Chain], points: Floats, mm: Floats, pair: Pair) -> tuple[Branch, ...]:
    called = names([chain.parent for chain in made])
    out: list[Branch] = []
    for chain, name in zip(made, called, strict=True):
        places, expected = points[chain.cells], median_filter(mm[chain.cells], SMOOTH_CELLS, mode="nearest")
        line, radii = centred(places, expected, pair.views, pair.shadows, pair.grid.spacing_mm)
        if chain.parent >= 0:
            line, radii = _joined(line, radii, out[chain.parent])
        out.append(Branch(name, line, radii, ("",) * len(line), chain.parent))
    return tuple(out)


def _joined(line: Floats, radii: Floats, parent: Branch) -> tuple[Floats, Floats]:
    """A branch that begins at its parent's nearest point."""
    far = ((parent.points - line[0]) ** 2).sum(1)
    start = parent.points[int(np.argmin(far))]
    s = along(line)
    reach = 2 * float(np.sqrt(far.min())) + 1e-6  # the shift fades out
    moved: Floats = line + np.clip(1 - s / reach, 0, 1)[:, None] * (start - line[0])
    return moved, radii


def tree_volume(tree: Tree, grid: Grid) -> NDArray[np.bool_]:
    """The cells that the tree fills, by the rule of the shards (``carm.occupancy``)."""
    edge = min(VOXEL * grid.spacing_mm, 0.4)
    voxels = voxelise(tree.branches, edge)
    return occupied(shares(voxels.astype(np.float64), (edge,) * 3, grid)[0]) > 0
