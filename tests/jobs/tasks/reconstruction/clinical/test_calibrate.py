"""What moved between two runs is found across the epipolar lines, and only there; moves are made on points in space."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from lesionforge.generators.biplane.generator import Biplane
from lesionforge.generators.biplane.params import BiplaneParams
from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import SampleSpec
from lesionforge.jobs.tasks.reconstruction.clinical.calibrate import Alignment, aligned, alignment
from lesionforge.jobs.tasks.reconstruction.pairs import pair_of_sample

EDGE = 256
MIDDLE = (EDGE - 1) / 2
FIRST = View(1050, 750, 30, 10, EDGE, EDGE, (0.56, 0.56))
SECOND = View(1070, 760, -35, 15, EDGE, EDGE, (0.56, 0.56))


def tree(seed: int) -> NDArray[np.float64]:
    """A bent trunk with branches: points (n, 3) in mm about the isocentre."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 300)[:, None]

    def curve(start: NDArray[np.float64], length: float) -> NDArray[np.float64]:
        a, b, c = rng.normal(size=(3, 3))
        bend = np.sin(np.pi * t) * a * 0.3 + np.sin(2 * np.pi * t) * b * 0.15
        return start + length * (t * c / np.linalg.norm(c) + bend)

    trunk = curve(np.zeros(3), 70)
    lines = [trunk, *(curve(trunk[k], 35) for k in (60, 130, 200, 260))]
    points = np.concatenate(lines)
    return points - (points.max(0) + points.min(0)) / 2


def seen(pixels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Vessels five pixels wide at pixel coordinates (n, 2)."""
    out = np.zeros((EDGE, EDGE), np.bool_)
    at = np.rint(pixels).astype(int)
    inside = ((at >= 0) & (at < EDGE)).all(1)
    out[tuple(at[inside].T)] = True
    return binary_dilation(out, iterations=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("scale", "shift"), [((1.0, 1.0), (0.0, 0.0)), ((0.9, 1.1), (8.0, -6.0)), ((1.15, 1.15), (-9.0, 5.0))]
)
def test_shift_and_scale_across_the_lines_are_found(scale: tuple[float, float], shift: tuple[float, float]) -> None:
    points = tree(3)
    true = SECOND.project(points)
    moved = MIDDLE + np.array(scale) * (true - MIDDLE) + shift
    found = alignment(FIRST, SECOND, seen(FIRST.project(points)), seen(moved))
    undone = MIDDLE + (moved - MIDDLE - found.shift_px) / np.array(found.scale)
    off = (undone - true) @ np.array(found.across)
    assert abs(off.mean()) < 1.5
    assert off.std() < 1.5
    assert found.covered > 0.97


def test_across_is_across_the_lines() -> None:
    """A point that moves along the first view's ray moves in the second along the line, and changes nothing across."""
    ray = np.linspace(-30, 30, 5)[:, None] * (FIRST.source_mm / FIRST.sod_mm)
    path = SECOND.project(ray)
    across = np.array(alignment(FIRST, SECOND, *(seen(v.project(tree(3))) for v in (FIRST, SECOND))).across)
    assert np.ptp(path @ across) < 0.02 * np.ptp(path @ np.array([-across[1], across[0]]))


def test_the_picture_is_brought_back_and_nothing_comes_in_over_the_border() -> None:
    points = tree(5)
    true = SECOND.project(points)
    moved = seen(MIDDLE + 0.85 * (true - MIDDLE) + [4.0, 0.0])
    back = Alignment((0.85, 0.85), (4.0, 0.0)).undone(moved)
    row, col = np.rint(true).astype(int).T
    assert back[row, col].mean() > 0.97
    full = np.ones((EDGE, EDGE), np.uint8)
    assert not Alignment((1.0, 1.0), (30.0, 0.0)).undone(full)[-30:].any()


def test_views_beyond_the_second_are_brought_to_the_first() -> None:
    points = tree(3)
    third = View(1040, 755, 0, -30, EDGE, EDGE, (0.56, 0.56))
    shadows = [seen(view.project(points) + move) for view, move in ((FIRST, 0), (SECOND, [5, 0]), (third, [0, -6]))]
    still, found = aligned((FIRST, SECOND, third), shadows)
    assert np.array_equal(still[0], shadows[0])
    assert found[0] == Alignment()
    for one, move in zip(found[1:], ([5, 0], [0, -6]), strict=True):
        across = np.array(one.across)
        assert abs(one.shift_px @ across - np.array(move) @ across) < 2


def test_a_moved_sample_is_calibrated_as_it_is_read_and_a_still_one_left() -> None:
    key = sha256(b"moved").digest()
    phantom = phantom_tree(key, "right", "moved", voxel_mm=0.8)
    spec = SampleSpec("train-0000-00000000", "train", 0, 0, 0, None, key)
    params = {"grid": 64, "resample": 32, "detector": 256, "spacing_mm": (1.6, 2.2), "motion_shift_px": (7, 10)}
    (still,), (moved,) = (
        Biplane(BiplaneParams(**params, motion=on)).generate([phantom], [spec]) for on in (False, True)
    )
    named = {"subject": "a", "source_id": "b", "sample_id": "c"}
    left, raw, mended = (
        pair_of_sample({**one.fields, "json": one.labels | named | {"motion": told}}, 32, "half")
        for one, told in ((still, None), (moved, None), (moved, moved.labels["motion"]))
    )
    assert all(map(np.array_equal, left.shadows, (still.fields[f"view{n}.png"] > 0 for n in (0, 1))))
    assert np.array_equal(mended.shadows[0], left.shadows[0])
    recall = [pair.hull[left.target].mean() for pair in (left, raw, mended)]
    assert recall[0] > 0.97
    assert recall[1] < 0.7 * recall[2]
