"""Trees as labels show them: what a reading keeps, and that a population is as wide as real trees ask for.

All ranges over patients, with the meter that read them, are in generators/README.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.phantom.tree.grow import grow
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.phantom.tree.label import Reading
from lesionforge.generators.types import CoronaryTree, Side, stream
from tests.generators.phantom.conftest import key

SUBJECTS = 40
Population = dict[Side, list[CoronaryTree]]
SIDES: tuple[Side, Side] = ("left", "right")


@pytest.fixture(scope="module")
def population() -> Population:
    return {side: [phantom_tree(key(s), side, "s") for s in range(SUBJECTS)] for side in SIDES}


def inside(value: float, found: list[float]) -> bool:
    """Whether a value lies between the 5th and the 95th percentile."""
    low, high = np.percentile(found, [5, 95])
    return bool(low <= value <= high)


def ends(tree: CoronaryTree) -> int:
    """Free ends but for the ostium: of branches from whose last point none goes on."""
    starts = {branch.points[0].tobytes() for branch in tree.branches}
    return sum(branch.points[-1].tobytes() not in starts for branch in tree.branches)


def length(tree: CoronaryTree) -> float:
    return sum(float(np.linalg.norm(np.diff(b.points, axis=0), axis=1).sum()) for b in tree.branches)


# ends and length in mm of ImageCAS's example label, by its skeleton without spurs (tests/benchmarks/variety.py)
@pytest.mark.parametrize(("side", "free", "mm"), [("left", 11, 381.0), ("right", 9, 410.0)])
def test_a_real_label_s_ends_and_length_lie_in_the_range(
    population: Population, side: Side, free: int, mm: float
) -> None:
    trees = population[side]
    count = [ends(tree) for tree in trees]
    assert inside(free, [float(n) for n in count])
    assert inside(mm, [length(tree) for tree in trees])
    assert np.percentile(count, 95) > 2.0 * np.percentile(count, 25)


@pytest.mark.parametrize("side", SIDES)
def test_a_real_label_s_volume_lies_in_the_range(
    population: Population, real_trees: dict[Side, NDArray[np.float64]], side: Side
) -> None:
    volumes = [len(tree.points) * 0.4**3 for tree in population[side]]
    real = len(real_trees[side]) * 0.33007812**2 * 0.5
    assert inside(real, volumes)
    assert max(volumes) > 3.0 * float(np.median(volumes)) / 2.0


def test_a_right_tree_may_reach_the_lateral_wall(population: Population) -> None:
    """ImageCAS's is 106 mm wide: from the right heart border to the left one; few are, and none as wide as a chest."""
    wide = [float(np.ptp(tree.points[:, 0])) for tree in population["right"]]
    assert inside(106.0, wide)
    assert np.percentile(wide, 75) < 90
    assert max(wide) < 140


def test_a_real_centreline_that_nothing_was_fitted_to_lies_in_the_range(population: Population, data_dir: Path) -> None:
    """721A (DBiharMesher): left main, LAD and one diagonal, with radii."""
    points, lines, radii = centrelines(data_dir / "coronary_tree_3d" / "721A_Centreline.vtk")
    stem, distal = (points[line] for line in lines[:2])
    trunk = np.concatenate([stem, distal[1:]])
    trees = [{b.name: b for b in tree.branches} for tree in population["left"]]
    lads = [np.concatenate([t["LM"].points, t["LAD"].points[1:]]) for t in trees if "LAD" in t]
    assert inside(way(trunk), [way(lad) for lad in lads])
    for mm in (20.0, 40.0, 60.0):
        at = np.array([np.linalg.norm(np.diff(trunk[:n], axis=0), axis=1).sum() for n in range(1, len(trunk) + 1)])
        assert inside(way(trunk[at < mm]) / chord(trunk[at < mm]), [bend(lad, mm) for lad in lads]), mm
    wide = [float(np.mean(np.concatenate([t["LM"].radii, t["LAD"].radii]))) for t in trees if "LAD" in t]
    steps = [np.linalg.norm(np.diff(points[line], axis=0), axis=1) for line in lines[:2]]  # they differ
    means = [0.5 * (radii[line][1:] + radii[line][:-1]) for line in lines[:2]]
    mean = float(np.average(np.concatenate(means), weights=np.concatenate(steps)))
    assert inside(mean, wide)


def way(points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def chord(points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(points[-1] - points[0]))


def bend(points: NDArray[np.float64], mm: float) -> float:
    """Length over chord of the first so many mm, points being half a mm apart."""
    part = points[: round(mm / 0.5) + 1]
    return way(part) / chord(part)


def centrelines(path: Path) -> tuple[NDArray[np.float64], list[list[int]], NDArray[np.float64]]:
    """Points, lines and radii of a legacy VTK file."""
    if not path.exists():
        pytest.skip(f"no real centreline at {path}")
    words = path.read_text().split()
    at = words.index("POINTS")
    points = np.array(words[at + 3 : at + 3 + 3 * int(words[at + 1])], float).reshape(-1, 3)
    at = words.index("LINES")
    rest, lines = [int(w) for w in words[at + 3 : at + 3 + int(words[at + 2])]], []
    while rest:
        lines.append(rest[1 : rest[0] + 1])
        rest = rest[rest[0] + 1 :]
    return points, lines, np.array(words[words.index("LOOKUP_TABLE") + 2 :], float)


def test_calibres_are_those_of_the_literature() -> None:
    """Dodge 1992, right-dominant: left main 4.5 (sd .5), right 3.9 (sd .6) mm; wider here for ectasia, body, label."""
    for side, mean, sd in (("left", 4.5, 0.5), ("right", 3.9, 0.6)):
        found = []
        for s in range(600):
            rng = stream(key(s), "variety")
            heart = Heart.draw(rng).varied(rng)
            if heart.dominance == "right":
                found.append(mean * heart.calibre * (heart.right_calibre if side == "right" else 1.0))
        low, median, high = np.percentile(found, [16, 50, 84])
        assert median == pytest.approx(mean, rel=0.07)
        assert sd <= 0.5 * (high - low) < 2.0 * sd


def test_a_reading_cuts_where_vessels_grow_fine_and_widens_the_fine_ones() -> None:
    rng = stream(key(3), "reading")
    healthy = grow(rng, Heart.draw(rng), "left")
    assert len(Reading(0.0, 0.0).label(healthy)) == len(healthy)
    labelled = Reading(0.7, 0.9).label(healthy)
    whole = {branch.name: branch for branch in healthy}
    assert 3 < len(labelled) < len(healthy) / 2
    for number, branch in enumerate(labelled):
        before = whole[branch.name]
        count = len(branch.radii)
        assert branch.points.tobytes() == before.points[:count].tobytes()
        assert branch.segments == before.segments[:count]
        assert before.radii[:count].min() >= 0.7
        assert count == len(before.radii) or before.radii[count] < 0.7
        np.testing.assert_allclose(branch.radii**2 - before.radii[:count] ** 2, 0.81, atol=1e-5)
        assert branch.parent < number
        if number:
            parent = labelled[branch.parent]
            assert parent.name == healthy[before.parent].name
            assert np.abs(parent.points - branch.points[0]).sum(axis=1).min() == 0.0  # it hangs on what is left of it
