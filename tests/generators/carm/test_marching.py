"""Marching cubes of a few voxels, against scikit-image on the whole box."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from lesionforge.generators.carm.marching import marched


def corners(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> list[tuple[tuple[int, ...], ...]]:
    """Of each triangle, in their order, the least first."""
    found = []
    for triangle in (2 * vertices)[triangles].round().astype(int).tolist():
        a, b, c = map(tuple, triangle)
        found.append(min((a, b, c), (b, c, a), (c, a, b)))
    return sorted(found)


@pytest.mark.parametrize("share", [0.03, 0.4, 0.8])
def test_it_is_the_surface_of_the_whole_box(share: float) -> None:
    """Of noise, which has every kind of cube, with layers that are empty."""
    rng = np.random.default_rng(1)
    voxels = np.argwhere(rng.random((16, 9, 11)) < share)
    voxels = voxels[~np.isin(voxels[:, 0], (5, 6, 9))] - [3, 0, -2]
    low = voxels.min(0) - 1
    box = np.zeros(voxels.max(0) - low + 2, np.float32)
    box[tuple((voxels - low).T)] = 1
    expected, triangles, _, _ = marching_cubes(box, 0.5, allow_degenerate=False)
    found, ours = marched(voxels)
    assert corners(found, ours) == corners(expected + low, triangles)
    assert len(found) == len(expected) == len(np.unique(found, axis=0))


def test_one_voxel_is_an_octahedron() -> None:
    vertices, triangles = marched(np.array([[7, -2, 0]]))
    assert (len(vertices), len(triangles)) == (6, 8)
    assert np.allclose(np.abs(vertices - [7, -2, 0]).sum(1), 0.5)
