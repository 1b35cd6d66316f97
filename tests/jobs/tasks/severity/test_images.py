"""Which frames of a run are graded, and what their truth is."""

from dataclasses import replace

import numpy as np

from lesionforge.generators.types import Angiogram, Lesion
from lesionforge.jobs.tasks import runs
from lesionforge.jobs.tasks.severity.images import Choice, images, spread
from lesionforge.jobs.tasks.severity.task import Severity
from tests.jobs.tasks.severity.worlds import run

CHOICE = Choice((25.0,), 5, 5)


def test_full_frames_are_graded_and_those_before_the_contrast_are_redundant():
    got = images(run(60.0), CHOICE)
    assert list(got.full) == [4, 5, 6, 7]
    assert list(got.empty) == [0, 1, 2]
    assert got.grades.tolist() == [1] * 4
    assert (got.artery, got.view, got.artery_grade) == ("LCA", "LCA-LAO-CRA", 1)
    assert images(run(20.0), CHOICE).grades.tolist() == [0] * 4
    assert list(got.without_redundancy().empty) == []
    assert list(images(run(60.0), replace(CHOICE, redundant=0)).empty) == []


def test_what_a_view_hides_is_the_artery_s_and_not_the_image_s():
    got = images(run(60.0, visible=False), CHOICE)
    assert got.grades.tolist() == [0] * 4
    assert got.artery_grade == 1
    assert [len(box) for box in got.boxes] == [0] * 4


def test_frames_are_taken_evenly():
    assert spread(range(10, 20), 5) == [11, 13, 15, 17, 19]
    assert spread(range(3), 5) == [0, 1, 2]
    assert spread(range(9), 1) == [4]
    assert spread(range(9), 0) == []


def test_a_run_that_never_fills_has_no_image():
    got = images(replace(run(60.0), begin=None, end=None), CHOICE)
    assert not got.known
    assert len(got.empty) == 0


def test_views_are_the_papers():
    of = {(30, 20): "LCA-LAO-CRA", (30, -20): "LCA-LAO-CAU", (-30, 20): "LCA-RAO-CRA", (-30, -20): "LCA-RAO-CAU"}
    assert {angles: images(run(angles=angles), CHOICE).view for angles in of} == of
    assert images(run(side="right"), CHOICE).view == "RCA"
    assert images(replace(run(), angles=None), CHOICE).view is None


def test_a_frame_of_a_source_is_a_run_of_one_in_pixels_of_512():
    image = np.full((256, 128), 150, np.uint8)
    lesions = (
        Lesion((10, 20, 30, 40), "severe"),
        Lesion((50, 60, 70, 80), "moderate", 55.0),
        Lesion((0, 0, 5, 5), "mild"),
    )
    got = Severity("50/70").item_of_case(Angiogram("p", "i", "none", image, lesions=lesions))
    assert got.grades.tolist() == [2]
    assert got.boxes[0].tolist() == [[20, 40, 60, 80], [100, 120, 140, 160]]
    assert np.array_equal(got.percents[0], [np.nan, 55], equal_nan=True)
    assert (got.artery, len(got.empty)) == (None, 0)
    empty = images(runs.of_case(Angiogram("p", "i", "none", image)), CHOICE)
    assert empty.grades.tolist() == [0]
