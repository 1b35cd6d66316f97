import math

import numpy as np
import pytest

from lesionforge.jobs.studies.task import Scored
from lesionforge.jobs.tasks.reconstruction.measures import TreeMeasures


def scored(subject, side, **scores):
    return Scored(subject, {"side": side, "scores": scores})


def test_means_over_subjects_of_means_over_their_pairs():
    measures = TreeMeasures(
        [
            scored("a", "right", dsc=0.2),
            scored("a", "right", dsc=0.4),  # a second sample of the tree
            scored("a", "left", dsc=0.9),
            scored("b", "right", dsc=0.7, tree=1.0),
            scored("c", "left", dsc=math.nan),
        ]
    )
    values = measures.values()
    assert values["right/dsc"] == pytest.approx((0.3 + 0.7) / 2)
    assert values["left/dsc"] == pytest.approx(0.9)
    assert values["right/tree"] == 1
    assert math.isnan(values["left/tree"])
    assert measures.held == {"right/dsc": 2, "right/tree": 1, "left/dsc": 1, "left/tree": 0}
    assert measures.values(np.array([2, 1, 5]))["right/dsc"] == pytest.approx((2 * 0.3 + 0.7) / 3)
    assert math.isnan(measures.values(np.array([0, 1, 1]))["left/dsc"])


def test_a_side_without_pairs_has_no_measures():
    measures = TreeMeasures([scored("a", "left", dsc=0.2)])
    assert measures.held == {"left/dsc": 1}
    assert measures.values() == {"left/dsc": 0.2}
