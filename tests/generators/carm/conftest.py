"""Trees and views shared by the C-arm tests."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import Side


@pytest.fixture(scope="session")
def real_trees(real_trees: dict[Side, NDArray[np.float64]]) -> dict[Side, NDArray[np.float64]]:
    """Each centred on the isocentre."""
    return {side: points - (points.min(0) + points.max(0)) / 2 for side, points in real_trees.items()}


@pytest.fixture(scope="session")
def random_tree() -> NDArray[np.float64]:
    """A branching random walk within 40 mm of the isocentre, points 0.2 mm apart."""
    rng = np.random.default_rng(7)
    points = [np.zeros((1, 3))]
    for _ in range(12):
        every = np.concatenate(points)
        start, heading = every[rng.integers(len(every))], rng.normal(size=3)
        steps = heading / np.linalg.norm(heading) + 0.05 * rng.normal(size=(150, 3)).cumsum(0)
        walk = start + 0.2 * np.cumsum(steps / np.linalg.norm(steps, axis=1, keepdims=True), 0)
        points.append(walk[np.linalg.norm(walk, axis=1) < 40])
    return np.concatenate(points)


@pytest.fixture(scope="session")
def pair() -> list[View]:
    """Two views as they are drawn for a left tree."""
    return [View(1100, 760, 5, 0), View(1060, 790, -35, 25)]


@pytest.fixture(scope="session")
def grid() -> Grid:
    return Grid((128, 128, 128), 0.95)


def marked(grid: Grid, points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A volume with 1 in every cell in which a point falls."""
    volume = np.zeros(grid.shape, np.uint8)
    at = np.floor(points / grid.spacing_mm + np.array(grid.shape) / 2).astype(int)
    volume[tuple(at[((at >= 0) & (at < grid.shape)).all(axis=1)].T)] = 1
    return volume
