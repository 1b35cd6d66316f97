"""Chord lengths against closed forms and brute force."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project, project_views, silhouette
from lesionforge.generators.carm.view import View
from tests.generators.carm.conftest import marked


def rays(view: View) -> NDArray[np.float64]:
    """Source-to-pixel vectors (rows, cols, 3)."""
    u, v, _ = view.axes
    row = (np.arange(view.rows) - (view.rows - 1) / 2) * view.pixel_mm[0]
    col = (np.arange(view.cols) - (view.cols - 1) / 2) * view.pixel_mm[1]
    return view.detector_mm - view.source_mm + row[:, None, None] * v + col[None, :, None] * u


def box_chords(view: View, centre: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    """Length of every ray in one cube, in double precision and world coordinates."""
    d = rays(view)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (centre - edge / 2 - view.source_mm) / d
        last = (centre + edge / 2 - view.source_mm) / d
    near, far = np.minimum(first, last).max(-1), np.maximum(first, last).min(-1)
    return np.maximum(far - near, 0) * np.linalg.norm(d, axis=-1)


VIEWS = [
    View(1100, 760, 0, 0, 60, 64, (0.31, 0.278)),
    View(1100, 760, 33, -21, 60, 64, (0.31, 0.278)),
    View(1100, 760, -90, 0, 60, 64, (0.31, 0.278)),
    View(1100, 760, 20, 90, 60, 64, (0.31, 0.278)),
    View(1000, 740, 45, 35, 9, 11, (2.5, 2.5)),  # cells smaller than pixels
    View(1000, 740, -12, 8, 200, 220, (0.05, 0.05)),  # cells of many vector widths
]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.name} {view.rows}")
def test_every_cell_is_an_exact_box(view: View) -> None:
    grid = Grid((8, 8, 8), 1.1)
    rng = np.random.default_rng(3)
    cells = np.argwhere(rng.random(grid.shape) < 0.08)
    values = rng.random(len(cells)).astype(np.float32)
    expected = sum(
        value * box_chords(view, centre, 1.1) for value, centre in zip(values, grid.centres(cells), strict=True)
    )
    image = project(cells, grid, view, values)
    assert image.shape == (view.rows, view.cols)
    assert np.max(expected) > 1
    assert np.abs(image - expected).max() < 1e-5


def test_agrees_with_a_dense_ray_marcher(random_tree: NDArray[np.float64]) -> None:
    grid, view = Grid((64, 64, 64), 1.3), View(1080, 750, -28, 17, 128, 128, (1.1, 1.1))
    volume = marked(grid, random_tree)
    image = project(volume, grid, view)
    rows, cols = np.nonzero(image > 1.0)
    directions = rays(view)[rows, cols]
    step = 0.02
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    total = np.zeros(len(rows))
    for t in np.arange(670.0, 830.0, step):
        index = np.floor((view.source_mm + t * unit) / 1.3 + 32).astype(int)
        total += step * ((index >= 0) & (index < 64)).all(1) * volume[tuple(index.clip(0, 63).T)]
    assert len(rows) > 100
    # The marcher is off by at most a step at each face a ray crosses.
    assert np.abs(image[rows, cols] - total).max() < 0.2
    assert abs(image[rows, cols].sum() / total.sum() - 1) < 1e-3


def test_cylinder_integral_has_the_closed_form() -> None:
    """2 sqrt(r^2 - d^2) / sin(angle between ray and axis), d the distance of ray and axis."""
    grid, view, r = Grid((200, 200, 200), 0.1), View(1100, 760, 35, 20, 128, 128, (0.3, 0.3)), 3.0
    axis = np.array([0.3, -0.5, 0.8])
    axis /= np.linalg.norm(axis)
    centres = grid.centres(np.argwhere(np.ones(grid.shape)))
    away = np.linalg.norm(centres - np.outer(centres @ axis, axis), axis=1)
    image = project((away <= r).reshape(grid.shape), grid, view)
    direction = rays(view)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    across = np.cross(direction, axis)
    sine = np.linalg.norm(across, axis=-1)
    distance = np.abs(across @ view.source_mm) / sine
    length = 2 * np.sqrt(np.maximum(r**2 - distance**2, 0)) / sine
    middle = np.einsum("rci,i->rc", direction, -view.source_mm)[..., None] * direction + view.source_mm
    whole = (distance < 0.9 * r) & (np.abs(middle).max(-1) < 5)  # both ends well inside the grid
    assert whole.sum() > 200
    assert np.abs(image[whole] / length[whole] - 1).mean() < 0.005
    assert abs(image[whole].sum() / length[whole].sum() - 1) < 0.001


@pytest.mark.parametrize("tilt", [1e-4, 1e-2, 1.0])
def test_rays_almost_along_the_faces_between_cells(tilt: float) -> None:
    """With an odd detector near AP the central ray runs beside two planes of faces: no hole, no double."""
    grid, view = Grid((8, 8, 8), 1.0), View(1000, 750, tilt, tilt, 65, 65)
    image = project(np.ones(grid.shape, np.uint8), grid, view)
    assert image[32, 32] == pytest.approx(8 / math.cos(math.radians(tilt)) ** 2, abs=0.05)
    assert image.max() < 8.05


def test_sum_over_the_detector_is_the_volume() -> None:
    """Integral of chords over solid angle times distance squared: sum of pixels ~ volume * magnification^2."""
    grid, view = Grid((3, 3, 3), 0.9), View(1100, 760, 15, -10)
    volume = np.zeros(grid.shape, np.uint8)
    volume[1, 1, 1] = 1
    total = float(project(volume, grid, view).sum()) * 0.278**2
    assert total == pytest.approx(0.9**3 * view.magnification**2, rel=2e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_same_bits_for_any_number_of_threads(count: int, random_tree: NDArray[np.float64], pair: list[View]) -> None:
    grid = Grid((96, 96, 96), 0.95)
    volume = marked(grid, random_tree)
    views = [*pair, View(1000, 750, 0, 0)][:count]
    one = project_views(volume, grid, views, threads=1)
    for threads in (2, 3, 5, None):
        for a, b in zip(one, project_views(volume, grid, views, threads=threads), strict=True):
            assert a.tobytes() == b.tobytes()
    alone = [project(volume, grid, view, threads=2) for view in views]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, alone, strict=True))


def test_callers_may_run_at_once(random_tree: NDArray[np.float64], pair: list[View]) -> None:
    grid = Grid((96, 96, 96), 0.95)
    volume = marked(grid, random_tree)
    expected = project_views(volume, grid, pair, threads=1)
    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(lambda _: project_views(volume, grid, pair, threads=3), range(16)):
            assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))


def test_works_in_a_forked_child() -> None:
    """Data loaders fork; a thread pool inherited without its threads would hang."""
    code = """
