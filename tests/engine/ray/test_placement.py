"""Room is counted node by node; what cannot be placed is refused with what there is, and waited for only if asked."""

import pytest

from lesionforge.engine.ray import placement
from lesionforge.engine.ray.placement import Cluster, PlacementError, check, places
from lesionforge.engine.recipe import ResourcesRecipe

NODE = {"CPU": 4.0, "GPU": 1.0}
BARE = {"CPU": 16.0}


def asked(cpus=1.0, gpus=0.0):
    return ResourcesRecipe(cpus=cpus, gpus=gpus)


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "room"),
    [
        ([NODE, NODE], 2, 0.5, 4),
        ([NODE, NODE], 1, 0.25, 8),
        ([NODE], 1, 1 / 3, 3),  # thirds of a GPU do not add up to one
        ([NODE, BARE], 1, 1, 1),  # a node without a GPU has no room for a worker with one
        ([NODE, BARE], 1, 0, 20),
        ([NODE], 8, 0, 0),  # no worker spans two nodes
        ([NODE, NODE], 8, 0, 0),
        ([], 1, 0, 0),
    ],
)
def test_room_is_counted_node_by_node(nodes, cpus, gpus, room):
    assert places(nodes, asked(cpus, gpus)) == room


def test_what_can_never_be_placed_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(placement.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(PlacementError) as refused:
        check(asked(2, 0.5), 5, lambda: Cluster((NODE, NODE, BARE), (NODE, NODE, BARE)))
    assert str(refused.value).startswith(
        "5 workers of 2 CPUs and 0.5 GPUs each were asked for; the cluster has 3 nodes "
        "(4 CPUs, 1 GPUs; 4 CPUs, 1 GPUs; 16 CPUs, 0 GPUs) and room for 4. Change --workers"
    )


def test_a_busy_cluster_is_given_seconds_to_settle():
    busy, looks = Cluster((NODE,), ({"CPU": 1.0},)), []

    def settling():
        looks.append(1)
        return busy if len(looks) < 3 else Cluster((NODE,), (NODE,))

    check(asked(), 4, settling)  # an earlier job's workers are gone only now
    assert len(looks) == 3
    with pytest.raises(PlacementError, match="room for 4, others leave room for 1"):
        check(asked(), 4, lambda: busy, settle=0.6)


def test_an_empty_cluster_says_how_to_wait():
    with pytest.raises(PlacementError, match=r"has 0 nodes \(none alive\) and room for 0\..*--wait-for-nodes SECONDS"):
        check(asked(), 2, lambda: Cluster((), ()))


def test_a_fixed_cluster_is_looked_at_as_it_is(monkeypatch):
    """Dead nodes, and those that will be taken away, give no room."""
    import ray
    from ray._private import state

    nodes = [
        {"NodeID": "a", "Alive": True, "Resources": NODE},
        {"NodeID": "b", "Alive": False, "Resources": {}},
        {"NodeID": "c", "Alive": True, "Resources": BARE},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(placement, "draining", lambda: {"c"})
    monkeypatch.setattr(state, "available_resources_per_node", lambda: {"a": {"CPU": 1.0}, "c": BARE})
    assert placement.look() == Cluster((NODE,), ({"CPU": 1.0},))
