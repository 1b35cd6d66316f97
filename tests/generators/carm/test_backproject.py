"""Hull and adjoint: recall exactly 1, equality with brute force, inner products."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.carm.backproject import adjoint, hull
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project, project_views, silhouette
from lesionforge.generators.carm.view import View
from tests.generators.carm.conftest import marked


def shadows(volume: NDArray[np.uint8], grid: Grid, views: list[View]) -> list[NDArray[np.uint8]]:
    images = project_views(volume, grid, views)
    return [silhouette(i, volume, grid, v) for i, v in zip(images, views, strict=True)]


def dense_hull(masks: list[NDArray[np.uint8]], views: list[View], grid: Grid) -> NDArray[np.bool_]:
    centres = grid.centres(np.argwhere(np.ones(grid.shape)))
    keep = np.ones(len(centres), bool)
    for mask, view in zip(masks, views, strict=True):
        row, col = np.floor(view.project(centres) + 0.5).astype(int).T
        seen = view.sees(centres)
        keep &= seen & (mask[row.clip(0, view.rows - 1), col.clip(0, view.cols - 1)] != 0)
    return keep.reshape(grid.shape)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("spacing", [0.6, 0.95, 1.1])
def test_recall_is_exactly_one_on_real_trees(
    side: str, spacing: float, real_trees: dict[str, NDArray[np.float64]], pair: list[View]
) -> None:
    grid = Grid((192, 192, 192), spacing)
    volume = marked(grid, real_trees[side])
    seen = np.all([view.sees(grid.centres(np.argwhere(volume))) for view in pair], axis=0)
    carved = hull(shadows(volume, grid, pair), pair, grid)
    assert (carved[volume != 0] == seen).all()
    if side == "left":  # the right tree is wider than this field of view
        assert seen.all()


@pytest.mark.parametrize("rows", [512, 100, 33])
def test_recall_is_exactly_one_on_a_random_tree(rows: int, random_tree: NDArray[np.float64]) -> None:
    """Also where cells are much smaller than pixels and no ray meets most of them."""
    grid = Grid((220, 220, 220), 0.4)
    views = [View(1050, 750, *a, rows, rows, (160 / rows,) * 2) for a in [(0, 0), (-40, 30), (60, -20)]]
    volume = marked(grid, random_tree)
    assert hull(shadows(volume, grid, views), views, grid)[volume != 0].all()


def test_hull_equals_the_dense_one(random_tree: NDArray[np.float64], pair: list[View]) -> None:
    for grid in (Grid((64, 64, 64), 1.3), Grid((61, 50, 67), 1.3)):  # also sizes that leave part blocks
        volume = marked(grid, random_tree)
        masks = shadows(volume, grid, pair)
        expected = dense_hull(masks, pair, grid)
        for threads in (1, 2, 3):
            assert np.array_equal(hull(masks, pair, grid, threads), expected)
    noise = [(np.random.default_rng(n).random((512, 512)) < 0.01).astype(np.uint8) for n in range(2)]
    assert np.array_equal(hull(noise, pair, grid), dense_hull(noise, pair, grid))
    assert hull(noise, pair, grid).any()


def test_another_spacing_loses_the_tree(real_trees: dict[str, NDArray[np.float64]], pair: list[View]) -> None:
    """What the reference system (XRA-Diff) did: projected with one spacing, back-projected with another."""
    grid = Grid((128, 128, 128), 1.1)
    volume = marked(grid, real_trees["left"])
    masks = shadows(volume, grid, pair)
    assert hull(masks, pair, grid)[volume != 0].mean() == 1
    assert hull(masks, pair, Grid(grid.shape, 0.8))[volume != 0].mean() < 0.6


def test_a_third_view_only_carves(random_tree: NDArray[np.float64], pair: list[View]) -> None:
    grid = Grid((96, 96, 96), 0.95)
    volume = marked(grid, random_tree)
    views = [*pair, View(1000, 750, 80, 10)]
    masks = shadows(volume, grid, views)
    two, three = hull(masks[:2], pair, grid), hull(masks, views, grid)
    assert (three <= two).all()
    assert volume.sum() <= three.sum() < two.sum()


@pytest.mark.parametrize("angles", [(0, 0), (33, -21), (-90, 45)])
def test_adjoint_by_inner_products(angles: tuple[float, float]) -> None:
    rng = np.random.default_rng(5)
    grid, view = Grid((24, 20, 28), 1.2), View(1000, 750, *angles, 90, 80, (0.5, 0.6))
    cells = np.argwhere(rng.random(grid.shape) < 0.2)
    x = rng.random(len(cells)).astype(np.float32)
    y = rng.random((90, 80)).astype(np.float32)
    forward = float((project(cells, grid, view, x).astype(np.float64) * y).sum())
    listed = adjoint(y, grid, view, cells)
    assert float((listed.astype(np.float64) * x).sum()) == pytest.approx(forward, rel=1e-5)
    assert np.array_equal(adjoint(y, grid, view)[tuple(cells.T)], listed)
    for threads in (1, 2, 3):
        assert adjoint(y, grid, view, threads=threads).tobytes() == adjoint(y, grid, view).tobytes()


def test_adjoint_of_one_pixel_is_its_ray() -> None:
    """Back-projecting a single pixel gives every cell the length of that ray in it."""
    grid, view = Grid((12, 12, 12), 1.5), View(1000, 750, 25, 15, 65, 65)
    image = np.zeros((65, 65), np.float32)
    image[40, 20] = 1
    lengths = adjoint(image, grid, view)
    cells = np.argwhere(lengths)
    assert 12 <= len(cells) <= 36
    for cell in cells:
        assert project(cell[None], grid, view)[40, 20] == pytest.approx(lengths[tuple(cell)], rel=1e-6)


def test_refuses_what_does_not_fit(pair: list[View]) -> None:
    grid, mask = Grid((8, 8, 8), 1.0), np.ones((512, 512), np.uint8)
    with pytest.raises(ValueError, match="at least one"):
        hull([mask], pair, grid)
    with pytest.raises(ValueError, match="this view's image"):
        hull([mask, mask[:100]], pair, grid)
    with pytest.raises(ValueError, match="this view's image"):
        adjoint(np.zeros((4, 4), np.float32), grid, pair[0])
    with pytest.raises(ValueError, match="reaches"):
        hull([mask, mask], pair, Grid((8, 8, 8), 500.0))
    small = View(1000, 750, 0, 0, 100, 100)
    with pytest.raises(ValueError, match="one size"):
        hull([mask, mask[:100, :100]], [pair[0], small], grid)
