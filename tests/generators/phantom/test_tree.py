"""Whole trees: determinism, anatomy, size, connectivity; and likeness to a real tree."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.phantom.tree.coronary import coronary_tree, phantom_tree
from lesionforge.generators.phantom.tree.curve import STEP_MM
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import CoronaryTree, Side, stream

SIDES: tuple[Side, Side] = ("left", "right")
VOXEL_MM3 = 0.4**3


def names(tree: CoronaryTree) -> set[str]:
    return {name for branch in tree.branches for name in branch.segments}


@pytest.mark.parametrize("side", SIDES)
def test_same_key_same_bytes_other_key_other_tree(side: Side) -> None:
    first, again, other = (phantom_tree(k, side, "s", stenoses=2) for k in (b"key", b"key", b"other"))
    assert first.points.tobytes() == again.points.tobytes()
    assert first.source_id == again.source_id != other.source_id
    assert first.stenoses == again.stenoses
    for a, b in zip(first.branches, again.branches, strict=True):
        assert a.name == b.name
        assert a.segments == b.segments
        assert a.points.tobytes() == b.points.tobytes()
        assert a.radii.tobytes() == b.radii.tobytes()


@pytest.mark.parametrize("side", SIDES)
def test_global_random_state_is_neither_used_nor_touched(side: Side) -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tobytes()  # type: ignore[union-attr,index]  # noqa: NPY002
    first = phantom_tree(b"key", side, "s")
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[union-attr,index]  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert phantom_tree(b"key", side, "s").source_id == first.source_id


@pytest.mark.parametrize("side", SIDES)
def test_branches_are_well_formed(cohort, side: Side) -> None:
    for grown in cohort[side]:
        branches = grown.tree.branches
        assert len({branch.name for branch in branches}) == len(branches)
        for number, branch in enumerate(branches):
            assert len(branch.points) == len(branch.radii) == len(branch.segments)
            assert branch.parent < number
            steps = np.linalg.norm(np.diff(branch.points, axis=0), axis=1)
            assert 0.3 < steps.min() <= steps.max() < 1.2 * STEP_MM
            if number:
                gap = np.abs(branches[branch.parent].points - branch.points[0]).sum(axis=1)
                assert gap.min() == 0.0


@pytest.mark.parametrize("side", SIDES)
def test_courses_are_smooth(cohort, side: Side) -> None:
    """Hardly a bend above 40 degrees per mm (the crux turns sharply), none above 75."""
    worst = []
    for grown in cohort[side]:
        for branch in grown.tree.branches:
            t = np.diff(branch.points[::2], axis=0)
            t /= np.linalg.norm(t, axis=1)[:, None]
            worst.append(np.degrees(np.arccos(np.clip((t[1:] * t[:-1]).sum(axis=1), -1, 1))).max(initial=0.0))
    assert max(worst) < 75.0
    assert np.mean(np.array(worst) > 40.0) < 0.02


@pytest.mark.parametrize("side", SIDES)
def test_vessels_lie_on_the_heart(cohort, side: Side) -> None:
    """All but septals within 2.5 mm of the surface once past the aortic root's neighbourhood."""
    for grown in cohort[side]:
        for branch in grown.tree.branches:
            depth = grown.heart.depth(branch.points)
            if branch.name[0] == "S" and branch.name[1].isdigit():
                assert depth.max() > 5.0  # septals dive
            elif branch.name in ("LM", "RCA", "conus") or branch.name.startswith("RCA."):
                assert -2.5 < depth.min() <= depth.max() < 12.0
            else:
                assert np.abs(depth[len(depth) // 3 :]).max() < 2.6, branch.name


def test_dominance_frequencies() -> None:
    hearts = Counter(Heart.draw(stream(k.to_bytes(4, "little"), "h")).dominance for k in range(2000))
    assert hearts["right"] / 2000 == pytest.approx(0.8, abs=0.03)
    assert hearts["left"] / 2000 == pytest.approx(0.1, abs=0.025)
    assert hearts["co"] / 2000 == pytest.approx(0.1, abs=0.025)


def test_segments_named_as_in_syntax(cohort) -> None:
    for grown in cohort["left"]:
        assert {"5", "6", "7", "8", "9", "11", "13"} <= names(grown.tree)
        assert ("15" in names(grown.tree)) == (grown.heart.dominance == "left")
        assert not names(grown.tree) & {"1", "2", "3", "4", "16"}
    for grown in cohort["right"]:
        found, dominance = names(grown.tree), grown.heart.dominance
        assert {"1", "2", "3"} <= found
        assert ("4" in found) == (dominance != "left")
        assert ("16" in found) == (dominance != "left")
        assert not found & {"5", "6", "11", "15"}


def test_sides_share_the_heart_and_lie_where_they_should(cohort) -> None:
    for left, right in zip(cohort["left"], cohort["right"], strict=True):
        assert left.tree.notes["dominance"] == right.tree.notes["dominance"]
        assert right.tree.points[:, 0].mean() < left.tree.points[:, 0].mean()  # LPS: +x is left
        lad = next(branch for branch in left.tree.branches if branch.name == "LAD")
        down = lad.points[-1] - lad.points[0]
        assert down[2] < -30.0  # towards the feet
        assert lad.points[:, 1].min() < lad.points[0, 1] - 20.0  # by way of the front
        assert lad.points[:, 0].max() > lad.points[0, 0] + 10.0  # to the left
        rca = next(branch for branch in right.tree.branches if branch.name == "RCA")
        assert rca.points[:, 0].min() < rca.points[0, 0] - 20.0  # round the right border


@pytest.mark.parametrize("side", SIDES)
def test_one_component(cohort, side: Side) -> None:
    for grown in cohort[side]:
        index = np.rint(grown.tree.points / 0.4).astype(int)
        grid = np.zeros(np.ptp(index, axis=0) + 1, dtype=bool)
        grid[tuple((index - index.min(axis=0)).T)] = True
        assert ndimage.label(grid, np.ones((3, 3, 3)))[1] == 1


@pytest.mark.parametrize(
    ("side", "volume", "length", "diameter"),
    [("left", (900, 4500), (400, 1200), (3.4, 6.0)), ("right", (700, 4000), (300, 900), (2.5, 5.4))],
)
def test_sizes(cohort, side: Side, volume, length, diameter) -> None:
    """Wide ranges around the real tree and Dodge's calibres; a non-dominant right tree is small."""
    volumes = []
    for grown in cohort[side]:
        branches = grown.tree.branches
        total = sum(float(np.linalg.norm(np.diff(b.points, axis=0), axis=1).sum()) for b in branches)
        small = side == "right" and grown.heart.dominance == "left"
        if small:
            assert 150 < len(grown.tree.points) * VOXEL_MM3 < 900
            continue
        volumes.append(len(grown.tree.points) * VOXEL_MM3)
        assert volume[0] < volumes[-1] < volume[1]
        assert length[0] < total < length[1]
        assert diameter[0] < 2 * branches[0].radii[0] < diameter[1]
        extent = np.ptp(grown.tree.points, axis=0)
        assert (extent > 45.0).all()
        assert (extent < 125.0).all()
        ends = [b.radii[-1] for b in branches if b.name not in ("LM", "RCA", "LCx")]
        assert 0.35 <= min(ends) <= max(ends) < 1.0
    assert 1300 < np.mean(volumes) < 3500


@pytest.mark.parametrize("side", SIDES)
def test_mean_diameters_are_those_of_the_literature(cohort, side: Side) -> None:
    """Dodge 1992: left main 4.5, LAD 3.7, circumflex 3.4, right 3.9 mm; sd about 0.5."""
    wanted = {"left": {"LM": 4.5, "LAD": 3.6, "LCx": 3.4}, "right": {"RCA": 3.9}}[side]
    for name, mean in wanted.items():
        found = [
            2.0 * branch.radii[0]
            for grown in cohort[side]
            if grown.heart.dominance == "right"
            for branch in grown.tree.branches
            if branch.name == name
        ]
        assert np.mean(found) == pytest.approx(mean, abs=0.35)
        assert 0.15 < np.std(found) < 0.7


@pytest.mark.parametrize("side", SIDES)
def test_like_the_real_tree(cohort, real_trees, side: Side) -> None:
    """Extents and volume of the ImageCAS example lie in, or just beyond, the cohort's range.

    Its right tree is superdominant (segment 16 reaches the lateral wall) and 5.6 mm wide, hence the margins; CT
    labels draw small vessels too wide (median radius 1.4 mm) and leave out those under 1 mm.
    """
    real = real_trees[side]
    extents = np.array([np.ptp(g.tree.points, axis=0) for g in cohort[side] if g.heart.dominance != "left"])
    assert (np.ptp(real, axis=0) < extents.max(axis=0) * 1.15).all()
    assert (np.ptp(real, axis=0) > extents.min(axis=0) * 0.85).all()
    volume = len(real) * 0.33007812**2 * 0.5
    largest = max(len(g.tree.points) for g in cohort[side]) * VOXEL_MM3
    assert 0.4 < largest / volume < 1.2


def test_a_given_heart_is_used() -> None:
    heart = Heart.draw(stream(b"one", "heart"))
    branches, _ = coronary_tree(stream(b"two", "tree"), "left", heart=heart)
    depth = heart.depth(next(b for b in branches if b.name == "LAD").points)
    assert np.abs(depth).max() < 2.6
