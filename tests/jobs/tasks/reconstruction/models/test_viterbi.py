from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.metrics import dice
from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner
from lesionforge.jobs.tasks.reconstruction.models.viterbi import ViterbiLearner, cheapest, points, spanning_tree
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import ViterbiSettings

VIEWS = tuple(View(1000, 750, a, b, 160, 160, (0.7, 0.7)) for a, b in ((30, 0), (-40, 15)))


def axis(start, end):
    return np.linspace(start, end, 200)


def pair_of(*tubes):
    """Shadows of tubes, (axis, radius in mm) each, drawn as discs about every point of the axis."""
    shadows = []
    for view in VIEWS:
        lit = np.zeros((view.rows, view.cols), np.uint8)
        pixels = np.argwhere(lit == 0)
        for line, radius in tubes:
            far, _ = cKDTree(view.project(line)).query(pixels)
            depth = view.sod_mm + float((line @ view.direction).mean())
            lit[tuple(pixels[far <= radius * view.sid_mm / depth / view.pixel_mm[0]].T)] = 1
        shadows.append(lit)
    return Pair(VIEWS, tuple(shadows), Grid((48, 48, 48), 1.7), "right", "s", "i")


def test_a_straight_tube_lies_where_it_is():
    tube = axis((-20, 8, -25), (15, -12, 25))
    views = points(pair_of((tube, 2.0)), ViterbiSettings())
    assert len(views) == 2
    for at, radii in views:
        off, _ = cKDTree(tube).query(at)
        assert np.quantile(off, 0.95) < 0.7  # a pixel is 0.5 mm there
        assert off.max() < 2  # a skeleton's ends fork
        assert np.median(radii) == pytest.approx(2.0, abs=0.35)
        missed, _ = cKDTree(at).query(tube)
        assert np.quantile(missed, 0.9) < 0.7


def test_tubes_that_cross_in_a_view_keep_their_depths():
    """In the first view they lie on each other, 24 mm apart in depth."""
    towards = VIEWS[0].direction
    near, far = (axis(a, b) + side * 12 * towards for a, b, side in (
        ((-14, -8, -20), (14, 8, 20), -1), ((-14, -8, 20), (14, 8, -20), 1)
    ))  # fmt: skip
    pair = pair_of((near, 1.5), (far, 2.5))
    at, radii = points(pair, ViterbiSettings())[0]
    to_near, to_far = (cKDTree(tube).query(at)[0] for tube in (near, far))
    assert (np.minimum(to_near, to_far) < 1.2).mean() > 0.9
    for to, tube, radius in ((to_near, near, 1.5), (to_far, far, 2.5)):
        own = to < 1.2
        assert np.median(radii[own]) == pytest.approx(radius, abs=0.4)
        assert np.quantile(cKDTree(at[own]).query(tube)[0], 0.8) < 1.2


def test_labels_are_the_cheapest_of_all():
    rng = np.random.default_rng(0)
    order, parent = np.array([2, 0, 1, 4, 3]), np.array([2, 0, -1, 4, -1])  # a chain of three, and one of two
    for _ in range(20):
        cost = rng.random((5, 3))
        between = rng.random((3, 3))
        between += between.T

        def price(labels, cost=cost, between=between):
            edges = sum(between[labels[n], labels[up]] for n, up in enumerate(parent) if up >= 0)
            return edges + sum(cost[n, label] for n, label in enumerate(labels))

        best = min(product(range(3), repeat=5), key=price)
        assert tuple(cheapest(cost, between, order, parent)) == best


def test_trees_span_every_piece():
    line = np.zeros((9, 12), bool)
    line[1, 1:6] = line[5, 1:6] = line[1:6, 1] = line[1:6, 5] = True  # a ring
    line[7, 8:11] = True
    order, parent = spanning_tree(line)
    assert sorted(order) == list(range(line.sum()))
    assert (parent < 0).sum() == 2
    place = np.argsort(order)
    child = np.flatnonzero(parent >= 0)
    assert (place[parent[child]] < place[child]).all()
    pixels = np.argwhere(line)
    assert np.abs(pixels[child] - pixels[parent[child]]).max() == 1


def test_it_beats_the_hull_and_is_what_its_file_says(pairs, tmp_path):
    learner = ViterbiLearner(ViterbiSettings(held=0.25))
    learner.fit([], pairs, 0, 0)
    gains = []
    for pair in pairs:
        found = learner.predict(pair)
        assert not found[~pair.hull].any()
        gains.append(dice(pair.target, found >= learner.threshold) - dice(pair.target, pair.hull))
    assert np.mean(gains) > 0.05  # cells of 4 mm are wider than most vessels
    learner.options = {"size": 32}
    learner.save(tmp_path / "m.safetensors")
    again = opened_learner(tmp_path / "m.safetensors", "cpu")
    assert (again.threshold, again.settings, again.options) == (learner.threshold, learner.settings, {"size": 32})
    assert again.views == 2
    assert np.array_equal(again.predict(pair), found)
    nothing = replace(pair, shadows=tuple(np.zeros_like(shadow) for shadow in pair.shadows))
    assert not learner.predict(nothing).any()
