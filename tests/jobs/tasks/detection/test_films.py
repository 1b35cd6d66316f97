"""Frames of runs: which are taken, what is labelled in them, and the arms that they are for."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.detection.arms import Arm, training_set
from lesionforge.jobs.tasks.detection.films import frame_of, frames_of
from lesionforge.jobs.tasks.detection.task import Detection
from lesionforge.jobs.tasks.runs import HeldFilm, Run

PHASES = ["before"] * 6 + ["filling"] * 2 + ["full"] * 10 + ["washout"] * 2
STENOSES = (
    {"severity_class": "severe", "percent_ds": 80.0},
    {"severity_class": "mild", "percent_ds": 30.0},
    {"severity_class": "occluded", "percent_ds": 100.0},
)


def run(stenoses=STENOSES, subject="a", hidden=()):
    boxes = [
        {"stenosis": k, "box": [10.0 * k, 5, 10.0 * k + 8, 13], "visible": k not in hidden}
        for k in range(len(stenoses))
    ]
    pictures = [np.full((64, 64), n, np.uint8) for n in range(len(PHASES))]
    labels = [{"phase": phase, "contrast": 0.5, "boxes": boxes} for phase in PHASES]
    return Run(
        subject,
        subject,
        HeldFilm(pictures),
        begin=8,
        end=17,
        frames=labels,
        stenoses=stenoses,
        sample_id=f"{subject}-0",
    )


def numbers(frames, kind):
    return [int(f.image[0, 0]) for f in frames if f.kind == kind]


def test_frames_are_spread_over_full_contrast_and_over_none():
    got = frames_of(run(), 3, False)
    assert numbers(got, "full") == [9, 13, 16]
    assert numbers(got, "bare") == [1, 3, 5]
    assert {f.subject for f in got} == {"a"}
    for one in got[:3]:
        assert one.boxes.tolist() == [[0, 5, 8, 13], [20, 5, 28, 13]]  # the mild one is background
        assert one.classes.tolist() == [1, 1]
        assert one.drawn.all()
    assert not any(len(f.boxes) for f in got[3:])


def test_what_a_frame_does_not_show_is_neither_found_nor_missed_there():
    (one,) = (f for f in frames_of(run(hidden=(0, 1)), 1, False) if f.kind == "full")
    assert one.boxes.tolist() == [[20, 5, 28, 13]]
    assert one.ignore.tolist() == [[0, 5, 8, 13]]
    assert not numbers(frames_of(run(hidden=(0, 1, 2)), 3, False), "full")


def test_what_does_not_show_as_a_significant_narrowing_is_left_aside():
    """A severe lesion seen on its broad side, and a mild one on its narrow side."""
    plain = run()
    boxes = [dict(box, percent_ds=p) for box, p in zip(plain.frames[9]["boxes"], (40, 60, 97), strict=True)]
    one = frame_of(replace(plain, frames=[{"phase": "full", "boxes": boxes}] * 20), 9, False)
    assert one.boxes.tolist() == [[20, 5, 28, 13]]
    assert one.ignore.tolist() == [[0, 5, 8, 13], [10, 5, 18, 13]]


def test_squares_are_as_wide_as_digda_s_about_the_same_middle():
    lesion = {"severity_class": "severe", "percent_ds": 80.0, "reference_mm": 3.0}
    whole = replace(run((lesion,)), pixel_mm=(0.3, 0.3))
    film = HeldFilm([np.zeros((512, 512), np.uint8)] * len(PHASES))
    (box,) = frame_of(replace(whole, film=film), 9, True).boxes
    assert box.tolist() == [4 - 23.5, 9 - 23.5, 4 + 23.5, 9 + 23.5]  # 21 + 2.6 x 10 px


def test_a_run_with_mild_lesions_alone_is_healthy_and_one_without_labels_gives_nothing():
    assert numbers(frames_of(run(STENOSES[1:2]), 2, False), "healthy") == [10, 15]
    assert frames_of(Run("x", "x", HeldFilm([np.zeros((9, 9), np.uint8)])), 3, False) == []


@pytest.mark.parametrize(
    ("arm", "kinds"), [("real", {}), ("BG", {"bare": 6}), ("NL", {"healthy": 3}), ("BGNL", {"bare": 6, "healthy": 3})]
)
def test_an_arm_adds_its_kind_of_negatives_in_the_same_share(arm, kinds):
    """Half of the 12 frames with lesions go with half of the negatives."""
    pool = [f for k in range(4) for f in frames_of(run(subject=f"s{k}"), 3, False)]
    pool = [f for f in pool if f.kind == "full"] + [f for f in pool if f.kind == "bare"][:12]
    pool += [f for k in range(2) for f in frames_of(run((), subject=f"h{k}"), 3, False) if f.kind == "healthy"]
    got = training_set(Arm.parse(arm), 6, 0, pool, [], 0.5)
    named = [f.kind for f in got.real]
    assert {kind: named.count(kind) for kind in set(named)} == {"full": 6, **kinds}
    with_lesions = [f for f in got.real if f.kind == "full"]
    assert with_lesions == training_set(Arm.parse("real"), 6, 0, pool, [], 0.5).real
    assert Detection().data_of_arm(arm, []) is None


def test_an_arm_without_its_frames_says_so():
    pool = [f for f in frames_of(run(), 3, False) if f.kind == "full"]
    with pytest.raises(UsageError, match="no frame is healthy"):
        training_set(Arm.parse("NL"), None, 0, pool, [], 0.5)
