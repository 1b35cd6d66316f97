"""The fault campaign's short form: kills of every kind, all poison, zombies, bad weather. Long: ``make chaos``."""

import random

import pytest

from tests.chaos import kills, poison, surroundings, zombies
from tests.chaos.cluster import Ours, cluster
from tests.chaos.zombie import MOMENTS


def hold(run):
    """Every promise held; the figures say which did not."""
    assert run.good, run


@pytest.mark.timeout(900)
def test_kills_poison_and_a_stopped_worker_cost_nobody_anything(tmp_path):
    """One cluster for all, as starting one is most of the time."""
    with cluster(2) as (nodes, orphans):
        rng = random.Random(4)
        hold(run := kills.disturbed("kills", nodes, tmp_path / "kills", rng, ["worker", "raylet", "driver"], 96))
        assert (run.kills.total(), run.samples) == (3, 96)
        hold(poison.campaign(nodes, tmp_path / "poison", seed=4, seconds=15))
        hold(run := zombies.on_ray(nodes, tmp_path / "zombie", rng, limit=6))
        assert run.kills["stopped"] == 1
        hold(run := surroundings.on_ray(nodes, tmp_path / "weather", rng, limit=20))
        assert run.kills.total() == 4
    assert not orphans


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_zombie_changes_nothing_whenever_it_fell_asleep(moment, tmp_path):
    ours = Ours()
    try:
        hold(zombies.alone(moment, False, ours, tmp_path / "awake", seed=1))
        if "not yet" in moment:
            hold(zombies.alone(moment, True, ours, tmp_path / "swept", seed=1))
    finally:
        assert ours.end() == []
