"""From how likely each frame is to one interval; time in phases and back; the paper's errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionforge.jobs.tasks.frames.interval import decoded, frame_f1, phased, scores, unphased
from tests.jobs.tasks.cine import contrast


def best(likely, threshold):
    """By trying every interval."""
    gain = np.asarray(likely) - threshold
    sums = {(a, b): gain[a : b + 1].sum() for a in range(len(gain)) for b in range(a, len(gain))}
    top = max(sums.values())
    return top, sums


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_interval_is_the_best_of_all(likely):
    top, sums = best(likely, 0.5)
    found = decoded(np.array(likely))
    assert (found is None) == (top <= 0) or abs(top) < 1e-12
    if found is not None:
        assert sums[found] == pytest.approx(top, abs=1e-12)


@pytest.mark.parametrize(("begin", "end"), [(8, 20), (8, 29), (0, 20), (0, 29), (12, 12)])
def test_a_trapezoid_is_decoded_exactly_and_under_noise_nearly(begin, end):
    """Full is above .5 + what lies between full and a third on the ramp: the ramp's frames at 2/3 and 1/3 are out."""
    curve = contrast(30, begin, end)
    assert decoded(curve, 0.9) == (begin, end)
    rng = np.random.default_rng(3)
    for _ in range(50):
        found = decoded(curve + rng.normal(0, 0.05, 30), 0.84)
        assert found is not None
        assert abs(found[0] - begin) <= 1
        assert abs(found[1] - end) <= 1


def test_a_lost_frame_does_not_cut_the_interval_and_an_odd_one_adds_none():
    likely = np.array([0, 0.9, 0, 0, 0, 1, 1, 1, 0.2, 1, 1, 1, 0, 0])
    assert decoded(likely) == (5, 11)
    assert decoded(np.full(5, 0.4)) is None
    assert decoded(np.full(5, 1.0)) == (0, 4)
    assert decoded(np.array([0.7])) == (0, 0)


@pytest.mark.parametrize("frames", [1, 2, 19, 64, 65, 200])
def test_phases_and_back_move_an_end_by_no_more_than_half_a_phase(frames):
    phase = (frames - 1) / 63
    for begin in range(0, frames, max(1, frames // 7)):
        for end in (frames - 1, (begin + frames) // 2):
            truth = np.zeros(frames)
            truth[begin : end + 1] = 1
            found = decoded(unphased(phased(truth, 64), frames))
            assert found is not None
            assert max(abs(found[0] - begin), abs(found[1] - end)) <= phase / 2 + 1e-9
    line = np.arange(frames, dtype=float)[:, None] * [1.0, 2.0]
    assert np.allclose(phased(line, 64)[:, 1], np.linspace(0, 2 * (frames - 1), 64))


def test_the_papers_errors():
    assert scores((5, 20), (8, 17), 30) == {
        "begin_error": 3, "end_error": 3, "accepted": 1, "failed": 0, "f1": pytest.approx(2 * 10 / 26),
    }  # fmt: skip
    assert scores((5, 20), (8, 16), 30)["accepted"] == 0  # 3.5 frames
    assert scores((5, 20), (15, 10), 30)["failed"] == 1
    missed = scores((5, 20), None, 30)
    assert (missed["begin_error"], missed["failed"], missed["f1"]) == (30, 1, 0)
    assert scores(None, (1, 2), 9) == {"false": 1}
    assert scores(None, None, 9) == {"false": 0}
    assert frame_f1((0, 9), (0, 9)) == 1
    assert frame_f1((0, 3), (6, 9)) == 0
