"""Crops come from the right pictures at the right places."""

import numpy as np
import pytest

from lesionforge.jobs.tasks.realism import crops


def sample(edge=200):
    source, image = np.zeros((edge, edge), np.uint8), np.full((edge, edge), 9, np.uint8)
    mask = np.zeros((edge, edge), np.uint8)
    mask[150, 60:140] = 255  # the healthy vessel, 40 px and more from both boxes
    source[60, 100], image[100, 100] = 200, 250
    lesions = [
        {"synthetic": True, "measured_ds": 60.0, "mld_xy": [100.5, 100.5], "box": [90, 90, 105, 105]},
        {"synthetic": False, "mld_xy": None, "box": [90, 50, 111, 71]},
    ]
    meta = {"source_id": "f", "lesions": lesions}
    return {"image.png": image, "source.png": source, "source_mask.png": mask, "json": meta}


@pytest.fixture
def found():
    return crops.collect([sample(), sample()])


def test_each_kind_is_cut_where_it_lies(found):
    assert [len(found[kind].frames) for kind in ("generated", "before", "lesion", "healthy")] == [2, 2, 1, 2]
    reach = slice(crops.EDGE // 2 - 8, crops.EDGE // 2 + 8)
    assert (found["generated"].percent_ds == 60).all()
    assert np.isnan(found["before"].percent_ds).all()
    assert (found["generated"].pixels[:, reach, reach].max((1, 2)) == 250).all()
    assert found["before"].pixels.max() <= 200
    assert found["lesion"].pixels[0, reach, reach].max() == 200
    assert found["healthy"].pixels.max() == 0


def test_a_frame_without_a_real_lesion_gives_nothing():
    other = sample()
    other["json"] = {"source_id": "without", "lesions": other["json"]["lesions"][:1]}
    found = crops.collect([other, sample(), other])
    assert {kind: set(some.frames) for kind, some in found.items()} == {kind: {0} for kind in found}
    assert len(found["generated"].frames) == 1
