from dataclasses import replace

import numpy as np
import pytest

from lesionforge.generators.angio_ct.lumen import narrowed_tree
from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import BadCase
from tests.generators.lesion.toys import abdomen, spec, vessel


def test_the_open_lumen_as_a_tree_in_patient_coordinates():
    volume = vessel()
    (sample,) = LesionGenerator(LesionParams(size=48, plaques=(1, 1))).generate([volume], [spec(1, "non_calcified")])
    label, (lesion,) = sample.fields["label.npy.zst"], sample.labels["lesions"]
    tree = narrowed_tree(volume, label, sample.drawn["corner"], [lesion], "right")
    voxels = np.rint((tree.points - np.array(volume.origin_mm)) / volume.spacing_mm).astype(int)
    assert (volume.labels[tuple(voxels.T)] == 1).all()
    # What is gone from the lumen is what became plaque.
    i, j, k = sample.drawn["corner"]
    n0, n1, n2 = label.shape
    was = volume.labels[i : i + n0, j : j + n1, k : k + n2] == 1
    gone = (was & (label == VALUE["non_calcified"])).sum()
    assert gone > 50
    assert len(tree.points) == (volume.labels == 1).sum() - gone
    (stenosis,) = tree.stenoses
    assert stenosis.percent_ds == lesion["measured_ds"]
    assert np.sqrt(((tree.points - np.array(stenosis.point)) ** 2).sum(axis=1)).min() < 2
    assert tree.side == "right"


def test_sides_are_told_apart_where_the_label_does():
    volume = vessel()
    labels = volume.labels.copy()
    labels[:2] = 2
    both = replace(volume, labels=labels, legend={1: "coronary_left", 2: "coronary_right"})
    empty = np.full((2, 2, 2), VALUE["coronary"], np.uint8)
    left = narrowed_tree(both, empty, (20, 20, 20), [], "left")
    assert len(left.points) == (labels[tuple([slice(None)] * 3)] == 1).sum()
    with pytest.raises(BadCase, match="no left coronary"):
        narrowed_tree(abdomen(), empty, (0, 0, 0), [], "left")
