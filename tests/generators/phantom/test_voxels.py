"""Voxelisation against closed forms and a slow twin."""

from __future__ import annotations

import numpy as np
import pytest

from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import Branch


def vessel(points: list[list[float]], radii: list[float]) -> Branch:
    return Branch("v", np.array(points, dtype=float), np.array(radii, dtype=float), ("",) * len(points))


def slow(branch: Branch, voxel: float, low: float, high: float) -> set[tuple[int, int, int]]:
    """The definition, on every lattice point of a cube."""
    axis = np.arange(round(low / voxel), round(high / voxel) + 1)
    index = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    centre = index * voxel
    inside = np.zeros(len(centre), dtype=bool)
    for a, b, ra, rb in zip(branch.points[:-1], branch.points[1:], branch.radii[:-1], branch.radii[1:], strict=True):
        t = np.clip(((centre - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        gap = np.linalg.norm(centre - a - t[:, None] * (b - a), axis=1)
        inside |= gap <= ra + t * (rb - ra)
    return {(int(i), int(j), int(k)) for i, j, k in index[inside]}


def test_agrees_with_brute_force() -> None:
    branch = vessel([[0.1, 0.2, -0.3], [2.3, 1.1, 0.4], [4.0, 3.2, -1.7]], [1.5, 0.9, 1.1])
    points = voxelise([branch], 0.4)
    found = {(int(i), int(j), int(k)) for i, j, k in np.rint(points / 0.4)}
    assert points.dtype == np.float32
    assert len(found) == len(points)
    assert found == slow(branch, 0.4, -4.0, 8.0)


@pytest.mark.parametrize("way", [[10.0, 0.0, 0.0], [5.0, -6.0, 4.0]])
def test_volume_of_a_capsule(way: list[float]) -> None:
    length, radius, voxel = float(np.linalg.norm(way)), 1.5, 0.15
    points = voxelise([vessel([[0.0, 0.0, 0.0], way], [radius, radius])], voxel)
    closed = np.pi * radius**2 * length + 4 / 3 * np.pi * radius**3
    assert len(points) * voxel**3 == pytest.approx(closed, rel=0.03)


def test_union_of_branches_has_no_doubles() -> None:
    one = vessel([[0, 0, 0], [8, 0, 0]], [1.0, 1.0])
    two = vessel([[4, 0, 0], [4, 6, 0]], [1.0, 0.6])
    both = {tuple(p) for p in voxelise([one, two]).tolist()}
    assert len(both) == len(voxelise([one, two]))
    assert both == {tuple(p) for p in voxelise([one]).tolist()} | {tuple(p) for p in voxelise([two]).tolist()}


def test_hair_thin_vessels_stay_connected() -> None:
    points = voxelise([vessel([[0.2, 0.2, 0.2], [9.0, 7.0, 5.0]], [0.01, 0.01])], 0.4)
    index = np.rint(points / 0.4).astype(int)
    index = index[np.argsort(index[:, 0])]
    assert len(index) > 20
    gaps = np.abs(index[:, None] - index[None]).max(axis=2)
    seen = {0}
    while more := {int(j) for i in seen for j in np.flatnonzero(gaps[i] <= 1)} - seen:
        seen |= more
    assert len(seen) == len(index)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="no branches"):
        voxelise([])
    with pytest.raises(ValueError, match="voxel_mm is 0"):
        voxelise([vessel([[0, 0, 0], [1, 0, 0]], [1, 1])], 0.0)
