"""What is in the picture besides vessels, and the table below them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.generators.cine.contrast import Injection
from lesionforge.generators.cine.devices import catheter, draw_devices
from lesionforge.generators.cine.reflux import Reflux
from lesionforge.generators.cine.tubes import project
from lesionforge.generators.cine.views import Pan
from tests.generators.cine.toys import VIEW, narrowed


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_catheter_ends_a_few_mm_in_the_ostium_and_comes_from_the_aorta(side):
    points = narrowed().points
    ostium, into = points[0], np.array([1.0, 0, 0])
    for n in range(40):
        device = catheter(np.random.default_rng(n), side, points)
        tip = (device.points[0] - ostium) @ into
        assert 0 < tip < 7
        assert np.linalg.norm(device.points - ostium, axis=1).min() < 2.5
        assert device.points[:, 2].max() > ostium[2] + 60  # the ascending aorta
        assert np.linalg.norm(np.diff(device.points, axis=0), axis=1).max() < 0.6
        bends = np.diff(device.points, 2, axis=0)
        assert np.abs(bends).max() < 0.15  # no kink
        assert device.follow[0] == 1
        assert device.follow[-1] < 0.1


def test_devices_move_with_the_heart_or_stand_still():
    vessels = narrowed()
    kinds = set()
    for n in range(60):
        for device in draw_devices(np.random.default_rng(n), vessels, vessels.points, VIEW, 3.0):
            kinds.add(device.kind)
            assert device.moves == (device.kind in ("catheter", "wire", "lead"))
            if device.kind == "wire":  # in the lumen, from the ostium on
                gaps = np.linalg.norm(device.points - vessels.points[device.anchor], axis=1)
                assert (gaps < vessels.radii[device.anchor]).mean() > 0.9
    assert kinds == {"catheter", "wire", "lead", "cable", "electrode", "clip", "sternal wire"}
    assert {d.kind for d in draw_devices(np.random.default_rng(0), vessels, vessels.points, VIEW, 0.0)} == {"catheter"}


def test_a_table_moves_points_as_far_as_the_background():
    pan = Pan(1.0, 2.0, 20, -31)
    view = replace(VIEW, primary_deg=30.0, secondary_deg=20.0)
    assert [pan.at(t) for t in (0.0, 1.0, 3.0, 9.0)] == [(0, 0), (0, 0), (20, -31), (20, -31)]
    row, col = view.project((pan.shift_mm((20, -31), view))[None])[0] - view.project([[0, 0, 0]])[0]
    assert (row, col) == pytest.approx((20, -31), abs=1e-9)


def test_reflux_is_faint_and_gone_with_the_injection():
    injection = Injection(1.0, 0.5, 3.0, 0.5, 0.0)
    vessels = narrowed()
    at = project(vessels.points, vessels.parent, VIEW.constants())
    peaks, late = [], []
    for n in range(20):
        reflux = Reflux.draw_puffs(np.random.default_rng(n), injection, np.array([1.0, 0, 0]), 0.3, 8.0)
        for time, into in ((0.9, late), (2.5, peaks), (6.5, late)):
            picture = np.zeros((256, 256), np.float32)
            reflux.draw(picture, time, at, VIEW)
            assert picture.min() >= 0
            into.append(float(picture.max()))
    assert max(late) == 0
    assert 0.02 < np.median(peaks) < 0.2  # a vessel has .3
    assert max(peaks) < 0.5
    assert math.isfinite(max(peaks))
