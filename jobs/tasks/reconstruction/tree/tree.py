"""A tree that was grown: its branches, how narrow they are, and the cells that it fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied, shares
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import Branch, CoronaryTree, Side, Stenosis

Floats = NDArray[np.float64]

VOXEL_MM = 0.4  # that its lumen is counted in; 0.25 of a cell where that is finer


@dataclass(frozen=True)
class Narrowing(Stenosis):
    """A narrowing that the silhouettes show beyond doubt.

    ``views``: numbers of those that show it; from the others another vessel hides it. ``uncertainty``: sd of
    ``percent_ds``, in its points. ``segment``: the branch's name.
    """

    uncertainty: float
    views: tuple[int, ...]


@dataclass(frozen=True)
class Unassessed:
    """A part of a branch, wide enough to be looked at, of which the silhouettes do not tell whether it is narrowed.

    ``start_mm``, ``length_mm``: along ``branch``. ``point``: LPS mm of its middle. ``percent_ds``: how narrow
    it looks at most, where that is enough to be listed were it sure; else None. ``why``: ``fork`` (within its parent's
    lumen), ``end``, ``overlap`` (in every view), ``unseen``, ``no healthy lumen beside it``, ``one view alone`` (though
    others are hidden by what no branch explains), ``views differ``.
    """

    branch: str
    point: tuple[float, float, float]
    start_mm: float
    length_mm: float
    why: str
    percent_ds: float | None


@dataclass(frozen=True)
class Tree:
    """One coronary tree.

    ``branches``: a parent before its children, points (n, 3) from the ostium outwards in LPS mm from the isocentre. A
    branch is called by its place in the tree (``branches.names``); which SYNTAX segments it holds is not told, nor does
    ``Stenosis.segment`` hold one, but the branch's name. ``healthy_mm``: of each branch the diameter (n,) that it would
    have without narrowings. Where silhouettes merge in every view a radius is read between its neighbours, and nothing
    narrow is seen; nor is a lumen below one pixel at its depth (0.2 mm at the isocentre). ``narrowings``: those that
    are beyond doubt, the worst first. ``unassessed``: where there may be more. ``lost``: of the cells that are likely,
    the share that no branch comes near: pieces without a way through the hull, ends too short. ``unexplained``: of each
    silhouette the share that lies outside of every branch's image.
    """

    side: Side
    branches: tuple[Branch, ...]
    healthy_mm: tuple[Floats, ...]
    narrowings: tuple[Narrowing, ...]
    unassessed: tuple[Unassessed, ...]
    lost: float
    unexplained: tuple[float, ...]

    def percent_ds(self, branch: int) -> Floats:
        """Percent diameter stenosis at each point of a branch (n,), 0 where it is wider than it should be."""
        narrow: Floats = 100 * (1 - 2 * self.branches[branch].radii / self.healthy_mm[branch])
        return np.maximum(narrow, 0)


def lumen(tree: Tree, voxel_mm: float = VOXEL_MM) -> CoronaryTree:
    """The tree's lumen in voxels, as the sources yield trees."""
    edges = (voxel_mm, voxel_mm, voxel_mm)
    points = voxelise(tree.branches, voxel_mm)
    return CoronaryTree("", "", "", tree.side, points, edges, tree.branches, tree.narrowings)


def tree_volume(tree: Tree, grid: Grid) -> NDArray[np.bool_]:
    """The cells of a grid that the tree fills, by the shards' rule (``carm.occupancy``), in one piece.

    Of cells that the rule's rounding has set apart the largest piece remains.
    """
    held = lumen(tree, min(VOXEL_MM, 0.25 * grid.spacing_mm))
    filled = occupied(shares(held.points.astype(np.float64), held.voxel_mm, grid)[0])
    piece, _ = ndimage.label(filled, np.ones((3, 3, 3), np.uint8))
    sizes = np.bincount(piece.reshape(-1))
    sizes[0] = 0
    out: NDArray[np.bool_] = piece == np.argmax(sizes) if sizes.any() else filled > 0
    return out
