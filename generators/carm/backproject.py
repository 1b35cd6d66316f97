"""From images back to the grid: the visual hull of silhouettes, and the exact adjoint of the projector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm import kernels
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import check_clear
from lesionforge.generators.carm.view import View
from lesionforge.generators.kernels import run_parallel, thread_count

_BLOCK = 8  # cells per edge tested at once, an even number; 4 costs more tests, 16 more cells
_SHARE = 8  # pieces per thread, as filled and empty regions differ in cost


def hull(
    silhouettes: Sequence[NDArray[Any]],
    views: Sequence[View],
    grid: Grid,
    threads: int | None = None,
    reach: float = 0.0,
) -> NDArray[np.uint8]:
    """Intersection of the back-projected silhouettes: 1 where a cell falls on lit pixels in every view.

    This is the element-wise minimum over views of the paper (XRA-Diff, eq. 3 and 11) for binary images, with the
    nearest pixel. A cell whose centre misses a detector is carved away, as nothing can be said for it. With
    ``projector.silhouette`` of the same grid every occupied cell seen by all views is kept: recall exactly 1. Of a
    silhouette that owes nothing to the grid (``surface.chords``) take ``reach`` 1: a vessel thinner than a cell need
    not lie at its centre.

    Args:
        silhouettes: one (rows, cols) array per view, nonzero is lit; all of one size.
        views: their views.
        grid: the grid the case was projected with.
        threads: None for every core of this process.
        reach: which part of a cell's footprint, about its centre, must hold a lit pixel: 0 the centre's own alone, 1
            all of it.

    Returns:
        uint8 of ``grid.shape``.

    Raises:
        ValueError: no view, numbers or sizes that do not fit, or a grid that reaches the source.
    """
    if not views or len(silhouettes) != len(views):
        raise ValueError(f"{len(silhouettes)} silhouettes for {len(views)} views: give one each, at least one")
    for image, view in zip(silhouettes, views, strict=True):
        check_clear(grid, view)
        _fits(image, view)
    if len({image.shape for image in silhouettes}) > 1:
        raise ValueError(f"silhouettes of sizes {[i.shape for i in silhouettes]}: resample to one size first")
    lit = np.stack([np.asarray(image != 0, np.uint8) for image in silhouettes])
    tables = np.zeros((len(views), lit.shape[1] + 1, lit.shape[2] + 1), np.int32)
    out = np.zeros(grid.shape, np.uint8)
    hands = thread_count(threads)
    run_parallel([partial(kernels.integral, lit[n], tables[n]) for n in range(len(views))], hands)
    gs = tuple(view.constants() for view in views)
    parts = max(1, min(-(-grid.shape[0] // _BLOCK), hands * _SHARE))
    run_parallel(
        [
            partial(kernels.carve, lit, tables, gs, grid.spacing_mm, reach, _BLOCK, part, parts, out)
            for part in range(parts)
        ],
        hands,
    )
    return out


def adjoint(
    image: NDArray[np.floating[Any]],
    grid: Grid,
    view: View,
    cells: NDArray[np.integer[Any]] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """The exact adjoint of ``project``: each cell gathers chord length (mm) times pixel over its pixels.

    <project(x), y> = <x, adjoint(y)> up to single-precision rounding, as both use the same chords.

    Args:
        image: (rows, cols).
        grid: where the cells are.
        view: the view of the image.
        cells: (n, 3) cell indices to work out; without it, every cell of the grid.
        threads: None for every core of this process.

    Returns:
        float32, (n,) for ``cells``, else of ``grid.shape``.

    Raises:
        ValueError: sizes that do not fit, or a grid that reaches the source.
    """
    check_clear(grid, view)
    _fits(image, view)
    flat = np.empty(0, np.int64) if cells is None else grid.cells(cells)
    count = int(np.prod(grid.shape)) if cells is None else flat.size
    out = np.zeros(count, np.float32)
    if count:
        g = view.constants()
        padded = np.zeros((view.rows, view.cols + kernels.LANES), np.float32)
        kernels.lengthen(np.ascontiguousarray(image, np.float32), g, padded, 0, 1)
        table = np.zeros((view.rows + 1, view.cols + 1), np.int32)
        kernels.integral(padded[:, : view.cols], table)
        hands = thread_count(threads)
        bounds = np.linspace(0, count, hands * _SHARE + 1).astype(int).tolist()
        run_parallel(
            [
                partial(kernels.gather, flat, lo, hi, grid.shape, grid.spacing_mm, g, padded, table, out)
                for lo, hi in pairwise(bounds)
            ],
            hands,
        )
    return out if cells is not None else out.reshape(grid.shape)


def _fits(image: NDArray[Any], view: View) -> None:
    if image.shape != (view.rows, view.cols):
        raise ValueError(f"image is {image.shape}, the view {view.rows} x {view.cols}: pass this view's image")
