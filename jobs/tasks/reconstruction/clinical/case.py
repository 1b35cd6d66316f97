"""A patient's masks as a pair that a learner takes: centred, on each other's lines, in a grid that holds the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import Side
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.clinical.calibrate import Alignment, Shadow, aligned
from lesionforge.jobs.tasks.reconstruction.clinical.inputs import Angle
from lesionforge.jobs.tasks.reconstruction.pairs import Pair

WIDE_MM = 200.0  # edge of the grid in which the tree is looked for
CELL_MM = 0.95 * 128 / 60  # of a grid of 60 cells an edge: the middle of what networks learn from
MARGIN = 2 / 60  # of the grid's edge, free at each face


@dataclass(frozen=True)
class ClinicalPair:
    """What is reconstructed, and how its pictures lay: ``moved_px`` (row, column) to the middle; ``alignments``."""

    pair: Pair
    moved_px: tuple[tuple[int, int], ...]
    alignments: tuple[Alignment, ...]

    @property
    def consistent(self) -> bool:
        """Whether all views may be of one tree."""
        return all(one.consistent for one in self.alignments)


def cell_mm(size: int) -> float:
    """Edge of a cell of ``size`` an edge, as networks learn from them."""
    return CELL_MM * 60 / size


def clinical_pair(angles: Sequence[Angle], side: Side, size: int = 60) -> ClinicalPair:
    """The pair of a patient's views.

    Nobody says where the isocentre lay in the heart, or whether the table moved: each mask's vessels are put in the
    middle of their picture, which stands for the isocentre. Where the tree is along the first view's rays is therefore
    a convention; how it is shaped is not, but for the scale along the lines (``calibrate``).

    Args:
        angles: two to four.
        side: of the tree.
        size: cells an edge of the grid.

    Raises:
        UsageError: where the pictures share no cell: they are not of one tree in these views.
    """
    views = tuple(one.view for one in angles)
    moves, middle = zip(*(_centred(one.shadow) for one in angles), strict=True)
    shadows, found = aligned(views, middle)
    wide = _pair(angles, shadows, Grid((size,) * 3, WIDE_MM / size), side)
    cells = np.argwhere(wide.hull)
    if not len(cells):
        raise UsageError("no point in space is dark in every view: are masks and geometry in one order, and upright?")
    left = 2 * (float(np.abs(wide.grid.centres(cells)).max()) + wide.grid.spacing_mm / 2)
    extent = min(left, max(_seen_mm(*one) for one in zip(views, shadows, strict=True)))
    spacing = max(cell_mm(size), extent / ((1 - 2 * MARGIN) * size))
    return ClinicalPair(_pair(angles, shadows, Grid((size,) * 3, spacing), side), moves, found)


def _seen_mm(view: View, shadow: Shadow) -> float:
    """Diameter about the isocentre of what a picture shows: a tree is no deeper, though near views leave more."""
    from_middle = (np.argwhere(shadow) - (np.array(shadow.shape) - 1) / 2) * view.pixel_mm / view.magnification
    return 2 * float(np.linalg.norm(from_middle, axis=1).max())


def _centred(shadow: Shadow) -> tuple[tuple[int, int], Shadow]:
    """The whole pixels (rows, columns) that bring the box about the vessels to the picture's middle, and it there."""
    lit = np.argwhere(shadow)
    move = np.rint((np.array(shadow.shape) - 1 - lit.min(0) - lit.max(0)) / 2).astype(int)
    out = np.zeros_like(shadow)
    out[tuple((lit + move).T)] = 1
    return (int(move[0]), int(move[1])), out


def _pair(angles: Sequence[Angle], shadows: tuple[Shadow, ...], grid: Grid, side: Side) -> Pair:
    return Pair(tuple(one.view for one in angles), shadows, grid, side, "patient", "patient")
