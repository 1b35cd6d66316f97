"""Points to cells and back."""

from __future__ import annotations

import numpy as np
import pytest

from lesionforge.generators.carm.grid import Grid


def test_the_isocentre_is_the_middle_of_the_grid() -> None:
    assert np.array_equal(Grid((3, 5, 7), 2.0).centres([[1, 2, 3]]), [[0, 0, 0]])
    assert np.array_equal(Grid((4, 4, 4), 2.0).centres([[0, 1, 3]]), [[-3, -1, 3]])


def test_every_centre_falls_in_its_own_cell() -> None:
    grid = Grid((4, 5, 6), 0.7)
    cells = np.argwhere(np.ones(grid.shape))
    volume, outside = grid.occupy(grid.centres(cells))
    assert volume.all()
    assert outside == 0


def test_points_outside_are_counted_not_wrapped() -> None:
    volume, outside = Grid((4, 4, 4), 1.0).occupy([[0.5, 0.5, 0.5], [2.1, 0, 0], [0, -2.1, 0], [0, 0, 99]])
    assert outside == 3
    assert np.argwhere(volume).tolist() == [[2, 2, 2]]


def test_a_coarse_source_leaves_no_holes() -> None:
    points = [[x, 0.1, 0.1] for x in (-2.0, 0.0, 2.0)]  # voxels 2 mm long, cells 0.5 mm
    grid = Grid((16, 16, 16), 0.5)
    assert grid.occupy(points)[0].sum() == 3
    volume, _ = grid.occupy(points, voxel_mm=(2.0, 0.5, 0.5))
    assert volume[2:14].any(axis=(1, 2)).all()
    assert volume.sum() == 12


def test_cells_of_a_volume_and_of_a_list_agree() -> None:
    rng = np.random.default_rng(0)
    grid = Grid((5, 7, 9), 1.0)  # 315 cells: not a multiple of a word
    for density in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random(grid.shape) < density
        for volume in (mask, mask.astype(np.uint8), mask.astype(np.float32), np.asfortranarray(mask)):
            assert np.array_equal(grid.cells(volume), np.flatnonzero(mask))
        assert np.array_equal(grid.cells(np.argwhere(mask)), np.flatnonzero(mask))


def test_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Grid((0, 4, 4), 1.0)
    with pytest.raises(ValueError, match="positive"):
        Grid((4, 4, 4), 0.0)
    grid = Grid((4, 4, 4), 1.0)
    with pytest.raises(ValueError, match="outside the grid"):
        grid.cells(np.array([[0, 0, 4]]))
    with pytest.raises(ValueError, match="give a volume"):
        grid.cells(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="NaN"):
        grid.occupy([[np.nan, 0, 0]])
    with pytest.raises(ValueError, match=r"\(n, 3\)"):
        grid.occupy([0, 0, 0])
