import math
from itertools import product

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from lesionforge.generators.angio_ct.lumen import fine
from lesionforge.generators.types import CoronaryTree


def tree(occupied, voxel, origin=(-3.0, 8.0, 1.5)):
    points = (np.argwhere(occupied) * voxel + origin).astype(np.float32)
    return CoronaryTree("s", "h", "none", "left", points, voxel)


def test_the_half_level_of_the_interpolated_label():
    """Every cell of a box about it, asked one by one."""
    rng = np.random.default_rng(0)
    occupied = np.zeros((12, 10, 9), bool)
    occupied[2:-2, 2:-2, 2:-2] = rng.random((8, 6, 5)) < 0.6
    voxel = (0.5, 0.45, 0.6)
    lumen = fine(tree(occupied, voxel), 0.2)
    axes = [o + np.arange(n) * s for o, n, s in zip((-3.0, 8.0, 1.5), occupied.shape, voxel, strict=True)]
    ask = RegularGridInterpolator(axes, occupied.astype(float), bounds_error=False, fill_value=0)
    every = np.array(list(product(*map(range, lumen.grid.shape))))
    share = ask(lumen.grid.centres(every) + lumen.isocentre_mm)
    found = np.zeros(lumen.grid.shape, bool)
    found[tuple(lumen.cells.T)] = True
    clear = np.abs(share - 0.5) > 1e-4  # points are float32
    assert (found.ravel() == (share >= 0.5))[clear].all()
    assert 0.2 < found.mean() < 0.9


def test_a_thin_tube_keeps_its_area_and_place():
    """Two voxels across: the blocks are gone, the area is not."""
    x, y, z = np.meshgrid(*(np.arange(n) * 0.5 for n in (24, 24, 60)), indexing="ij")
    gap = np.sqrt((x - 6.1 - 0.02 * z) ** 2 + (y - 5.8) ** 2)
    lumen = fine(tree(gap <= 1.0, (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)), 0.2)
    points = lumen.centres + lumen.isocentre_mm
    inner = points[(points[:, 2] > 2) & (points[:, 2] < 27)]
    area = len(inner) * 0.2**3 / 25
    assert abs(area / math.pi - 1) < 0.06
    assert np.abs(inner[:, 0] - 6.1 - 0.02 * inner[:, 2]).mean() < 0.5
    assert np.sqrt((inner[:, 0] - 6.1 - 0.02 * inner[:, 2]) ** 2 + (inner[:, 1] - 5.8) ** 2).max() < 1.3
