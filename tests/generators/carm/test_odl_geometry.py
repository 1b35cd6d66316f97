"""ODL's own positions as an independent oracle."""

from __future__ import annotations

import numpy as np
import pytest

from lesionforge.generators.carm import odl_geometry
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View

RNG = np.random.default_rng(11)
ANGLES = [(0, 0), (0, 90), (180, 0), *np.c_[RNG.uniform(-180, 180, 40), RNG.uniform(-90, 90, 40)].tolist()]


@pytest.fixture(autouse=True)
def odl() -> None:
    """Not on collection: it imports PyTorch, in every process that runs tests."""
    pytest.importorskip("odl")


@pytest.mark.parametrize("angles", ANGLES, ids=lambda a: f"{a[0]:.0f}/{a[1]:.0f}")
def test_source_and_every_pixel_stand_where_odl_puts_them(angles: tuple[float, float]) -> None:
    view = View(1074, 749, *angles, rows=20, cols=30, pixel_mm=(0.308, 0.25))
    geometry = odl_geometry.cone_beam_geometry(view)
    assert np.abs(geometry.src_position(0) - view.source_mm).max() < 1e-9
    assert np.abs(geometry.det_refpoint(0) - view.detector_mm).max() < 1e-9
    right, down = geometry.det_partition.points().T
    pixels = geometry.det_point_position(0, [right, down]).reshape(30, 20, 3)
    u, v, _ = view.axes
    for row, col in [(0, 0), (19, 0), (0, 29), (7, 22)]:
        ours = view.detector_mm + (col - 14.5) * 0.25 * u + (row - 9.5) * 0.308 * v
        assert np.abs(pixels[col, row] - ours).max() < 1e-9
        # and our projection sends ODL's pixel, seen from the isocentre's depth, back to (row, col)
        halfway = 0.7 * pixels[col, row] + 0.3 * geometry.src_position(0)
        assert np.abs(view.project([halfway]) - [row, col]).max() < 1e-9


def test_astra_is_refused_with_the_fix_where_it_would_kill_the_process() -> None:
    view, grid = View(1000, 750, 0, 0, 8, 8), Grid((8, 8, 8), 1.0)
    if odl_geometry.astra_available():
        from lesionforge.generators.carm.projector import project

        volume = (np.random.default_rng(0).random(grid.shape) < 0.2).astype(np.float32)
        theirs, ours = odl_geometry.project_astra(volume, grid, view), project(volume, grid, view)
        assert abs(theirs.sum() / ours.sum() - 1) < 0.05
    else:
        with pytest.raises(RuntimeError, match=r"generators\.carm\.project"):
            odl_geometry.project_astra(np.zeros(grid.shape), grid, view)
    with pytest.raises(ValueError, match="volume of this grid"):
        odl_geometry.project_astra(np.zeros((4, 4, 4)), grid, view)
