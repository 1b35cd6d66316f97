"""What a drawn stenosis is allowed to say of itself, and where it may lie: rules that a good sample hides."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.stenosis import choice
from lesionforge.generators.stenosis.closure import WIDE, Graded, Measured
from lesionforge.generators.stenosis.drawing import StenosisDrawing
from lesionforge.generators.stenosis.sites import ABOUT, CROWDED, NEAR, NEAR_MORE, WIDTHS, FrameAnatomy, _crowd
from lesionforge.generators.types import Rejected

READING = SimpleNamespace(d_ref_px=12.0, percent_ds=50.0, why="")


def drawing(density, edges, requested=61.0):
    """One that was drawn and read, without what it was drawn on."""
    out = StenosisDrawing.__new__(StenosisDrawing)
    out.requested, out.drawn_ds = requested, 71.0
    out.measured = Measured(Graded(density, 3.0, READING), None if edges is None else Graded(edges, 3.0, READING))
    return out


def test_what_is_said_is_the_mean_of_both_readings_and_of_both_alone():
    assert drawing(63.0, 59.0).measured.percent_ds == pytest.approx(61)
    assert drawing(63.0, None).measured.percent_ds == 63


def test_readings_that_disagree_are_no_label():
    drawing(63.0, 59.0).check(5.0)
    drawing(61.0, None).check(5.0)
    with pytest.raises(Rejected, match="standard deviations apart"):
        drawing(67.0, 55.0).check(5.0)  # their mean is as requested
    with pytest.raises(Rejected, match="measured"):
        drawing(70.0, 70.0).check(5.0)


def test_the_mask_is_narrowed_as_it_was_drawn_and_not_as_it_was_asked_for():
    one = drawing(61.0, None)
    one.narrowing = lambda percent_ds: SimpleNamespace(narrowed=percent_ds)
    assert one.mask_after == one.drawn_ds != one.requested


@pytest.fixture(scope="module")
def anatomy():
    return FrameAnatomy.of(phantom_angiogram(bytes([3]) * 32, "left", "s"), 5.0)


def test_places_near_forks_and_on_wide_vessels_come_more_often(anatomy):
    """As graded lesions lie."""
    places = anatomy.places
    crowd = np.array([anatomy.vessels[v].crowd[at] for v, at in places])
    odds = anatomy.odds / (crowd / ABOUT) ** CROWDED
    fork = np.array([anatomy.vessels[v].fork[at] for v, at in places])
    band = np.searchsorted(WIDTHS, [anatomy.vessels[v].width[at] for v, at in places])
    compared = 0
    for one in set(band):
        near, far = odds[(band == one) & (fork < NEAR)], odds[(band == one) & (fork >= NEAR)]
        compared += bool(len(near) and len(far))
        if len(near) and len(far):
            assert near == pytest.approx(NEAR_MORE * far.max())
            assert far == pytest.approx(far.max())
    assert compared
    means = [odds[(band == one) & (fork >= NEAR)].mean() for one in sorted(set(band[fork >= NEAR]))]
    assert (np.diff(means) > 0).all()


def test_places_among_many_vessels_come_more_often(anatomy):
    line = np.stack([np.arange(200.0), np.full(200, 100.0)], 1)
    graph = SimpleNamespace(segments=[SimpleNamespace(points=line), SimpleNamespace(points=line[:, ::-1])])
    crowd = _crowd(graph, (200, 200))
    assert (crowd[100, 100], crowd[20, 100], crowd[20, 20]) == (2 * ABOUT - 1, ABOUT - 12, 0)
    here = np.array([anatomy.vessels[v].crowd[at] for v, at in anatomy.places])
    assert np.corrcoef(np.log(anatomy.odds), np.log(here))[0, 1] > 0.5


@pytest.mark.parametrize(("percent", "sd", "good"), [(3.0, 6.0, True), (-30.0, 6.0, False), (3.0, 40.0, False)])
def test_a_wide_vessel_must_look_healthy_by_its_edges_too(anatomy, monkeypatch, percent, sd, good):
    edges = Graded(percent, sd, SimpleNamespace(percent_ds=percent))
    monkeypatch.setattr(choice, "measure", lambda *_: Measured(Graded(0.0, 3.0, READING), edges))
    frame, vessel = SimpleNamespace(image=None), anatomy.vessels[0]
    assert choice._agreed(frame, vessel, 40, 20, SimpleNamespace(d_ref_px=WIDE + 1)) == good
    assert choice._agreed(frame, vessel, 40, 20, SimpleNamespace(d_ref_px=WIDE - 1))
    monkeypatch.setattr(choice, "measure", lambda *_: replace(Measured(Graded(0.0, 3.0, READING), edges), edges=None))
    assert not choice._agreed(frame, vessel, 40, 20, SimpleNamespace(d_ref_px=WIDE + 1))
