"""A heart's motion against closed forms: at rest at end-diastole, periodic, as short and as narrow as it says."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from lesionforge.generators.cine.motion import SYSTOLE, Motion, contraction
from tests.generators.cine.conftest import rng

STILL = ((0.0, 0.0),) * 3
AXIS = np.array((0.6, -0.64, -0.48))


def motion(**more):
    still = (0.0, 0.0, 0.0)
    plain = Motion(
        base_mm=(5.0, -3.0, 8.0),
        axis=tuple(AXIS.tolist()),
        length_mm=80.0,
        cycle_s=0.8,
        shortening_mm=7.0,
        radial=0.07,
        twist_deg=(7.0, -3.0),
        swing_mm=still,
        swing_lag=0.05,
        restless_mm=STILL,
        breath_mm=still,
        breath_s=4.0,
        held=True,
    )
    return dataclasses.replace(plain, **more)


def test_every_point_rests_at_end_diastole_and_comes_back_each_cycle(left):
    for n in range(4):
        drawn = Motion.draw(rng(f"motion {n}"), left)
        assert np.abs(drawn.at(left.points, 0.0) - left.points).max() < 1e-9
        beats = dataclasses.replace(drawn, breath_mm=(0.0, 0.0, 0.0))
        for time in (0.13, 0.5):
            once, again = (beats.at(left.points, time + k * beats.cycle_s) for k in (0, 3))
            assert np.abs(once - again).max() < 1e-9 < 0.1 < np.abs(once - left.points).max()
        assert 60 / 95 <= drawn.cycle_s <= 60 / 55


def test_base_comes_down_walls_come_in_and_apex_turns_against_base():
    beats = motion()
    end = SYSTOLE * beats.cycle_s
    base = np.array(beats.base_mm)
    side = np.cross(AXIS, (0.0, 0.0, 1.0))
    side /= math.sqrt((side**2).sum())
    on = np.stack([base, base + 80 * AXIS, base + 20 * side, base + 80 * AXIS + 20 * side])
    moved = beats.at(on, end)
    assert moved[0] - on[0] == pytest.approx(7 * AXIS, abs=1e-9)
    assert moved[1] == pytest.approx(on[1], abs=1e-9)
    for n, deg in ((0, -3.0), (1, 7.0)):
        arm = moved[n + 2] - moved[n]
        assert math.sqrt((arm**2).sum()) == pytest.approx(20 * 0.93)
        turn = math.degrees(math.atan2((np.cross(side, arm) * AXIS).sum(), (side * arm).sum()))
        assert turn == pytest.approx(deg, abs=1e-6)


def test_the_cycle_has_one_systole_a_pause_and_no_edges():
    t = np.linspace(0, 2, 4001)
    c = np.array([contraction(x) for x in t.tolist()])
    assert c.min() == 0
    assert c.max() == pytest.approx(1)
    assert t[np.argmax(c)] == pytest.approx(SYSTOLE)
    assert c[:2000] == pytest.approx(c[2000:4000], abs=1e-9)
    speed = np.diff(c) / np.diff(t)
    assert np.abs(np.diff(speed)).max() < 0.1 < 4 < speed.max()  # smooth, and fast in between


def test_nothing_stands_still_and_breath_comes_and_goes(left):
    for n in range(6):
        drawn = Motion.draw(rng(f"alive {n}"), left)
        frames = [drawn.at(left.points, k / 15) for k in range(30)]
        steps = np.median([np.sqrt(((b - a) ** 2).sum(1)) for a, b in itertools.pairwise(frames)], axis=1)
        assert 15 * np.median(steps) > 3
        assert 15 * np.quantile(steps, 0.98) > 20
    breath = motion(breath_mm=(1.0, -2.0, -8.0), held=False, shortening_mm=0.0, radial=0.0, twist_deg=(0.0, 0.0))
    assert breath.at(np.zeros((1, 3)), 2.0)[0] == pytest.approx((1, -2, -8))
    assert breath.at(np.zeros((1, 3)), 4.0)[0] == pytest.approx((0, 0, 0), abs=1e-9)
    held = dataclasses.replace(breath, held=True)
    assert held.at(np.zeros((1, 3)), 4.0)[0] == pytest.approx(held.at(np.zeros((1, 3)), 9.0)[0])
