"""Volume within 5 %, shadow within 3 %, measured by another hand: vessels as balls, of which all is a closed form.

A ball's rays and its points are told by Pythagoras alone: neither a grid, a mesh nor a projector of ours takes part.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.engine.sources.trees.vtk import PolyLines
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied, shares
from lesionforge.generators.carm.surface import chords, surface
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import CoronaryTree

Array = NDArray[np.float64]
VOXEL = (0.33, 0.33, 0.5)  # of coronary CT
VIEWS = (View(1100, 760, 5, 0, pixel_mm=(0.2, 0.2)), View(1060, 790, -35, 25, pixel_mm=(0.2, 0.2)))


def marked(
    centres: Array, radii: Array, steps: tuple[float, float, float], shift: Array | tuple[float, ...] = (0, 0, 0)
) -> Array:
    """Points (n, 3) of a lattice that lie in one of the balls."""
    step, reach = np.array(steps), radii[:, None]
    low = np.ceil((centres - shift - reach) / step).astype(int)
    high = np.floor((centres - shift + reach) / step).astype(int) + 1
    first = low.min(axis=0)
    inside = np.zeros(high.max(axis=0) - first, bool)
    for centre, radius, start, stop in zip(centres, radii, low, high, strict=True):
        x, y, z = ((np.arange(start[k], stop[k]) * step[k] + shift[k] - centre[k]) ** 2 for k in range(3))
        box = tuple(slice(*ends) for ends in zip(start - first, stop - first, strict=True))
        inside[box] |= x[:, None, None] + y[:, None] + z <= radius**2
    return (np.argwhere(inside) + first) * step + shift


def volume(centres: Array, radii: Array) -> float:
    return len(marked(centres, radii, (0.2,) * 3)) * 0.2**3


def shadow(centres: Array, radii: Array, view: View) -> NDArray[np.bool_]:
    """Pixels whose ray passes a ball's centre nearer than its radius."""
    out = np.zeros((view.rows, view.cols), bool)
    u, v, d = view.axes
    for centre, (row, col), radius in zip(centres, view.project(centres), radii, strict=True):
        reach = 1.2 * radius * view.magnification / view.pixel_mm[0] + 2
        rows = np.arange(max(math.floor(row - reach), 0), min(math.ceil(row + reach), view.rows - 1) + 1)
        cols = np.arange(max(math.floor(col - reach), 0), min(math.ceil(col + reach), view.cols - 1) + 1)
        right = (cols - (view.cols - 1) / 2)[None, :, None] * view.pixel_mm[1] * u
        down = (rows - (view.rows - 1) / 2)[:, None, None] * view.pixel_mm[0] * v
        ray = view.sid_mm * d + right + down
        ray /= np.linalg.norm(ray, axis=2, keepdims=True)
        to = centre - view.source_mm
        near = (to**2).sum() - (ray @ to) ** 2 <= radius**2
        out[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] |= near
    return out


def vessel(start: float, end: float, seed: int = 0) -> tuple[Array, Array]:
    """A bent one of 44 mm, whose radius goes from one number to another."""
    rng = np.random.default_rng(seed)
    s, turn = np.linspace(-1, 1, 150), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    line = np.stack([20 * s, 6 * np.cos(2 * s), 5 * np.sin(3 * s)], 1) @ turn
    return line - line.mean(0), np.linspace(start, end, len(s))


def lad(data_dir: Path) -> tuple[Array, Array]:
    """A real left anterior descending artery and its diagonal, of another hospital: centreline and radii."""
    data = (data_dir / "coronary_tree_3d" / "721A_Centreline.vtk").read_bytes()
    read, radii = PolyLines.read(data), np.array(data.split(b"LOOKUP_TABLE default")[1].split()[:357], float)
    balls = []
    for line in read.lines:
        at = np.column_stack([read.points[line], radii[line]]).astype(float)
        for one, two in pairwise(at):
            count = max(2, math.ceil(float(np.linalg.norm((two - one)[:3])) / 0.4))
            balls.append(one + np.linspace(0, 1, count)[:, None] * (two - one))
    all_of = np.concatenate(balls)
    return all_of[:, :3] - (all_of[:, :3].min(0) + all_of[:, :3].max(0)) / 2, all_of[:, 3]


def errors(centres: Array, radii: Array, spacing: float) -> tuple[float, float, float]:
    """Of the grid's volume, and of both shadows' areas, over their own."""
    points = marked(centres, radii, VOXEL, np.random.default_rng(5).uniform(0, 0.3, 3))
    tree = CoronaryTree("s", "id", "", "left", points.astype(np.float32), VOXEL)
    filled = occupied(shares(tree.points, VOXEL, Grid((128,) * 3, spacing))[0]).sum() * spacing**3
    skin = surface(tree)
    areas = [(chords(skin, view) > 0).sum() / shadow(centres, radii, view).sum() for view in VIEWS]
    return filled / volume(centres, radii) - 1, areas[0] - 1, areas[1] - 1


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.75, 0.75), (1.5, 1.5), (1.8, 0.4), (2.5, 0.5)])
def test_vessels_of_any_calibre(start: float, end: float) -> None:
    found = np.array([errors(*vessel(start, end, seed), 0.8) for seed in (0, 1)])
    assert abs(found[:, 0].mean()) < 0.05
    assert abs(found[:, 1:].mean()) < 0.03
    assert np.abs(found[:, 1:]).max() < (0.03 if min(start, end) >= 1 else 0.05)  # a few voxels across


def test_a_ball() -> None:
    found = errors(np.zeros((1, 3)), np.array([6.0]), 0.9)
    assert abs(found[0]) < 0.05
    assert np.abs(found[1:]).max() < 0.03


@pytest.mark.parametrize("spacing", [0.8, 1.1])
def test_a_real_artery_by_its_centreline(data_dir: Path, spacing: float) -> None:
    filled, *areas = errors(*lad(data_dir), spacing)
    assert abs(filled) < 0.05
    assert np.abs(areas).max() < 0.03


def test_a_real_label_by_marching_along_rays(real_trees: dict[str, Array]) -> None:
    """Inside is where the label, interpolated between voxels, is over a half: looked up every .1 mm of every ray."""
    points, voxel = real_trees["left"], (0.330078125, 0.330078125, 0.5)
    first = points.min(0) - 2 * np.array(voxel)
    at = np.rint((points - first) / voxel).astype(int)
    label = np.zeros(at.max(0) + 3, np.float32)
    label[tuple(at.T)] = 1
    view = View(1060, 790, -35, 25, 96, 96, (1.5, 1.5))
    found = chords(surface(CoronaryTree("s", "id", "", "left", points.astype(np.float32), voxel)), view) > 0
    rows, cols = np.nonzero(ndimage.binary_dilation(found, iterations=2))
    u, v, d = view.axes
    ray = view.sid_mm * d + (cols[:, None] - 47.5) * 1.5 * u + (rows[:, None] - 47.5) * 1.5 * v
    along = np.linspace(790 - 70, 790 + 70, 1400)[:, None] / view.sid_mm
    hit = [ndimage.map_coordinates(label, ((view.source_mm + along * one - first) / voxel).T, order=1) for one in ray]
    inside = (np.array(hit) > 0.5).any(axis=1)
    assert inside.sum() == pytest.approx(found.sum(), rel=0.03)
    assert (inside == found[rows, cols]).mean() > 0.9
    spacing = 0.9
    filled = occupied(shares(points, voxel, Grid((128,) * 3, spacing))[0]).sum() * spacing**3
    assert filled == pytest.approx(label.sum() * np.prod(voxel), rel=0.05)
