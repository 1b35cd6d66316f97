"""The short form of ``tests.benchmarks.lesion_truth``: the same second meter, on toys."""

from functools import cache

import numpy as np
import pytest

from lesionforge.generators.lesion.classes import PLAQUES, TUMOURS
from lesionforge.generators.lesion.generator import LesionGenerator
from tests.benchmarks import lesion_truth as truth
from tests.generators.lesion.toys import abdomen, spec, vessel


@cache
def made(lesion_class):
    background = vessel() if lesion_class in PLAQUES else abdomen()
    return truth.lesions(lesion_class, [background], 4)


@pytest.mark.parametrize("lesion_class", [*PLAQUES, *TUMOURS])
def test_a_second_meter_agrees(lesion_class):
    found, draws = made(lesion_class)
    assert len(found) == 4
    figures = truth.row(lesion_class, found, draws)
    assert figures["in_class"] == 1
    assert figures["hu_within"] == 1
    assert figures.get("volume_within", 1) == 1
    assert figures.get("ds_second", 0) <= truth.SLACK_DS  # on average: four lesions, a meter that counts voxels


def test_calcified_and_non_calcified_plaque_are_told_apart_by_hu():
    assert truth.separability(made("calcified")[0], made("non_calcified")[0]) == 1


def test_the_second_meter_sees_what_is_wrong():
    (sample,) = LesionGenerator(truth.PARAMS).generate([vessel()], [spec(1, "non_calcified")])
    right = truth.own_meter(sample)
    sample.fields["ct.delta.npy.zst"] = sample.fields["ct.delta.npy.zst"] + np.int16(200)
    assert truth.own_meter(sample)["hu"] == pytest.approx(right["hu"] + 200)
    label = sample.fields["label.npy.zst"]
    lesion = sample.labels["lesions"][0]
    sample.fields["label.npy.zst"] = np.where(label == lesion["label"], 4, label).astype(np.uint8)  # nothing narrowed
    sample.fields["label.npy.zst"][tuple(int(c) for c in lesion["centre_voxel"])] = lesion["label"]
    assert truth.own_meter(sample)["ds"] < right["ds"] - 10
