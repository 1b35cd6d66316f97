"""Vessels of phantoms and of labels: one tree each, whose fine vessels behave as vessels do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lesionforge.generators.cine.anatomy import vessels_of
from lesionforge.generators.cine.centreline import heart_about, stems_of_voxels
from lesionforge.generators.cine.twigs import _angle
from lesionforge.generators.phantom.tree.voxels import voxelise
from lesionforge.generators.types import BadCase, Branch, CoronaryTree
from tests.generators.cine.conftest import phantom, rng


def case(points, side="left", name="label", voxel_mm=(0.4, 0.4, 0.4)):
    return CoronaryTree("someone", name, "", side, np.asarray(points, np.float32), voxel_mm)


def check_tree(vessels):
    count = len(vessels.points)
    at = np.arange(count)
    assert (vessels.parent < at).all()
    assert (vessels.parent >= 0)[1:].all()
    first = vessels.starts[:-1]
    inside = np.ones(count, bool)
    inside[first] = False
    assert (vessels.parent[inside] == at[inside] - 1).all()
    assert (vessels.points[first[1:]] == vessels.points[vessels.parent[first[1:]]]).all()
    steps = np.sqrt(((vessels.points[1:] - vessels.points[:-1]) ** 2).sum(1))[inside[1:]]
    assert steps.min() > 0.2
    assert 0.45 < np.median(steps) < 0.6
    assert steps.max() < 1.0
    assert vessels.radii.min() > 0.05
    assert vessels.radii[0] > 1.0
    assert (vessels.radii[first[1:]] <= vessels.radii[vessels.parent[first[1:]]] * 1.001).all()
    ends = vessels.starts[1:][~np.isin(vessels.starts[1:] - 1, vessels.parent)] - 1
    assert np.median(vessels.fade[ends]) < 0.3 < vessels.fade[vessels.radii > 0.5].min()


def test_a_phantom_is_one_tree_with_all_its_twigs(left):
    check_tree(left)
    assert {"5", "6", "7", "8", "11"} <= set(left.names)
    assert (left.segment < 0).mean() > 0.3
    assert len(left.starts) > 80
    assert 500 < left.along[-1:].sum() + 0.5 * len(left.points) < 3500  # mm of vessel


def test_the_vessels_are_of_the_heart_that_the_case_s_voxels_are_of(left):
    """Whatever its subject is called: the engine hashes names before a generator sees them."""
    tree = phantom("left")
    assert vessels_of(replace(tree, subject="another name"), rng("left")).points.tobytes() == left.points.tobytes()
    near = cKDTree(left.points).query(tree.points)[0]
    other = cKDTree(vessels_of(phantom("left", 1), rng("left")).points).query(tree.points)[0]
    assert np.median(near) < 2.5 < np.median(other)


def test_the_same_case_has_the_same_vessels_and_another_draw_other_twigs_on_the_same_heart(left):
    again, other = (vessels_of(phantom("left"), rng(name)) for name in ("left", "other"))
    assert again.points.tobytes() == left.points.tobytes()
    assert again.radii.tobytes() == left.radii.tobytes()
    assert len(other.points) != len(left.points)
    assert (other.points[0] == left.points[0]).all()
    assert other.names == left.names


def test_the_dominant_artery_feeds_the_posterior_wall():
    for number in range(3):
        assert "15" in vessels_of(phantom("left", number, "left"), rng("l")).names
        assert "15" not in vessels_of(phantom("left", number, "right"), rng("l")).names
        assert "4" in vessels_of(phantom("right", number, "right"), rng("r")).names
        assert "4" not in vessels_of(phantom("right", number, "left"), rng("r")).names


def test_no_twig_runs_into_or_along_another_vessel(left):
    named = np.unique(left.branch[left.segment >= 0])
    for number in range(int(named[-1]) + 1, int(left.branch[-1]) + 1):
        first, last = left.starts[number], left.starts[number + 1]
        if left.segment[first] >= 0:
            continue
        others = left.points[:first][left.branch[:first] != left.branch[left.parent[first]]]
        far, _ = cKDTree(others[::3]).query(left.points[first + 8 : last - 2])
        assert len(far) == 0 or far.min() > 1.0


def test_daughters_leave_at_the_angle_of_least_work():
    half = 2 ** (-1 / 3)
    assert math.degrees(_angle(1, half, half)) == pytest.approx(37.5, abs=0.1)  # both 37.5, 75 in all
    assert _angle(1, 0.98, 0.4) < 0.3 < 1.2 < _angle(1, 0.4, 0.98)


def straight(start, end, wide, fine, name):
    steps = np.linspace(0, 1, 200)[:, None]
    points = (1 - steps) * np.array(start, float) + steps * np.array(end, float)
    return Branch(name, points, np.linspace(wide, fine, 200), ("",) * 200)


def test_the_centreline_of_a_fork_of_known_tubes():
    trunk, side = straight((0, 0, 0), (60, 0, 0), 2.2, 0.6, "a"), straight((20, 0, 0), (34, 21, 0), 1.2, 0.5, "b")
    stems = stems_of_voxels(case(voxelise([trunk, side])))
    assert [s.parent for s in stems] == [-1, 0]
    root, branch = (s.points for s in stems)
    assert abs(root[:, 1:]).max() < 1.0
    assert root[0, 0] < 3
    assert root[-1, 0] > 56
    assert (branch[0] == root).all(1).any()
    assert abs(branch[0, 0] - 20) < 6  # inside the trunk's lumen it leaves by and by
    assert stems[1].radii[20] == pytest.approx(1.0, abs=0.25)
    away = np.abs((branch[20:] - (20, 0, 0)) @ np.array([21, -14, 0]) / math.hypot(21, 14))
    assert away.max() < 0.7
    middle = stems[0].radii[np.argmin(abs(root[:, 0] - 30))]
    assert middle == pytest.approx(1.4, abs=0.1)


def test_vessels_on_a_ball_tell_its_centre():
    a = np.linspace(0, 2, 200)
    lines = [np.stack([np.cos(a) * math.cos(t), np.cos(a) * math.sin(t), np.sin(a)], 1) for t in (0, 0.7, 1.9)]
    middle = np.array([20.0, -180.0, 70.0])
    heart, centre = heart_about([straight_stem(50 * line + middle) for line in lines])
    assert np.abs(centre - middle).max() < 4
    assert abs(heart.ahead[0] - 50) < 3


def straight_stem(points):
    from lesionforge.generators.cine.twigs import Stem

    return Stem(points, np.ones(len(points)))


def test_a_label_without_a_vessel_is_refused():
    with pytest.raises(BadCase, match="hold no vessel"):
        vessels_of(case(np.argwhere(np.ones((3, 3, 3))) * 0.4, name="dot"), rng("dot"))


def test_centrelines_with_names_of_their_own_are_read():
    lad = straight((0, 0, 0), (60, 0, 10), 2.0, 0.8, "LAD")
    branches = (
        Branch("LM", lad.points[:60:8], lad.radii[:60:8], ("LM",) * 8),
        Branch("D1", lad.points[56:] * (1, -1, 1), lad.radii[56:], ("D1",) * 144, 0),
    )
    found = vessels_of(CoronaryTree("x", "y", "", "left", lad.points.astype(np.float32), (1,) * 3, branches), rng("x"))
    assert set(found.names) == {"5", "9"}


def test_real_labels_become_trees_that_start_at_the_aorta(real_trees):
    ostia = []
    for side, points in real_trees.items():
        tree = case(points, side, f"real {side}", (0.33, 0.33, 0.5))
        vessels = vessels_of(tree, rng(side))
        check_tree(vessels)
        named = vessels.points[vessels.segment >= 0]
        far, _ = cKDTree(points).query(named)
        assert np.median(far) < 1.0
        assert far.max() < 4.0
        covered, _ = cKDTree(named).query(points)
        assert np.quantile(covered, 0.97) < 4.5  # nothing but stubs of the label is left out
        assert 1.5 < vessels.radii[0] < 3.01
        assert set(vessels.names) == ({"5", "LAD", "LCX"} if side == "left" else {"RCA"})
        ostia.append(vessels.points[0])
        if side == "left":
            lad, lcx = (named[vessels.segment[vessels.segment >= 0] == vessels.names.index(n)] for n in ("LAD", "LCX"))
            assert lad[:, 1].mean() < lcx[:, 1].mean() - 5  # before it
    assert np.sqrt(((ostia[0] - ostia[1]) ** 2).sum()) < 45  # an aortic root apart
