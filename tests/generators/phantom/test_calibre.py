"""Healthy radii: Murray's law and the taper."""

from __future__ import annotations

import numpy as np
import pytest

from lesionforge.generators.phantom.tree.calibre import MIN_RADIUS_MM, bifurcations, reach, taper
from lesionforge.generators.types import Side
from tests.generators.phantom.conftest import murray_error


@pytest.mark.parametrize("side", ["left", "right"])
def test_murray_holds_at_every_bifurcation(cohort, side: Side) -> None:
    count = 0
    for grown in cohort[side]:
        branches = grown.tree.branches
        forks = bifurcations(branches)
        assert sum(len(fork.children) for fork in forks) == len(branches) - 1
        for fork in forks:
            assert abs(murray_error(fork, branches)) < 2e-5  # the storage grid of the radii
            count += 1
    assert count > 100


@pytest.mark.parametrize("side", ["left", "right"])
def test_vessels_only_taper(cohort, side: Side) -> None:
    for grown in cohort[side]:
        for branch in grown.tree.branches:
            assert (np.diff(branch.radii) <= 0.0).all()
            assert branch.radii.min() >= MIN_RADIUS_MM


def test_taper_ends_at_the_radius_asked_for() -> None:
    radii = taper(101, 2.0, 0.5, 2.0, [], [])
    assert radii[0] == 2.0
    assert radii[-1] == pytest.approx(0.5, abs=1e-5)
    assert radii[50] == pytest.approx(2.0 * 0.25**0.25, abs=1e-5)  # a quarter of the fall at half way


def test_a_side_branch_takes_its_cube() -> None:
    radii = taper(101, 2.0, 2.0, 1.0, [40], [0.5])
    assert radii[40] == 2.0
    assert radii[40 + reach(2.0)] ** 3 == pytest.approx(8.0 - 1.0, abs=1e-4)
    assert radii[-1] == radii[40 + reach(2.0)]
