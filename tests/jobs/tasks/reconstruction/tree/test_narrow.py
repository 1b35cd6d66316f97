"""Percent diameter stenosis along a branch, against the one that was built into a phantom."""

import numpy as np
import pytest

from lesionforge.generators.types import Branch
from lesionforge.jobs.tasks.reconstruction.tree.narrow import healthy_diameter, narrowings
from tests.jobs.tasks.reconstruction.tree.conftest import PERCENT_DS


def test_a_narrowing_is_found_where_it_is_and_as_narrow_as_it_is(known):
    found = known.tree.narrowings[0]
    assert found.percent_ds == pytest.approx(PERCENT_DS, abs=8)
    assert np.linalg.norm(np.array(found.point) - known.narrow_mm) < 1.5
    assert found.mld_mm == pytest.approx(2 * known.branches[0].radii[80], abs=0.3)  # a pixel and a half
    assert found.segment == "main"
    along = known.tree.percent_ds(0)
    assert along.max() == pytest.approx(found.percent_ds)
    assert min(along) == 0


def test_a_healthy_tree_has_none(healthy):
    assert healthy.tree.narrowings == ()


def test_the_reference_of_a_taper_is_the_taper():
    s = np.arange(0, 60, 0.4)
    taper = 1.6 - 0.01 * s
    narrow = taper * (1 - 0.5 * np.exp(-(((s - 30) / 3) ** 2)))
    branch = Branch("main", np.stack([s, 0 * s, 0 * s], 1), narrow, ("",) * len(s))
    sure = np.ones(len(s), bool)
    reference = healthy_diameter(branch, 0.0, sure)
    assert np.abs(reference - 2 * taper).max() < 0.12
    (found,) = narrowings(branch, reference, 0.0)
    assert found.percent_ds == pytest.approx(50, abs=2)
    assert found.point[0] == pytest.approx(30, abs=0.5)
    assert narrowings(branch, reference, 32.0) == []  # healthy lumen on one side alone


def test_a_stump_and_a_branch_of_which_little_is_sure_have_a_reference_that_can_be():
    stump = Branch("1", np.array([[0.0, 0, 0], [0.4, 0, 0]]), np.array([0.6, 0.5]), ("", ""))
    assert healthy_diameter(stump, 3.0, np.ones(2, bool)).tolist() == [1.2, 1.0]
    s = np.arange(0, 80, 0.4)
    branch = Branch("1", np.stack([s, 0 * s, 0 * s], 1), 2 - 0.02 * s, ("",) * len(s))
    reference = healthy_diameter(branch, 0.0, s < 20)  # beyond, the line through these means nothing
    assert reference[-1] == pytest.approx(2 * (2 - 0.02 * 20), abs=0.1)
    assert reference[:40] == pytest.approx(2 * branch.radii[:40], abs=0.1)
