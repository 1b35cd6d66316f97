"""When contrast comes, and what pressure lesions cost: against closed forms of a tube."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lesionforge.generators.cine.disease import Request, diseased
from lesionforge.generators.cine.flow import flow, modelled_ifr
from tests.generators.cine.conftest import narrowed, rng, tube


def test_contrast_runs_along_a_tube_at_one_speed():
    vessels = tube(1.6)
    found = flow(vessels, rng("speed"))
    steps = np.diff(found.arrival_s)
    assert steps == pytest.approx(np.full(len(steps), steps[0]), abs=4e-5)
    assert 150 <= 0.5 / steps.mean() <= 300  # mm/s
    assert (np.diff(found.dispersion_s) > 0).all()
    assert (found.reach == 1).all()


def test_fine_vessels_are_slower_and_a_vessel_behind_a_severe_lesion_fills_frames_later(left):
    late = {}
    for percent in (50.0, 80.0, 90.0):
        sick = diseased(left, [Request(percent, 10.0, "7")], rng("late"), diffuse=0)
        end = np.isin(left.segment, [left.names.index("8")])
        gap = flow(sick, rng("f")).arrival_s - flow(left, rng("f")).arrival_s
        late[percent] = 15 * gap[end].max()  # frames
        assert abs(gap[~sick.downstream(sick.lesions[0].minimum)]).max() < 0.03
    assert late[50.0] < 1 < 2 < late[80.0] < late[90.0] < 25
    fine, wide = (np.diff(flow(tube(r), rng("f")).arrival_s).mean() for r in (0.4, 1.6))
    assert fine == pytest.approx(2 * wide, rel=1e-3)


def test_behind_an_occlusion_contrast_comes_late_and_thin_from_the_far_end_or_never():
    closed = narrowed(tube(), 100.0, 80, 100)
    beyond = np.arange(len(closed.radii)) >= 101
    kinds = set()
    for n in range(12):
        found = flow(closed, rng(f"collateral {n}"))
        assert (found.reach[80:101] == 0).all()
        assert (found.reach[:80] == 1).all()
        kinds.add(bool(found.reach[beyond].any()))
        if found.reach[beyond].any():
            assert found.reach[beyond].max() < 0.6
            assert (np.diff(found.arrival_s[beyond]) < 0).all()
            assert found.arrival_s[beyond].min() > 1.2
    assert kinds == {True, False}


def test_the_modelled_ratio_is_poiseuille_and_a_jet_over_the_flow_that_is_left():
    first, last, percent, r0 = 60, 79, 60.0, 1.5e-3
    got = modelled_ifr(narrowed(tube(1.5), percent, first, last))["LAD"]
    r, length = r0 * (1 - percent / 100), 0.5e-3 * (last - first + 1)
    rest = 0.18 * math.pi * r0**2
    a = 8 * 0.0035 / math.pi * length * (1 / r**4 - 1 / r0**4) * rest / 12_000
    b = 0.5 * 1060 * (0.18 * (r0 / r) ** 2 - 0.18) ** 2 / 12_000
    assert got + a * got + b * got**2 == pytest.approx(1, abs=1e-7)


def test_the_modelled_ratio_falls_with_severity_and_with_lesions_in_series(left):
    def ratio(*requests):
        return modelled_ifr(diseased(left, requests, rng("ifr"), diffuse=0))

    assert ratio() == {"LAD": 1.0, "LCX": 1.0}
    steps = [ratio(Request(p, 10.0, "7"))["LAD"] for p in (30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 100.0)]
    assert all(b < a for a, b in itertools.pairwise(steps))
    assert steps[-1] == 0
    assert steps[2] == pytest.approx(0.97, abs=0.015)
    assert 0.75 < steps[4] < 0.89
    lad, main = Request(60.0, 8.0, "7"), Request(60.0, 6.0, "5")
    one, stem, both = ratio(lad), ratio(main), ratio(lad, main)
    assert stem["LCX"] < 1
    assert stem["LAD"] == stem["LCX"]
    assert one["LCX"] == 1
    assert both["LAD"] < min(one["LAD"], stem["LAD"])
    assert ratio(Request(90.0, 8.0, "LCX"))["LAD"] == 1
