from dataclasses import replace

import numpy as np
import pytest

from lesionforge.generators.angio_ct.lumen import LabelledLumen, sided
from lesionforge.generators.types import BadCase
from tests.generators.angio_ct.toys import chest, plain
from tests.generators.lesion.toys import abdomen, vessel


def test_a_label_of_both_trees_is_parted_by_where_they_lie():
    known, both = chest(), plain()
    found = sided(both)
    values = {name: value for value, name in found.legend.items()}
    for side, value in (("left", 1), ("right", 2)):
        assert np.array_equal(found.labels == values[f"coronary_{side}"], known.labels == value)
    assert (both.labels == 1).sum() == (known.labels > 0).sum()  # the case itself is untouched
    assert sided(known) is known


def test_a_place_belongs_to_the_nearest_lumen():
    volume = chest()
    for side, value in (("left", 1), ("right", 2)):
        voxel = np.argwhere(volume.labels == value)[100]
        place = voxel * volume.spacing_mm + np.array(volume.origin_mm) + 0.3
        assert LabelledLumen(volume).side_at(place.tolist()) == side


def test_what_cannot_be_parted_says_why():
    with pytest.raises(BadCase, match="no coronary label"):
        sided(abdomen())
    with pytest.raises(BadCase, match="touch, or one is missing"):
        sided(vessel())
    stacked = plain()
    labels = np.zeros_like(stacked.labels)
    labels[20:24, 20:24, 5:50] = labels[20:24, 20:24, 60:100] = 1
    with pytest.raises(BadCase, match=r"0\.0 mm apart"):
        sided(replace(stacked, labels=labels))
    with pytest.raises(BadCase, match="labels are empty"):
        LabelledLumen(replace(chest(), labels=np.zeros_like(chest().labels))).side_at([0, 0, 0])
    with pytest.raises(BadCase, match="is empty"):
        sided(replace(stacked, labels=np.zeros_like(labels)))
