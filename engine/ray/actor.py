"""One Ray actor that makes shards, and the driver's hold on it."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from lesionforge.engine import telemetry, watchdog
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import InHand, Report, Task
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.worker import Worker
from lesionforge.sinks.store import Store

LOOK = 60.0  # seconds between looks at a worker that goes on and on with one shard
GRACE = 5.0  # seconds from a first look that finds it stuck to the second, which must find the same


class ShardWorker:
    """The actor: a worker and the file that tells what it has in hand."""

    def __init__(self, recipe: Recipe, store: Store, log_level: str, terms: Terms | None) -> None:
        import ray

        telemetry.start_log("worker", log_level)
        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        telemetry.log("info", "placed", dataset=recipe.name, node=context.get_node_id(), gpus=gpus)
        self._gpus = tuple(map(str, gpus))
        self._file = watchdog.new_path()
        alarm = watchdog.Watchdog(self._file, recipe.resources.sample_seconds)
        self._worker = Worker(recipe, store, alarm, terms)

    def home(self) -> tuple[str, str, tuple[str, ...]]:
        """Its node, the watchdog's file there, and its GPUs."""
        import ray

        return str(ray.get_runtime_context().get_node_id()), str(self._file), self._gpus

    def make(self, task: Task) -> Report:
        try:
            return self._worker.make(task)
        except Exception as error:
            error.__cause__ = error.__context__ = None  # Ray shows the whole chain; ours alone is free of secrets
            raise


class Actor:
    """A remote worker and its tasks in order. Ray restarts nothing: retries are the driver's (max_restarts=0)."""

    def __init__(self, ray: Any, recipe: Recipe, store: Store, terms: Any = None) -> None:
        """``terms``: Ray's reference to them, or ``None``."""
        self._ray = ray
        r = recipe.resources
        self._limit = r.sample_seconds
        actor = ray.remote(
            num_cpus=r.cpus, num_gpus=r.gpus, max_restarts=0, max_task_retries=0, max_concurrency=1,
        )(ShardWorker)  # fmt: skip
        self.handle = actor.remote(recipe, store, telemetry.log_level() or "info", terms)
        self.placing = self.handle.home.remote()  # ready once the actor runs; it opens its sources with the first task
        self.home: tuple[str, str, tuple[str, ...]] | None = None
        self.faults = 0  # of its surroundings, since its last good shard
        self.failed = ""  # why it never came to run
        self.leaving = False  # its node will be taken away
        self.tasks: deque[tuple[Task, Any]] = deque()
        self._look_at, self._suspect = 0.0, False
        self._looking: Any = None

    def ready(self) -> bool:
        """Whether it is placed and can take tasks."""
        if self.home is None and not self.failed and self._ray.wait([self.placing], timeout=0)[0]:
            try:
                self.home = self._ray.get(self.placing)
            except self._ray.exceptions.RayError as error:
                self.failed = str(error).strip().splitlines()[-1]  # the innermost cause stands last
        return self.home is not None

    def takes_tasks(self) -> bool:
        """Whether it is placed, on a node that stays."""
        return self.ready() and not self.leaving

    @property
    def gpus(self) -> frozenset[str]:
        """Names of its GPUs, as no other has."""
        node, _, gpus = self.home or ("", "", ())
        return frozenset(f"{node} GPU {gpu}" for gpu in gpus)

    @property
    def where(self) -> frozenset[str]:
        """Names of itself and of its GPUs."""
        return self.gpus | {str(self.handle)}

    def leave(self) -> list[Task]:
        """Take no more tasks and end the one in hand; returns those that had not begun."""
        self.leaving = True
        waiting = [self.tasks.pop() for _ in range(len(self.tasks) - 1)]
        for _, ref in waiting:
            self._ray.cancel(ref)  # should it have begun all the same, somebody else is quicker: no harm
        return [task for task, _ in waiting]

    def submit(self, task: Task) -> None:
        if not self.tasks:
            self._look_later()
        self.tasks.append((task, self.handle.make.remote(task)))

    def next_task(self) -> tuple[Task, Any]:
        """Take the first task off: it has ended."""
        self._look_later()
        return self.tasks.popleft()

    def kill(self) -> None:
        """End its process now."""
        self._ray.kill(self.handle)

    def kill_if_stuck(self) -> None:
        """Give up a worker that its own alarm cannot end: a stopped process, or one stuck in the kernel."""
        if self._looking is None:
            if self.tasks and time.monotonic() > self._look_at:
                self._looking = self.ask()
        elif self._ray.wait([self._looking], timeout=0)[0]:
            _, overdue = self.answer(self._looking)
            self._looking = None
            if overdue <= 0 or not self.tasks:
                self._look_later()
            elif self._suspect:
                self.kill()
            else:
                self._suspect, self._look_at = True, time.monotonic() + GRACE

    def _look_later(self) -> None:
        self._suspect, self._look_at = False, time.monotonic() + min(self._limit or LOOK, LOOK) + GRACE

    def ask(self, last: bool = False) -> Any:
        """Have its watchdog's file read on its own node, and removed if this is the ``last`` time."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        assert self.home is not None  # it has had a task
        node, path, _ = self.home
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(_look).remote(path, last)

    def answer(self, question: Any) -> tuple[InHand, float]:
        """What ``ask`` found, and by how many seconds the worker is overdue; nothing where the node is gone."""
        try:
            return self._ray.get(question, timeout=0)  # type: ignore[no-any-return]
        except self._ray.exceptions.RayError:
            return InHand(), float("-inf")


def _look(path: str, last: bool) -> tuple[InHand, float]:
    """On the worker's node: what it has in hand, by how many seconds it is overdue; for ever if it is stopped."""
    in_hand = watchdog.read(Path(path))
    if last:
        Path(path).unlink(missing_ok=True)
    return in_hand, float("inf") if watchdog.stopped(Path(path)) else in_hand.overdue()
