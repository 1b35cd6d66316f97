"""Points to cells and back."""

from __future__ import annotations

import numpy as np
import pytest

from lesionforge.generators.carm.grid import Grid


def test_the_isocentre_is_the_middle_of_the_grid() -> None:
    assert np.array_equal(Grid((3, 5, 7), 2.0).centres([[1, 2, 3]]), [[0, 0, 0]])
    assert np.array_equal(Grid((4, 4, 4), 2.0).centres([[0, 1, 3]]), [[-3, -1, 3]])


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
