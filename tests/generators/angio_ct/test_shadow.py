"""A straight vessel whose shadow is known: box, length, overlap and stenosis."""

import math
from functools import cache

import numpy as np
import pytest

from lesionforge.generators.angio_ct.lumen import LumenCells
from lesionforge.generators.angio_ct.shadow import PlaqueSegment, shadows
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.projector import project_views
from lesionforge.generators.carm.view import View

CELL = 0.2
RADIUS, DS, LENGTH = 1.6, 60.0, 10.0


@cache
def tube(other_y: float | None = None) -> LumenCells:
    """Along z through the isocentre, narrowed over 10 mm; a second one may cross it at a depth."""
    grid = Grid((24, 120, 150), CELL)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    x, y, z = grid.centres(index).T
    fade = np.where(np.abs(z) < LENGTH / 2, 0.5 + 0.5 * np.cos(2 * np.pi * z / LENGTH), 0)
    inside = np.hypot(x, y) <= RADIUS * (1 - DS / 100 * fade)
    if other_y is not None:
        inside |= np.hypot(y - other_y, z - 3) <= 0.8
    return LumenCells(index[inside], grid, np.zeros(3))


def label():
    z = np.arange(-14, 14.1, 1.0)
    return {
        "centreline_lps_mm": np.stack([0 * z, 0 * z, z], axis=1).tolist(),
        "centre_lps_mm": [1.0, 0.0, 0.0],
        "mld_lps_mm": [0.0, 0.0, 0.0],
        "length_mm": LENGTH,
        "reference_mm": 2 * RADIUS,
    }


def seen(view, lumen):
    segment = PlaqueSegment.of(label(), np.zeros(3))
    return shadows(segment, lumen, [view], project_views(lumen.cells, lumen.grid, [view]), 1)[0]


def test_a_plaque_across_the_beam_reads_as_it_is_in_space():
    for primary in (0, 40, -75):
        view = View(1000, 750, primary, 0, 512, 512, (0.278, 0.278))
        record = seen(view, tube())
        assert record["densitometric_ds"] == pytest.approx(DS, abs=2)
        assert record["foreshortening"] == pytest.approx(0, abs=1e-3)
        assert record["overlap"] == 0
        assert record["visible"]
        assert record["mld_xy"] == pytest.approx([256, 256], abs=1e-3)
        half_x, half_y = RADIUS * 4 / 3 / 0.278, (LENGTH / 2 + RADIUS) * 4 / 3 / 0.278
        want = [256 - half_x, 256 - half_y, 256 + half_x, 256 + half_y]
        assert record["box"] == pytest.approx(want, abs=0.15 * 4 / 3 / 0.278 + 0.1)  # rows come every quarter mm


def test_foreshortening_is_the_cosine_of_the_tilt():
    for tilt in (20, -45, 60):
        view = View(1000, 750, 0, tilt, 512, 512, (0.278, 0.278))
        record = seen(view, tube())
        assert record["foreshortening"] == pytest.approx(1 - math.cos(math.radians(tilt)), abs=1e-3)
    # Seen at a slant, a ray runs through wide and narrow sections alike and the reading flattens.
    assert record["densitometric_ds"] < DS - 5


def test_a_vessel_in_front_is_told():
    view = View(1000, 750, 0, 0, 512, 512, (0.278, 0.278))
    clear, covered = seen(view, tube()), seen(view, tube(other_y=8.0))
    assert clear["overlap"] == 0
    assert covered["overlap"] > 0.05
    assert covered["box"] == clear["box"]


def test_off_the_detector():
    record = seen(View(1000, 750, 0, 0, 512, 512, (0.278, 0.278)), tube())
    assert record["visible"]
    segment = PlaqueSegment.of(label(), np.array([80.0, 0.0, 0.0]))
    lumen, view = tube(), View(1000, 750, 0, 0, 512, 512, (0.278, 0.278))
    (gone,) = shadows(segment, lumen, [view], project_views(lumen.cells, lumen.grid, [view]), 1)
    assert (gone["visible"], gone["box"], gone["densitometric_ds"]) == (False, None, None)