import os, numpy as np
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project
from lesionforge.generators.carm.view import View
grid, view = Grid((16, 16, 16), 1.0), View(1000, 750, 0, 0, 64, 64)
first = project(np.ones(grid.shape, np.uint8), grid, view, threads=2)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(first, project(np.ones(grid.shape, np.uint8), grid, view, threads=2)) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_same_bits_on_another_processor(tmp_path: Path) -> None:
    """Promise P1, level L1: compiled for a plain x86-64 or for this machine (wider registers, fused operations)."""
    code = """
import hashlib, numpy as np
from lesionforge.generators.carm.backproject import adjoint, hull
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project_views, silhouette
from lesionforge.generators.carm.view import View
grid, views = Grid((64, 64, 64), 1.1), [View(1100, 760, 5, 0, 256, 256), View(1060, 790, -35, 25, 256, 256)]
volume = (np.random.default_rng(1).random(grid.shape) < 0.01).astype(np.uint8)
images = project_views(volume, grid, views)
masks = [silhouette(i, volume, grid, v) for i, v in zip(images, views)]
parts = [*images, *masks, hull(masks, views, grid), adjoint(images[0], grid, views[0])]
print(hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest())
"""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    digests = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **extra}, capture_output=True, check=True, timeout=120
        ).stdout
        for extra in ({}, plain)
    ]
    assert digests[0] == digests[1]


def test_what_leaves_the_detector_is_cut_not_wrapped() -> None:
    grid = Grid((64, 64, 64), 1.0)
    volume = np.ones(grid.shape, np.uint8)
    whole, part = View(1000, 750, 10, 5, 128, 128, (1, 1)), View(1000, 750, 10, 5, 32, 32, (1, 1))
    assert np.allclose(project(volume, grid, part), project(volume, grid, whole)[48:80, 48:80], atol=1e-3)


def test_nothing_occupied_casts_no_shadow() -> None:
    grid, view = Grid((8, 8, 8), 1.0), View(1000, 750, 0, 0, 16, 16)
    empty = np.zeros(grid.shape, np.uint8)
    image = project(empty, grid, view)
    assert not image.any()
    assert not silhouette(image, empty, grid, view).any()


def test_silhouette_lights_cells_that_no_ray_hits() -> None:
    grid, view = Grid((9, 9, 9), 0.1), View(1000, 750, 0, 0, 8, 8, (2, 2))
    cell = np.array([[0, 4, 8]])
    image = project(cell, grid, view)
    assert image.max() == 0  # far smaller than a pixel, and away from every pixel centre
    assert silhouette(image, cell, grid, view).sum() == 1


def test_refuses_what_cannot_be() -> None:
    grid, view = Grid((8, 8, 8), 1.0), View(1000, 750, 0, 0, 16, 16)
    cells = np.array([[1, 2, 3]])
    with pytest.raises(ValueError, match="one per occupied cell"):
        project(cells, grid, view, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="reaches"):
        project(cells, Grid((8, 8, 8), 400.0), view)
    with pytest.raises(ValueError, match="threads"):
        project(cells, grid, view, threads=0)
    with pytest.raises(ValueError, match="this view's image"):
        silhouette(np.zeros((8, 8), np.float32), cells, grid, view)


def test_left_tree_shows_its_length_scale(real_trees: dict[str, NDArray[np.float64]], pair: list[View]) -> None:
    """A real tree: a few per cent of the pixels lit, depths from under a cell to some vessel widths."""
    grid = Grid((128, 128, 128), 0.95)
    volume = marked(grid, real_trees["left"])
    for view, image in zip(pair, project_views(volume, grid, pair), strict=True):
        assert view.sees(grid.centres(np.argwhere(volume))).all()
        assert 0.05 < (image > 0).mean() < 0.2
        assert 5 < image.max() < 40
        expected = volume.sum() * 0.95**3 * view.magnification**2 / math.prod(view.pixel_mm)
        assert image.sum() == pytest.approx(expected, rel=0.05)
