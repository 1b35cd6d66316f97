import numpy as np
import pytest
from scipy.spatial import cKDTree

from lesionforge.generators.lesion.vessels import STEP_MM, frame, from_label, from_trees
from lesionforge.generators.types import Branch, CoronaryTree
from tests.generators.lesion.toys import STEP_MM as VOXEL
from tests.generators.lesion.toys import TUBE_MM, centreline, vessel


def test_centreline_and_radius_of_a_tube():
    found = from_label(vessel().labels > 0, (VOXEL,) * 3)
    assert len(found) == 1
    line = found[0]
    gap, _ = cKDTree(centreline()).query(line.points)
    assert gap[4:-4].max() < 0.25
    middle = slice(12, -12)
    assert line.radii[middle] == pytest.approx(TUBE_MM, abs=0.25)
    steps = np.sqrt((np.diff(line.points, axis=0) ** 2).sum(axis=1))
    assert steps[middle] == pytest.approx(STEP_MM, rel=0.02)
    assert line.free[middle].all()
    assert not line.free[:4].any()


def test_places_near_a_fork_are_not_free():
    labels = vessel().labels > 0
    grid = np.stack(np.meshgrid(*(np.arange(n) * VOXEL for n in labels.shape), indexing="ij"), axis=-1)
    t = np.arange(0, 16, 0.2)[:, None]
    branch = centreline()[200] + t * np.array([0.0, 0.6, 0.8])
    labels |= cKDTree(branch).query(grid)[0] <= 1.2
    found = from_label(labels, (VOXEL,) * 3)
    assert len(found) == 3
    fork = centreline()[200]
    for line in found:
        near = np.sqrt(((line.points - fork) ** 2).sum(axis=1)) < 1.5
        assert not line.free[near].any()
    assert sum(line.free.sum() for line in found) * STEP_MM > 15


def test_known_trees_are_taken_as_they_are():
    points = centreline() + np.array([-10.0, 20.0, 30.0])
    radii = np.linspace(2, 1, len(points))
    branch = Branch("LAD", points, radii, ("6",) * len(points))
    tree = CoronaryTree("s", "t", "none", "left", points.astype(np.float32), (0.4, 0.4, 0.4), (branch,))
    (line,) = from_trees([tree], (-10.0, 20.0, 30.0), np.array([19.0, 23.0, 30.0]))
    assert line.points[:, 2].max() <= 30
    gap, _ = cKDTree(centreline()).query(line.points)
    assert gap[3:-3].max() < 0.1
    assert line.radii[0] == pytest.approx(2, abs=0.05)
    assert line.radii[-1] == pytest.approx(np.interp(27, np.arange(0, 44, 0.1), radii), abs=0.05)


def test_nothing_labelled_is_no_vessel():
    assert from_label(np.zeros((20, 20, 20), bool), (1.0, 1.0, 1.0)) == []


def test_the_frame_stands_across_the_line_and_turns_little():
    line = centreline()[::3]
    first, second = frame(line)
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1)[:, None]
    for one in (first, second):
        assert np.linalg.norm(one, axis=1) == pytest.approx(1)
        assert np.abs((one * tangent).sum(axis=1)).max() < 1e-9
    assert (first[:-1] * first[1:]).sum(axis=1).min() > 0.99
