"""Where workers can be placed: what the cluster has, what is free of it, which nodes are about to go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lesionforge.engine.recipe import ResourcesRecipe
from lesionforge.generators.types import UserError

SETTLE = 15.0  # seconds that a cluster may take to see that an earlier job's workers are gone
EPSILON = 1e-9  # thirds of a GPU do not add up to one

Resources = Mapping[str, float]


class PlacementError(UserError):
    """The workers cannot be placed; the message says what was asked and what exists."""


@dataclass(frozen=True)
class Cluster:
    """The nodes that work can be given to: alive, and not about to be taken away."""

    total: tuple[Resources, ...]
    free: tuple[Resources, ...]


def look() -> Cluster:
    """The cluster that Ray is connected to, as it is now."""
    import ray
    from ray._private import state

    going = draining()
    nodes = {n["NodeID"]: n["Resources"] for n in ray.nodes() if n["Alive"] and n["NodeID"] not in going}
    free = state.available_resources_per_node()
    return Cluster(tuple(nodes.values()), tuple(free.get(node, {}) for node in nodes))


def draining() -> set[str]:
    """Nodes that will be taken away: preempted, drained by hand (``ray drain-node``) or told to end (SIGTERM)."""
    from ray._private.state import state  # what Ray Train and Ray Data ask; there is no public way

    return set(state.get_draining_nodes())


def places(nodes: Iterable[Resources], wanted: ResourcesRecipe) -> int:
    """How many workers fit, node by node."""
    amounts = {"CPU": wanted.cpus, "GPU": wanted.gpus}
    return sum(min(int(n.get(k, 0) / v + EPSILON) for k, v in amounts.items() if v > 0) for n in nodes)


def check(wanted: ResourcesRecipe, workers: int, look: Callable[[], Cluster] = look, settle: float = SETTLE) -> None:
    """Refuse what cannot be placed: at once where it never can, in seconds where others hold the room.

    Raises:
        PlacementError: with what was asked, what exists and what to change.
    """
    deadline = time.monotonic() + settle
    while True:
        cluster = look()
        if places(cluster.total, wanted) < workers:
            raise PlacementError(refusal(cluster, wanted, workers))
        if places(cluster.free, wanted) >= workers:
            return
        if time.monotonic() > deadline:
            raise PlacementError(refusal(cluster, wanted, workers))
        time.sleep(0.5)


def refusal(cluster: Cluster, wanted: ResourcesRecipe, workers: int) -> str:
    """What was asked, what exists, what to change."""
    room, free = places(cluster.total, wanted), places(cluster.free, wanted)
    has = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in cluster.total) or "none alive"
    taken = f", others leave room for {free}" if free < min(room, workers) <= room else ""
    return (
        f"{workers} workers of {wanted.cpus:g} CPUs and {wanted.gpus:g} GPUs each were asked for; "
        f"the cluster has {len(cluster.total)} nodes ({has}) and room for {room}{taken}. "
        "Change --workers or --set resources.cpus / resources.gpus; "
        "if nodes are still to come (an autoscaler's, say), give --wait-for-nodes SECONDS"
    )
