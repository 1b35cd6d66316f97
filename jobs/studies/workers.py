"""Several runs at a time: Ray tasks with CPUs and GPUs of their own, on this machine or over a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.folder import claim, keep, tidy, unfinished
from lesionforge.jobs.studies.runs import Run, Study, conduct_run

RETRIES = 3  # of a run whose process or node dies; it goes on from its last checkpoint

Result = dict[str, Any]


@dataclass(frozen=True)
class Room:
    """What a run is given.

    Attributes:
        processes: runs at a time; None: two on this machine, as many as have room on a cluster.
        cpus: cores of each; libraries use as many threads.
        gpus: GPUs of each, a part of one where several are to share it; None: one if the device is a GPU.
        in_process: one after the other in this process, without Ray.
    """

    processes: int | None = None
    cpus: float = 1
    gpus: float | None = None
    in_process: bool = False


def conduct(
    study: Study, todo: Sequence[Run], out: Path, room: Room | None = None, tell: Callable[[Result], None] | None = None
) -> int:
    """Run what is not there yet.

    Args:
        study: what is compared.
        todo: runs, from ``runs.runs``.
        out: folder of the results, made if it is not there.
        room: what each run is given.
        tell: called with each result as it comes.

    Returns:
        Runs made now.

    Raises:
        UsageError: where the folder holds another study's results, the runs find no room, or one cannot be made.
    """
    room, out = room or Room(), out.absolute()
    left, new = unfinished(todo, out), not out.exists()
    one_by_one = room.in_process or (room.processes == 1 and not os.environ.get("RAY_ADDRESS"))
    try:
        claim(study, out)
        made = ((run, conduct_run(study, out, run)) for run in left) if one_by_one else _on_ray(study, left, out, room)
        for run, result in made:
            keep(out, run, result)
            if tell:
                tell(result)
    finally:
        tidy(out, not unfinished(todo, out))
        if new and out.exists() and not any(out.iterdir()):
            out.rmdir()
    return len(left)


def _on_ray(study: Study, left: Sequence[Run], out: Path, room: Room) -> Iterator[tuple[Run, Result]]:
    if not left:
        return
    ray, own = _connected(room, len(left))
    try:
        needs = {"CPU": room.cpus, "GPU": float(study.device.startswith("cuda")) if room.gpus is None else room.gpus}
        at_once = min(room.processes or len(left), len(left), _fits(ray.nodes(), needs))
        task = ray.remote(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=RETRIES)(_run)
        queue, busy = list(left), dict[Any, Run]()
        while queue or busy:
            while queue and len(busy) < at_once:
                run = queue.pop(0)
                busy[task.options(name=run.name).remote(study, out, run)] = run
            (ready,), _ = ray.wait(list(busy), num_returns=1)
            run = busy.pop(ready)
            try:
                yield run, ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[0]
                raise UsageError(f"run {run.name} died {RETRIES + 1} times: {reason}; the others are kept") from None
    finally:
        if own:
            ray.shutdown()


def _run(study: Study, out: Path, run: Run) -> Result:
    """Runs in a process of Ray's, which sees the GPU that it was given and no other."""
    import ray

    return conduct_run(study, out, run) | {"node": ray.get_runtime_context().get_node_id()}


def _connected(room: Room, left: int) -> tuple[Any, bool]:
    """Ray, and whether it was started or joined here: the cluster that RAY_ADDRESS names, else one of this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listen on loopback alone; read on import
    import ray

    if ray.is_initialized():
        return ray, False
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        slots = int(room.cpus * min(room.processes or 2, left)) or 1
        ray.init(
            address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="error",
            object_store_memory=100 * 2**20,
        )  # fmt: skip
    return ray, True


def _fits(nodes: Sequence[Mapping[str, Any]], needs: Mapping[str, float]) -> int:
    """How many runs have room at once.

    Raises:
        UsageError: where not one ever has.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    wanted = {name: amount for name, amount in needs.items() if amount}
    room = sum(min(int(node.get(name, 0) / amount + 1e-9) for name, amount in wanted.items()) for node in alive)
    if not room:
        has = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in alive)
        raise UsageError(
            f"a run wants {needs['CPU']:g} CPUs and {needs['GPU']:g} GPUs, the nodes have {has}: change --cpus, --gpus "
            "or --device"
        )
    return room
