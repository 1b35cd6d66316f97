"""Cells by the share of their volume: closed forms, and trees in one piece."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied, shares
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from tests.generators.carm.shapes import sphere, tube, tube_volume

TOUCH = np.ones((3, 3, 3))


def test_shares_are_exact() -> None:
    """Oracle: overlap matrices along each axis."""
    rng = np.random.default_rng(0)
    grid, voxel = Grid((6, 7, 8), 0.9), (0.33, 0.5, 1.3)
    points = rng.uniform(-2, 2, (50, 3))
    found, _, outside = shares(points, voxel, grid)
    expected = np.zeros(grid.shape)
    for point in points:
        along = []
        for axis, edge in enumerate(voxel):
            faces = (np.arange(grid.shape[axis] + 1) - grid.shape[axis] / 2) * grid.spacing_mm
            low, high = point[axis] - edge / 2, point[axis] + edge / 2
            along.append(np.maximum(0, np.minimum(faces[1:], high) - np.maximum(faces[:-1], low)) / grid.spacing_mm)
        expected += np.einsum("i,j,k->ijk", *along)
    np.testing.assert_allclose(found, np.minimum(expected, 1), atol=1e-5)
    assert outside == 0


def test_voxels_that_reach_out_are_counted_not_wrapped() -> None:
    found, _, outside = shares(np.array([[0.5, 0.5, 0.5], [1.9, 0, 0], [0, -2.1, 0], [0, 0, 99.0]]), (0.4,) * 3, GRID4)
    assert outside == 3
    assert found[2, 2, 2] == pytest.approx(0.4**3, rel=1e-6)


GRID4 = Grid((4, 4, 4), 1.0)


@pytest.mark.parametrize("spacing", [0.8, 1.1])
@pytest.mark.parametrize("radius", [1.0, 1.5, 2.5])
def test_the_volume_of_tubes_is_right(spacing: float, radius: float) -> None:
    """Within 5 % in the mean of directions; a cell that counts with one voxel in it makes it half as large again."""
    ratios = []
    for n in range(6):
        points = tube(np.random.default_rng(n), radius, 12, 0.33)
        volume = occupied(shares(points, (0.33,) * 3, Grid((48,) * 3, spacing))[0])
        ratios.append(volume.sum() * spacing**3 / tube_volume(radius, 12))
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)
    assert np.abs(np.array(ratios) - 1).max() < 0.12


def test_the_volume_of_a_sphere_is_right() -> None:
    for n in range(4):
        points = sphere(np.random.default_rng(n), 4, 0.4)
        volume = occupied(shares(points, (0.4,) * 3, Grid((24,) * 3, 0.9))[0])
        assert volume.sum() * 0.9**3 == pytest.approx(4 / 3 * math.pi * 4**3, rel=0.05)


@pytest.mark.parametrize("spacing", [0.8, 1.1])
def test_thin_vessels_stay_in_one_piece_one_cell_wide(spacing: float) -> None:
    for n in range(4):
        points = tube(np.random.default_rng(n), 0.35, 12, 0.25)
        held, *_ = shares(points, (0.25,) * 3, Grid((48,) * 3, spacing))
        assert ndimage.label(held >= 0.5, TOUCH)[1] != 1  # what half full alone makes of it
        volume = occupied(held)
        assert ndimage.label(volume, TOUCH)[1] == 1
        steps = np.ptp(np.argwhere(volume), axis=0).max() + 1
        assert volume.sum() <= 1.3 * steps
        assert steps * spacing > 0.5 * 24 / math.sqrt(3)


def test_a_tree_stays_in_one_piece_of_its_own_volume() -> None:
    for side in ("left", "right"):
        tree = phantom_tree(b"p" * 32, side, "s")
        centre = (tree.points.min(0).astype(float) + tree.points.max(0)) / 2
        held, cells, outside = shares(tree.points, tree.voxel_mm, Grid((128,) * 3, 1.0), centre)
        assert (cells == np.flatnonzero(held)).all()
        volume, true = occupied(held, cells), len(tree.points) * math.prod(tree.voxel_mm)
        assert outside == 0
        assert (volume == occupied(held)).all()
        assert held.sum() == pytest.approx(true, rel=1e-4)
        assert ndimage.label(volume, TOUCH)[1] == 1
        assert volume.sum() == pytest.approx(true, rel=0.08)  # half of its twigs are thinner than a cell


def test_real_trees_keep_volume_and_piece(real_trees) -> None:
    voxel = (0.330078125, 0.330078125, 0.5)
    for points in real_trees.values():
        for spacing in (0.8, 1.1):
            volume = occupied(shares(points, voxel, Grid((148,) * 3, spacing))[0])
            assert volume.sum() * spacing**3 == pytest.approx(len(points) * math.prod(voxel), rel=0.05)
            assert ndimage.label(volume, TOUCH)[1] == 1


def test_refuses_what_cannot_be() -> None:
    for points, words in (([[np.nan, 0, 0]], "finite"), ([0, 0, 0], r"\(n, 3\)")):
        with pytest.raises(ValueError, match=words):
            shares(np.array(points, float), (1, 1, 1), GRID4)
    with pytest.raises(ValueError, match="positive"):
        shares(np.zeros((1, 3)), (1, 0, 1), GRID4)
