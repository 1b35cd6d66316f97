"""Frames from sources and from generated datasets."""

import numpy as np
import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace, read
from lesionforge.jobs.tasks.detection import frames
from lesionforge.jobs.tasks.detection.frames import labelled
from lesionforge.jobs.tasks.detection.task import Detection
from tests.jobs.tasks.detection import worlds
from tests.jobs.tasks.detection.worlds import HERE, TRAIN

REAL = DataPlace(f"{HERE}.ToySource:here", options=TRAIN)


def items(place):
    return read(Detection(), place if isinstance(place, DataPlace) else DataPlace(place)).items


def test_a_source_s_frames_keep_pixels_boxes_and_grades_but_no_mild_lesion():
    got = items(REAL)
    source = worlds.ToySource("here", worlds.ToyOptions(**TRAIN))
    assert len(got) == 12
    for number, frame in enumerate(got):
        case = source.read(number)
        assert np.array_equal(frame.image, case.image)
        kept = [lesion for lesion in case.lesions if lesion.severity_class != "mild"]
        assert frame.boxes.tolist() == [list(lesion.box) for lesion in kept]
        assert [frames.CLASSES[k] for k in frame.classes] == [lesion.severity_class for lesion in kept]
        assert not frame.drawn.any()
        assert frame.masked == (number % 8 != 7)


def test_a_source_of_something_else_is_refused():
    with pytest.raises(UsageError, match="CoronaryTree"):
        items("phantom:coronary")


def test_a_dataset_s_samples_tell_what_is_drawn_and_where_from(toy):
    got, real = items(toy), {frame.source_id: frame for frame in items(REAL)}
    assert len(got) == 48
    assert len({id(frame.source_image) for frame in got}) == 12  # kept once
    for frame in got:
        own = real[frame.source_id]
        assert frame.drawn.sum() == 1
        assert frames.CLASSES[frame.classes[frame.drawn][0]] == frame.target
        assert np.array_equal(frame.boxes[~frame.drawn], own.boxes)
        assert np.array_equal(frame.undrawn().image, own.image)
        x0, y0, x1, y1 = frame.boxes[frame.drawn][0].astype(int)
        assert frame.image[y0:y1, x0:x1].mean() < frame.source_image[y0:y1, x0:x1].mean() - 20
        outside = np.ones(frame.image.shape, bool)
        outside[y0:y1, x0:x1] = False
        assert np.array_equal(frame.image[outside], frame.source_image[outside])


def test_where_nobody_labelled_real_lesions_they_become_regions_to_ignore(toy):
    frame = next(frame for frame in items(toy) if len(frame.boxes) == 2)
    only = frame.only_drawn()
    assert only.drawn.tolist() == [True]
    assert np.array_equal(only.boxes, frame.boxes[frame.drawn])
    assert np.array_equal(only.ignore, frame.boxes[~frame.drawn])
    assert np.array_equal(Detection().alone([frame])[0].ignore, only.ignore)


def test_the_placebo_needs_the_source_image(tmp_path):
    frame = items(worlds.make_dataset(tmp_path, keep_source=False))[0]
    with pytest.raises(UsageError, match=r"source\.png"):
        frame.undrawn()


def test_a_lesion_nobody_graded_has_no_class():
    image = np.zeros((8, 8), np.uint8)
    lesion = {"box": [1, 1, 5, 5], "severity_class": None, "synthetic": False}
    assert labelled(image, [lesion], subject="s", source_id="i").classes.tolist() == [frames.UNGRADED]
