"""Boxes followed through films whose motion is known."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.runs import HeldFilm, Run
from lesionforge.jobs.tasks.track import tracker
from lesionforge.jobs.tasks.track.measure import NAMES, Path, Scores, followed
from lesionforge.jobs.tasks.track.tracker import follow

SIDE, COUNT = 256, 17
BOX = (110.0, 100.0, 140.0, 124.0)


def shift(n):
    """Of frame n in pixels (x, y): a beat of 14 frames, 10 and 6 pixels to either side."""
    phase = 2 * np.pi * n / 14
    return round(10 * np.sin(phase)), round(6 * (1 - np.cos(phase)))


def film(seed=0, fading=False):
    """A branching vessel moves over a background that stands still, in grain of its own on every frame."""
    rng = np.random.default_rng(seed)
    back = ndimage.gaussian_filter(rng.normal(0, 60, (SIDE, SIDE)), 20) + 150
    lines = np.zeros((SIDE, SIDE))
    t = np.arange(-90, 90)
    lines[(112 + 8 * np.sin(t / 17)).astype(int), 125 + t] = 1
    lines[112 - np.arange(60), (125 + np.arange(60) * 0.6).astype(int)] = 1
    tubes = ndimage.gaussian_filter(lines, 2.0) * 5
    frames = []
    for n in range(COUNT):
        x, y = shift(n - COUNT // 2)
        amount = 1 - 0.6 * abs(n - COUNT // 2) / COUNT if fading else 1
        own = back * np.exp(-amount * np.roll(tubes, (y, x), (0, 1))) + rng.normal(0, 3, (SIDE, SIDE))
        frames.append(own.clip(0, 255).astype(np.uint8))
    return HeldFilm(frames)


def true(n):
    x, y = shift(n - COUNT // 2)
    return (BOX[0] + x, BOX[1] + y, BOX[2] + x, BOX[3] + y)


def run(subject="a", **named):
    """One lesion, out of sight on frame 3; frame 0 is before contrast."""
    labels = [
        {
            "phase": "before" if n == 0 else "full",
            "boxes": [{"stenosis": 0, "box": list(true(n)), "visible": n != 3}],
        }
        for n in range(COUNT)
    ]
    return Run(subject, subject, film(**named), begin=1, end=COUNT - 1, frames=labels, stenoses=[{"percent_ds": 80}])


@pytest.mark.parametrize("fading", [False, True])
def test_the_template_goes_with_the_vessel_and_not_with_the_background(fading):
    found = dict(follow("template", film(fading=fading), COUNT // 2, BOX, range(COUNT)))
    assert sorted(found) == [n for n in range(COUNT) if n != COUNT // 2]
    for n, box in found.items():
        assert np.abs(np.subtract(box, true(n))).max() <= 1.5, n


def test_a_box_at_the_border_stays_in_reach_and_does_not_fail():
    for corner in ((0, 0), (SIDE - 20, SIDE - 12)):
        box = (*corner, corner[0] + 20, corner[1] + 12)
        for _, (x0, y0, _, _) in follow("template", film(), 3, box, range(6)):
            assert -60 < x0 < SIDE + 60
            assert -60 < y0 < SIDE + 60


def test_csrt_is_opencv_s_where_it_is_and_else_says_what_to_install():
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "TrackerCSRT_create"):
        assert "csrt" not in tracker.there()
        with pytest.raises(UsageError, match="opencv-contrib-python"):
            dict(follow("csrt", film(), 8, BOX, range(COUNT)))
        return
    found = dict(follow("csrt", film(), COUNT // 2, BOX, range(COUNT)))
    assert np.mean([np.abs(np.subtract(box, true(n))).max() for n, box in found.items()]) < 8


def test_scores_of_a_box_that_stands_still_are_those_of_its_shift():
    """Two equal boxes of a x b shifted by (x, y): (a - x)(b - y) over 2ab less that."""
    (path,) = followed(run(), "still")
    reference = [n for n in range(1, COUNT) if n != 3][15 // 2]
    assert sorted(path.away.tolist()) == sorted(abs(n - reference) for n in range(1, COUNT) if n not in (3, reference))
    a, b = BOX[2] - BOX[0], BOX[3] - BOX[1]
    x0, y0 = shift(reference - COUNT // 2)
    wanted, far = [], []
    for n in (n for n in range(1, COUNT) if n not in (3, reference)):
        x, y = (abs(p - q) for p, q in zip(shift(n - COUNT // 2), (x0, y0), strict=True))
        both = max(a - x, 0) * max(b - y, 0)
        wanted.append(both / (2 * a * b - both))
        far.append(2 * np.hypot(x, y))  # pixels of 512 in a frame of 256
    values = path.values()
    assert values["iou"] == pytest.approx(np.mean(wanted))
    assert values["kept_50"] == pytest.approx(np.mean(np.array(wanted) >= 0.5))
    assert values["centre_px"] == pytest.approx(np.mean(far))
    (moved,) = followed(run(), "template")
    assert moved.values()["iou"] > 0.85 > values["iou"]


def test_lesions_count_alike_and_subjects_as_often_as_they_are_drawn():
    def path(subject, iou):
        n = len(iou)
        return Path(subject, np.arange(1, n + 1), np.array(iou), np.zeros(n))

    scores = Scores([path("a", [1.0] * 9), path("a", [0.0]), path("b", [0.4, 0.2])])
    assert scores.values()["iou"] == pytest.approx((1 + 0 + 0.3) / 3)
    assert scores.values(np.array([0.0, 2.0]))["iou"] == pytest.approx(0.3)
    assert scores.values()["iou_8"] == 1
    assert scores.held == dict.fromkeys(NAMES, 2) | {"iou_2": 2, "iou_4": 1, "iou_8": 1}


def test_a_run_that_never_shows_its_lesion_gives_nothing():
    hidden = [{"phase": "full", "boxes": []}] * COUNT
    assert followed(Run("a", "a", film(), begin=0, end=COUNT - 1, frames=hidden, stenoses=[{}]), "still") == []
