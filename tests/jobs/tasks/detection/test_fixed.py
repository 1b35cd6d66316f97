"""Scores at one confidence, against cases reckoned by hand and a slow count."""

import numpy as np
import pytest

from lesionforge.jobs.tasks.detection.fixed import NAMES, AtConfidence
from lesionforge.jobs.tasks.detection.metrics import Scores, match
from tests.jobs.tasks.detection.worlds import found, frame, random_world


def values(frames, said, confidence=0.5, weights=None):
    return AtConfidence(frames, said, confidence).values(weights)


def test_every_score_of_a_case_by_hand():
    far = [300, 300, 340, 340]
    frames = [
        frame(
            [[0, 0, 30, 30], [100, 100, 130, 130]], [0, 1], subject="a"
        ),  # best misses, second and third hit, one twice
        frame(
            [[0, 0, 30, 30]], [0], subject="b", ignore=[[200, 0, 230, 30]]
        ),  # one that is not looked at, a hit; five others, of which four count
        frame([[0, 0, 30, 30]], [0], subject="c"),  # only a doubtful box
        frame([], [], subject="d"),  # healthy: two boxes
        frame([], [], subject="e"),  # healthy: none
        frame([], [], subject="f", ignore=[far]),  # hidden lesion, the box lies on it
    ]
    said = [
        found(
            [far, [3, 4, 33, 34], [100, 100, 130, 130], [101, 100, 131, 130]],
            [[0.5, 0.4], [0.8, 0], [0.7, 0], [0.6, 0]],
        ),
        found([[200, 0, 230, 30], [0, 0, 30, 30], *[far] * 5], [[0.98, 0], [0.95, 0], *[[0.6, 0]] * 5]),
        found([[0, 0, 30, 30]], [[0.2, 0.25]]),
        found([far, [0, 0, 30, 30]], [[0.6, 0]] * 2),
        found(),
        found([far], [[0.9, 0]]),
    ]
    gap = np.hypot(205, 205)  # of far's centre from the nearest lesion's; of frame b 305
    assert values(frames, said) == pytest.approx(
        {
            "at_least_one": 2 / 3,
            "recall_1_frames": 1 / 3,
            "recall_1": 1 / 4,
            "recall_5": 3 / 4,
            "precision_1": 1 / 2,
            "precision_5": 3 / 9,
            "centre_px": (gap + 5 + 0 + 1 + 4 * np.hypot(305, 305)) / 9,
            "fp_healthy": 2 / 2,
        }
    )
    held = Scores(frames, said).held
    assert [held[name] for name in NAMES] == [3] * 7 + [2]


@pytest.mark.parametrize(("side", "shift", "hit"), [(30, 19.9, True), (30, 20.1, False)])
def test_two_squares_two_thirds_apart_have_an_iou_of_a_fifth(side, shift, hit):
    said = found([[shift, 0, shift + side, side]], [[0.9, 0]])
    assert values([frame([[0, 0, side, side]], [0])], [said])["recall_1"] == hit


def test_five_boxes_find_no_less_than_one_and_agree_with_the_curve():
    frames, said = random_world(np.random.default_rng(5))
    for confidence in (0.2, 0.5, 0.9):
        own = values(frames, said, confidence)
        assert own["recall_5"] >= own["recall_1"]
        assert own["at_least_one"] >= own["recall_1_frames"]
    few = [found(s.boxes[np.argsort(-s.scores.sum(1))[:5]], s.scores[np.argsort(-s.scores.sum(1))[:5]]) for s in said]
    curve = match(frames, few, 0.2)
    sure = curve.scores >= 0.5
    assert values(frames, said)["recall_5"] == pytest.approx((curve.grade[sure] > -2).sum() / curve.total.sum())


def test_a_weight_counts_as_often_as_the_frame_would():
    frames, said = random_world(np.random.default_rng(6), frames=12)
    times = np.arange(12) % 3
    again = [i for i, n in enumerate(times) for _ in range(n)]
    twice = values([frames[i] for i in again], [said[i] for i in again])
    assert values(frames, said, weights=times.astype(float)) == pytest.approx(twice)


def test_nothing_found_has_a_recall_and_no_precision():
    own = values([frame([[0, 0, 9, 9]], [0])], [found()])
    assert own["recall_5"] == 0
    assert np.isnan([own["precision_1"], own["centre_px"], own["fp_healthy"]]).all()
