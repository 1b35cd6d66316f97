"""Line integrals of a sparse volume: exact chord lengths through occupied cells, nothing else visited.

A coronary tree fills about 0.5 % of its grid, so the work is done per occupied cell (its few pixels) and not per
ray or per cell of the grid. See ``kernels`` for the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm import kernels
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View
from lesionforge.generators.kernels import run_parallel, thread_count


def project(
    occupied: NDArray[Any],
    grid: Grid,
    view: View,
    values: NDArray[np.floating[Any]] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Line integrals (rows, cols) float32 of one view; see ``project_views``."""
    return project_views(occupied, grid, [view], values, threads)[0]


def project_views(
    occupied: NDArray[Any],
    grid: Grid,
    views: Sequence[View],
    values: NDArray[np.floating[Any]] | None = None,
    threads: int | None = None,
) -> list[NDArray[np.float32]]:
    """Line integrals of several views of one case.

    Pixel = sum over occupied cells of value * length in mm of the ray, source to pixel centre, inside the cell.
    The result has the same bits for any number of threads: a pixel belongs to one thread, which adds the cells in
    the order of their flat index (or of ``occupied``, where that is a list).

    Args:
        occupied: volume of ``grid.shape``, nonzero is occupied, or cell indices (n, 3).
        grid: where the cells are; the same one must be used to back-project.
        views: one image each, sizes may differ.
        values: per mm, (n,) for the cells in that order; without it 1, so the image is a length in mm.
        threads: None for every core of this process.

    Returns:
        One float32 (rows, cols) image per view: mm, or the unit of ``values`` times mm.

    Raises:
        ValueError: shapes that do not fit, or a grid that reaches the source.
    """
    cells = grid.cells(occupied)
    weights = np.ones(cells.size, np.float32) if values is None else np.ascontiguousarray(values, np.float32)
    if weights.shape != cells.shape:
        raise ValueError(f"values have shape {weights.shape}: give ({cells.size},), one per occupied cell")
    for view in views:
        check_clear(grid, view)
    hands = thread_count(threads)
    parts = hands // math.gcd(hands, max(len(views), 1))
    buffers = [np.zeros((view.rows, view.cols + kernels.LANES), np.float32) for view in views]
    images = [np.empty((view.rows, view.cols), np.float32) for view in views]

    def stripe(which: int, part: int) -> None:
        g = views[which].constants()
        buffer = buffers[which]
        kernels.splat(cells, weights, grid.shape, grid.spacing_mm, g, buffer, part, parts)
        kernels.lengthen(buffer, g, images[which], part, parts)

    run_parallel([partial(stripe, which, part) for which in range(len(views)) for part in range(parts)], hands)
    return images


def silhouette(image: NDArray[np.float32], occupied: NDArray[Any], grid: Grid, view: View) -> NDArray[np.uint8]:
    """Binary shadow (rows, cols) of the occupied cells: 1 where a vessel is.

    Lit are the pixels with a chord in ``image`` (from ``project`` of the same cells) and those in which the centre of
    an occupied cell falls. The second rule makes it the exact partner of ``backproject.hull``, which reads the
    pixel of the cell's centre by the same arithmetic: an occupied cell whose centre the detector sees is in the
    hull, always, however small a cell is against a pixel.

    Raises:
        ValueError: the image is not of the view's size.
    """
    if image.shape != (view.rows, view.cols):
        raise ValueError(f"image is {image.shape}, the view {view.rows} x {view.cols}: pass this view's image")
    check_clear(grid, view)
    lit = (image > 0).view(np.uint8)
    kernels.mark(grid.cells(occupied), grid.shape, grid.spacing_mm, view.constants(), lit)
    return lit


def check_clear(grid: Grid, view: View) -> None:
    """Refuse a grid that reaches the X-ray source, where magnification has no bound.

    Raises:
        ValueError: the grid's nearest corner is at or behind the source.
    """
    reach = 0.5 * float(sum(abs(d) * e for d, e in zip(view.direction, grid.extent_mm, strict=True)))
    if reach >= view.sod_mm:
        raise ValueError(
            f"a grid of {grid.shape} x {grid.spacing_mm} mm reaches {reach:.0f} mm towards the source, which "
            f"stands at sod_mm {view.sod_mm}: shrink the grid or the spacing"
        )
