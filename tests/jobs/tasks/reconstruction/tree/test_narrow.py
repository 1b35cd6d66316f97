"""Percent diameter stenosis along a branch, against the one that was built into a phantom."""

import numpy as np
import pytest

from lesionforge.generators.types import Branch
from lesionforge.jobs.tasks.reconstruction.tree.narrow import Shown, assessed, healthy_diameter
from tests.jobs.tasks.reconstruction.tree.conftest import PERCENT_DS


def test_a_narrowing_is_found_where_it_is_and_as_narrow_as_it_is(known):
    found = known.tree.narrowings[0]
    assert found.percent_ds == pytest.approx(PERCENT_DS, abs=8)
    assert np.linalg.norm(np.array(found.point) - known.narrow_mm) < 1.5
    assert found.mld_mm == pytest.approx(2 * known.branches[0].radii[80], abs=0.3)  # a pixel and a half
    assert found.segment == "main"
    assert abs(found.percent_ds - PERCENT_DS) < 2 * found.uncertainty
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
    (found,), doubts = assessed(branch, reference, 0.0, shown(narrow), alone=False)
    assert found.percent_ds == pytest.approx(50, abs=2)
    assert found.point[0] == pytest.approx(30, abs=0.5)
    assert found.views == (0, 1)
    assert 2 < found.uncertainty < 10  # half a pixel of 0.2 mm in each of two views is 2.6 points of 2.7 mm
    assert not doubts


def shown(radii, views=2):
    """A vessel that nothing hides."""
    return Shown(np.stack([radii] * views), np.full((views, len(radii)), np.inf), np.full((views, len(radii)), 0.2))


@pytest.fixture
def narrow():
    """A branch narrowed by half at 30 mm of 60, its healthy diameter, and what two views show."""
    s = np.arange(0, 60, 0.4)
    radii = 1.4 * (1 - 0.5 * np.exp(-(((s - 30) / 3) ** 2)))
    branch = Branch("main", np.stack([s, 0 * s, 0 * s], 1), radii, ("",) * len(s))
    return s, branch, np.full(len(s), 2.8), shown(radii)


def test_what_another_vessel_hides_is_said_and_not_listed(narrow):
    s, branch, healthy, views = narrow
    over = abs(s - 30) < 6
    views.room[0, over] = -0.1
    (found,), _ = assessed(branch, healthy, 0.0, views, alone=True)
    assert found.views == (1,)
    found, (doubt,) = assessed(branch, healthy, 0.0, views, alone=False)
    assert (found, doubt.why) == ([], "one view alone")
    assert doubt.percent_ds == pytest.approx(50, abs=2)
    assert doubt.start_mm < 30 < doubt.start_mm + doubt.length_mm
    views.room[1, over] = -0.1
    found, (doubt,) = assessed(branch, healthy, 0.0, views, alone=True)
    assert (found, doubt.why) == ([], "overlap")
    assert doubt.point[0] == pytest.approx(30, abs=1)
    assert doubt.length_mm == pytest.approx(12, abs=1)


def test_views_that_differ_are_no_evidence(narrow):
    s, branch, healthy, views = narrow
    views.radii[0] = 1.4
    found, (doubt,) = assessed(branch, healthy, 0.0, views, alone=True)
    assert (found, doubt.why) == ([], "views differ")
    views.radii[0] = np.where(abs(s - 30) < 20, np.nan, 1.4)  # along the rays, as far as healthy lumen is looked for
    views.radii[1] = np.nan
    found, doubts = assessed(branch, healthy, 0.0, views, alone=True)
    assert found == []
    assert {one.why for one in doubts} == {"unseen"}


@pytest.mark.parametrize(("inside", "cut", "why"), [(29.0, 150, "fork"), (0.0, 78, "end")])
def test_a_narrowing_at_a_fork_or_an_end_is_not_assessable(narrow, inside, cut, why):
    _, branch, healthy, _ = narrow
    radii = branch.radii[:cut]
    branch = Branch("main", branch.points[:cut], radii, ("",) * cut)
    found, doubts = assessed(branch, healthy[:cut], inside, shown(radii), alone=True)
    assert found == []
    assert any(one.percent_ds and one.why in (why, "no healthy lumen beside it") for one in doubts)


def test_every_part_of_a_wide_branch_is_assessed_or_said_not_to_be(known):
    tree = known.tree
    assert {one.branch for one in tree.unassessed} <= {one.name for one in tree.branches}
    for one in tree.unassessed:
        branch = next(own for own in tree.branches if own.name == one.branch)
        assert np.linalg.norm(branch.points - one.point, axis=1).min() < 1e-9
        assert one.length_mm >= 2 or one.percent_ds >= 30
    fork = [one for one in tree.unassessed if one.branch == "1"]
    assert fork
    assert fork[0].start_mm == 0  # within the trunk's lumen nothing is told of the side branch


def test_a_stump_and_a_branch_of_which_little_is_sure_have_a_reference_that_can_be():
    stump = Branch("1", np.array([[0.0, 0, 0], [0.4, 0, 0]]), np.array([0.6, 0.5]), ("", ""))
    assert healthy_diameter(stump, 3.0, np.ones(2, bool)).tolist() == [1.2, 1.0]
    s = np.arange(0, 80, 0.4)
    branch = Branch("1", np.stack([s, 0 * s, 0 * s], 1), 2 - 0.02 * s, ("",) * len(s))
    reference = healthy_diameter(branch, 0.0, s < 20)  # beyond, the line through these means nothing
    assert reference[-1] == pytest.approx(2 * (2 - 0.02 * 20), abs=0.1)
    assert reference[:40] == pytest.approx(2 * branch.radii[:40], abs=0.1)
