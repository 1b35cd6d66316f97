"""Where workers run: in this process (to debug), or as Ray actors pinned to CPUs and GPUs.

Both hand out the same events, so the driver knows one kind of pool.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine import breadcrumb
from engine.recipe import Recipe
from engine.worker import Report, Worker
from sinks.store import Store

IN_FLIGHT = 2  # shards per worker: one being made, one waiting so that it never idles
# glibc: keep freed arrays of a few megabytes in place of giving them back and faulting them in for every sample.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**29), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


class PlacementError(Exception):
    """The cluster can never give the workers what the recipe asks; the message says both."""


@dataclass
class Task:
    """A shard to make, and what is known of its earlier attempts."""

    shard: int
    skip: dict[str, str] = field(default_factory=dict)
    careful: bool = False


@dataclass
class Event:
    """The end of an attempt: a report, a worker's death with the samples it had in hand, or an error."""

    task: Task
    report: Report | None = None
    died: str | None = None
    suspects: list[str] = field(default_factory=list)
    error: Exception | None = None


class Pool(Protocol):
    """Takes tasks while it has room and tells how they ended."""

    def room(self) -> int: ...
    def submit(self, task: Task) -> None: ...
    def wait(self, timeout: float) -> list[Event]: ...
    def close(self) -> None: ...


class InProcess:
    """One worker in this process: for a debugger, and the reference that the others must equal."""

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self._worker = Worker(recipe, store)
        self._tasks: deque[Task] = deque()

    def room(self) -> int:
        return 1 - len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout: float) -> list[Event]:
        task = self._tasks.popleft()
        try:
            return [Event(task, self._worker.make(task.shard, task.skip, task.careful))]
        except Exception as error:
            return [Event(task, error=error)]

    def close(self) -> None:
        """Nothing to end."""


class RayPool:
    """Ray actors, each owning whole shards. Retries are the driver's: Ray restarts nothing (max_restarts=0)."""

    def __init__(self, recipe: Recipe, store: Store, workers: int) -> None:
        """Connects to the cluster that RAY_ADDRESS names, else starts one on this machine.

        Raises:
            PlacementError: at once, where the workers can never be placed.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        self._recipe, self._store = recipe, store
        self._own = not ray.is_initialized()
        self._folder = Path(tempfile.gettempdir()) / f"lesionforge-{uuid.uuid4().hex}"
        if self._own:
            _start(ray, recipe, workers)
        try:
            _check_placement(ray.nodes(), recipe, workers)
            self._workers = [self._actor() for _ in range(workers)]
        except BaseException:
            self.close()
            raise

    def _actor(self) -> _Actor:
        return _Actor(self._ray, self._recipe, self._store, self._folder / uuid.uuid4().hex)

    def room(self) -> int:
        return sum(IN_FLIGHT - len(w.tasks) for w in self._workers)

    def submit(self, task: Task) -> None:
        min(self._workers, key=lambda w: len(w.tasks)).submit(task)

    def wait(self, timeout: float) -> list[Event]:
        """Events of at least one worker, or none after ``timeout`` seconds."""
        first = {worker.tasks[0][1]: worker for worker in self._workers if worker.tasks}
        ready, _ = self._ray.wait(list(first), timeout=timeout)
        return [event for ref in ready for event in self._collect(first[ref])]

    def _collect(self, worker: _Actor) -> list[Event]:
        task, ref = worker.tasks.popleft()
        try:
            return [Event(task, self._ray.get(ref))]
        except self._ray.exceptions.RayTaskError as error:
            return [Event(task, error=error.cause if isinstance(error.cause, Exception) else error)]
        except self._ray.exceptions.RayError as error:
            # The actor is gone. The first task was in hand; the others had not begun and are nobody's fault.
            self._workers[self._workers.index(worker)] = self._actor()
            died = Event(task, died=str(error).splitlines()[0], suspects=worker.last_crumbs())
            return [died, *(Event(waiting, died="") for waiting, _ in worker.tasks)]

    def close(self) -> None:
        """End the workers; end the cluster if it was started here."""
        for worker in getattr(self, "_workers", []):
            self._ray.kill(worker.handle)
        if self._own:
            self._ray.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Actor:
    """One remote worker, its tasks in order, and the file with its breadcrumb on its node."""

    def __init__(self, ray: Any, recipe: Recipe, store: Store, crumb: Path) -> None:
        self._ray, self._crumb = ray, crumb
        r = recipe.resources
        actor = ray.remote(
            num_cpus=r.cpus, num_gpus=r.gpus, max_restarts=0, max_task_retries=0, max_concurrency=1,
        )(ShardWorker)  # fmt: skip
        self.handle = actor.remote(recipe, store, str(crumb))
        self.node = self.handle.node.remote()
        self.tasks: deque[tuple[Task, Any]] = deque()

    def submit(self, task: Task) -> None:
        self.tasks.append((task, self.handle.make.remote(task.shard, task.skip, task.careful)))

    def last_crumbs(self) -> list[str]:
        """What the dead worker had in hand, read on its own node; nothing where the node is gone too."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        try:
            node = self._ray.get(self.node, timeout=5)
            strategy = NodeAffinitySchedulingStrategy(node, soft=False)
            read = self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(_read_crumbs)
            return list(self._ray.get(read.remote(str(self._crumb)), timeout=30))
        except self._ray.exceptions.RayError:
            return []


class ShardWorker:
    def __init__(self, recipe: Recipe, store: Store, crumb: str) -> None:
        Path(crumb).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._worker = Worker(recipe, store, breadcrumb.Breadcrumb(Path(crumb)))

    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def make(self, k: int, skip: Mapping[str, str], careful: bool) -> Report:
        return self._worker.make(k, skip, careful)


def _read_crumbs(path: str) -> list[str]:
    found = breadcrumb.read(Path(path))
    Path(path).unlink(missing_ok=True)
    return found


def _start(ray: Any, recipe: Recipe, workers: int) -> None:
    """Connect, or start a cluster of this machine's size; CPU slots may be shared by more workers than cores.

    Workers take Ray's own processes: a runtime environment of theirs would cost a second at the start. Ray sets
    OMP_NUM_THREADS to a worker's CPUs.
    """
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
        return
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    cores = os.cpu_count() or 1
    slots = max(cores, math.ceil(workers * recipe.resources.cpus)) if recipe.resources.cpus <= cores else cores
    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="error",
        object_store_memory=100 * 2**20,  # pixels never pass through it
    )  # fmt: skip


def _check_placement(nodes: list[dict[str, Any]], recipe: Recipe, workers: int) -> None:
    asked = {"CPU": recipe.resources.cpus, "GPU": recipe.resources.gpus}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    places = sum(min(int(n.get(k, 0) / v + 1e-9) for k, v in asked.items() if v > 0) for n in alive)
    if places < workers:
        has = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in alive)
        raise PlacementError(
            f"{workers} workers of {asked['CPU']:g} CPUs and {asked['GPU']:g} GPUs each were asked for; "
            f"the cluster has {len(alive)} nodes ({has}) and room for {places}. "
            "Change --workers or --set resources.cpus / resources.gpus"
        )
