"""A tree whose every number is known: a bent trunk that tapers, narrowed once, with a side branch."""

from dataclasses import dataclass

import numpy as np
import pytest

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied, shares
from lesionforge.generators.carm.surface import chords, surface
from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import Branch, CoronaryTree
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.tree.grow import grow
from lesionforge.jobs.tasks.reconstruction.tree.tree import Tree

EDGE = 40
VOXEL_MM = 0.3
PERCENT_DS = 60.0
VIEWS = tuple(View(1060.0, 770.0, a, b, 300, 300, (0.3, 0.3)) for a, b in ((-30.0, 0.0), (40.0, 20.0)))


@dataclass(frozen=True)
class Known:
    """What is true, what was seen of it, and what was grown."""

    branches: tuple[Branch, ...]
    narrow_mm: np.ndarray
    pair: Pair
    volume: np.ndarray
    tree: Tree


def trunk(percent_ds):
    """A half turn of radius 20 mm that climbs, 1.8 mm wide at its top and 1.2 at its end; narrowed in the middle."""
    t = np.linspace(0, np.pi, 161)
    points = np.stack([20 * np.sin(t) - 8, 12 * np.cos(t), 24 - 15 * t], axis=1)
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    radii = 1.8 - 0.6 * s / s[-1]
    shape = 0.5 + 0.5 * np.cos(2 * np.pi * np.clip((s - s[80]) / 10, -0.5, 0.5))
    return points, radii * (1 - percent_ds / 100 * shape)


def made(percent_ds):
    """The tree and its pair."""
    points, radii = trunk(percent_ds)
    way = np.linspace(0, 1, 61)[:, None]
    side = points[45] + way * np.array([-20.0, -9.0, -6.0]) + way**2 * np.array([0.0, 0.0, -10.0])
    branches = (
        Branch("main", points, radii, ("",) * len(points)),
        Branch("1", side, np.linspace(1.0, 0.7, 61), ("",) * 61, 0),
    )
    voxels = voxelise(branches, VOXEL_MM)
    grid = Grid((EDGE,) * 3, 1.7)
    tree = CoronaryTree("", "", "", "right", voxels, (VOXEL_MM,) * 3)
    skin = surface(tree)
    shadows = tuple((chords(skin, view) > 0).astype(np.uint8) for view in VIEWS)
    truth = shares(voxels.astype(np.float64), (VOXEL_MM,) * 3, grid)[0]
    return branches, Pair(VIEWS, shadows, grid, "right", "s", "s", truth.astype(np.float16))


def likely(pair):
    """What a network that errs nowhere would say."""
    return 0.9 * (occupied(pair.truth.astype(np.float32)) > 0).astype(np.float32)


@pytest.fixture(scope="session")
def known():
    """With a narrowing of ``PERCENT_DS``."""
    branches, pair = made(PERCENT_DS)
    volume = likely(pair)
    return Known(branches, branches[0].points[80], pair, volume, grow(volume, pair))


@pytest.fixture(scope="session")
def healthy():
    """Without."""
    branches, pair = made(0.0)
    volume = likely(pair)
    return Known(branches, branches[0].points[80], pair, volume, grow(volume, pair))
