"""Tubes against closed forms: what they absorb, what they cover, and how a lesion looks from somewhere."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.cine.film import Exposure, Film, _sharpen
from lesionforge.generators.cine.labels import Site
from lesionforge.generators.cine.tubes import Canvas, Tubes, project
from tests.generators.cine.toys import SCALE, VIEW, narrowed, plain, tube

NOBODY = (np.empty(0), np.empty(0), np.empty(0))
QUIET = Exposure(0.0, 3, 0.0, 0.5, 0.0, 0.0)


def drawn(points, tubes, weight=0.1, code=7, lean=0.0, view=VIEW):
    canvas = Canvas(view.rows, view.cols)
    canvas.clear()
    count = len(points)
    at = project(points, tubes.parent, view.constants())
    canvas.draw(at, tubes, np.full(count, weight), np.full(count, lean), np.full(count, code, np.uint8))
    return canvas, at


@pytest.mark.parametrize("radius", [0.08, 0.5, 1.3, 3.0, 7.0])
@pytest.mark.parametrize("turn", [0.0, 37.0])
def test_a_tube_absorbs_as_much_as_it_holds(radius, turn):
    """Across it, mu times the area of its section; a table that blurs loses nothing."""
    points, tubes = tube(radius, turn_deg=turn)
    canvas, at = drawn(points, tubes)
    row, col = np.indices(canvas.absorbed.shape)
    along = (col - at.col.mean()) * math.cos(math.radians(turn)) - (row - at.row.mean()) * math.sin(math.radians(turn))
    part = np.abs(along) < 40  # far from the ends
    assert canvas.absorbed[part].sum() == pytest.approx(0.1 * math.pi * radius**2 * SCALE * 80, rel=0.02)
    if radius > 1:
        assert canvas.absorbed.max() == pytest.approx(0.1 * 2 * radius, rel=0.03)
        covered = (canvas.label[part] == 7).sum() / 80
        assert covered == pytest.approx(2 * radius * SCALE, abs=0.7)  # whole pixels, where it lies along them


def test_tubes_add_up_where_they_cross_and_join_where_they_fork():
    a, tubes = tube(1.5)
    b, _ = tube(1.5, turn_deg=90)
    count = len(a)
    apart = Tubes(
        np.full(2 * count, 1.5),
        np.repeat(np.arange(2, dtype=np.int32), count),
        np.concatenate([tubes.parent, np.r_[-1, count : 2 * count - 1]]).astype(np.int32),
        np.zeros(2 * count),
    )
    crossed, at = drawn(np.concatenate([a, b]), apart)
    middle = round(at.row[count // 2]), round(at.col[count // 2])
    assert crossed.absorbed[middle] == pytest.approx(2 * 0.3, rel=0.04)
    half = b[count // 2 :]  # leaves from the middle
    joined = Tubes(*(np.delete(part, np.s_[count : count + count // 2]) for part in apart))
    parent = joined.parent.copy()
    parent[count:] = np.r_[count // 2, count : count + len(half) - 1]
    canvas, _ = drawn(np.concatenate([a, half]), joined._replace(parent=parent))
    assert canvas.absorbed[middle] == pytest.approx(0.3, rel=0.04)
    assert canvas.absorbed.max() < 0.33


def test_what_runs_towards_the_detector_is_shorter_and_darker():
    points, tubes = tube(1.0)
    inclined = replace(VIEW, primary_deg=45.0)  # the vessel runs along x
    _, at = drawn(points, tubes, view=inclined)
    middle = len(points) // 2
    assert at.stretch[middle] == pytest.approx(math.sqrt(2), rel=0.01)
    assert at.row == pytest.approx(inclined.project(points)[:, 0], abs=1e-12)
    assert at.col == pytest.approx(inclined.project(points)[:, 1], abs=1e-12)


def seen(vessels, view=VIEW, concentration=None, field=None, others=NOBODY):
    at = project(vessels.points, vessels.parent, view.constants())
    site = Site(vessels, vessels.lesions[0])
    filled = np.ones(len(vessels.points)) if concentration is None else concentration
    field = np.ones((view.rows, view.cols), bool) if field is None else field
    return site.seen(vessels.points, at, view.axes, filled, field, others)


@pytest.mark.parametrize("percent", [30.0, 62.0, 91.0])
@pytest.mark.parametrize("eccentric", [0.0, 0.8])
def test_a_box_is_the_healthy_vessel_over_the_lesion(percent, eccentric):
    """Also where the plaque lies on one side: the lumen moves, the vessel does not."""
    found = seen(narrowed(percent, eccentric=eccentric))
    middle = 127.5 + 0.5  # of the picture, in image coordinates
    half, wide = 5.0 * SCALE + 1.5 * SCALE, 1.5 * SCALE
    assert found.box == pytest.approx((middle - half, middle - wide, middle + half, middle + wide), abs=0.05)
    assert found.percent_ds == pytest.approx(percent, abs=1.5)
    assert found.foreshortening == pytest.approx(0, abs=0.01)
    assert found.overlap == 0
    assert found.visible


def test_an_occlusion_has_no_lumen_and_is_seen_by_its_stump():
    found = seen(narrowed(100.0))
    assert found.percent_ds == pytest.approx(100, abs=1e-9)
    assert found.visible
    canvas, _ = drawn(narrowed(100.0).points, tube(1.5)[1]._replace(radii=narrowed(100.0).radii))
    assert canvas.absorbed[128, 128] < 0.25 * canvas.absorbed.max()


def test_a_lesion_that_runs_towards_the_detector_hides():
    """Foreshortening is 1 - cosine; a silhouette's narrowing shrinks as the lesion's ends cover its middle."""
    vessels = narrowed(70.0, length_mm=6.0)
    views = [replace(VIEW, primary_deg=turn) for turn in (0.0, 60.0, 80.0)]
    across, oblique, along = (seen(vessels, view) for view in views)
    assert oblique.foreshortening == pytest.approx(0.5, abs=0.02)
    assert along.foreshortening == pytest.approx(1 - math.cos(math.radians(80)), abs=0.03)
    assert oblique.visible
    assert not along.visible
    assert across.percent_ds > oblique.percent_ds > along.percent_ds
    assert across.percent_ds == pytest.approx(70, abs=1)
    assert oblique.box[2] - oblique.box[0] == pytest.approx((6.0 * 0.5 + 3.0) * SCALE, abs=1)


def test_a_lesion_is_seen_where_contrast_and_field_are_and_nothing_lies_before_it():
    vessels = narrowed()
    count = len(vessels.points)
    assert not seen(vessels, concentration=np.zeros(count)).visible
    shut = np.ones((256, 256), bool)
    shut[:, 120:140] = False
    assert not seen(vessels, field=shut).visible
    line = np.stack([np.arange(-6, 6.5, 0.5), np.full(25, -40.0), np.full(25, 0.2)], 1)  # 40 mm before it
    over = narrowed(others=[(line, 1.0)])
    assert seen(over).overlap > 0.9
    assert not seen(over).visible
    empty = np.r_[np.ones(count), np.zeros(len(line))]  # no contrast in that one yet
    assert seen(over, concentration=empty).overlap == 0
    catheter = (np.full(9, 127.5), np.linspace(120, 135, 9), np.full(9, 4.0))
    assert seen(vessels, others=catheter).overlap > 0.3


def test_vessels_dim_what_is_above_the_veil():
    """Beer and Lambert, to the grey level; a background moves by whole pixels."""
    film = Film(np.random.default_rng(0), plain(), (256, 256), QUIET, 1)
    absorbed = np.zeros((256, 256), np.float32)
    absorbed[:100] = 0.5
    frame = film.frame(0, absorbed, (0, 0))
    assert set(np.unique(frame[:100])) == {round(120 - 80 * (1 - math.exp(-0.5)))}
    assert set(np.unique(frame[100:])) == {120}
    backdrop = plain(spare=40)
    backdrop.still[:] = np.random.default_rng(1).integers(90, 160, backdrop.still.shape)
    film = Film(np.random.default_rng(0), backdrop, (256, 256), QUIET, 5)
    nothing = np.zeros((256, 256), np.float32)
    before, after = film.frame(0, nothing, (0, 0)), film.frame(1, nothing, (7, -4))
    assert np.array_equal(before[:-7, 4:], after[7:, :-4])


def test_enhancement_is_an_unsharp_mask():
    absorbed = np.random.default_rng(2).random((90, 70)).astype(np.float32)
    out = np.empty_like(absorbed)
    _sharpen(absorbed, 3, np.float32(0.6), out)
    mean = ndimage.uniform_filter(absorbed.astype(float), 7, mode="constant")
    assert out == pytest.approx(absorbed + 0.6 * (absorbed - mean), abs=1e-4)
