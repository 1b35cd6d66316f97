"""Workers as Ray actors, pinned to CPUs and GPUs, on this machine or on a cluster."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

from lesionforge.engine.faults import Fault
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Event, Task
from lesionforge.engine.ray import placement
from lesionforge.engine.ray.actor import Actor
from lesionforge.engine.ray.placement import PlacementError
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.retries import PAUSES
from lesionforge.sinks.store import Store

IN_FLIGHT = 2  # shards per worker: one being made, one waiting so that it never idles
ANSWER = 30.0  # seconds to wait for what a dead worker left behind
EVERY = 1.0  # seconds between questions about nodes that will go
FAULTS = 3  # of a worker's surroundings in a row, after which it is replaced
LOST = 60.0  # seconds without any worker and any room for one after which a run without ``patience`` gives up
# glibc: keep freed arrays of a few megabytes in place of giving them back and faulting them in for every sample.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**29), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


@dataclass(eq=False)
class _Death:
    """A dead worker that is asked what it had in hand."""

    actor: Actor
    task: Task
    message: str
    question: Any
    until: float


class RayPool:
    """Ray actors, each owning whole shards. Only those that run hold tasks, so a lost node holds up nobody."""

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        workers: int | None = None,
        most: int = 1_000_000,
        patience: float = 0,
        terms: Terms | None = None,
    ) -> None:
        """Connects to the cluster that RAY_ADDRESS names, else starts one on this machine.

        Args:
            recipe, store: what is made, and where it goes.
            workers: how many; as many as have room, and at most ``most``, where ``None``.
            patience: seconds to wait for a cluster that has no room at all; then work begins with the first worker
                that is placed. With 0, all must have room from the start.
            terms: what every worker must agree on; it goes to each node once, whatever the number of files.

        Raises:
            PlacementError: within seconds, where the workers cannot be placed.
        """
        if store.url().startswith("memory://"):
            raise PlacementError("memory:// is each process's own, so workers would keep what they make: --in-process")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if not os.environ.get("RAY_ADDRESS"):
            # Ray would listen on every address of this machine, without encryption. This variable, whatever it is
            # called, has it take the loopback address for its own; it is read on import.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        import ray

        self._ray = ray
        self._recipe, self._store = recipe, store
        self._workers: list[Actor] = []
        self._deaths: list[_Death] = []
        self._patience, self._room_seen = patience, time.monotonic()
        self._drain_seen = 0.0
        self._stillborn, self._next_birth = 0, 0.0  # workers in a row that could not begin; when others may
        self._unborn = 0
        self._ill: dict[str, tuple[int, float]] = {}  # GPU -> faults in a row, and when it may be used again
        self._own = not ray.is_initialized()
        if self._own:
            _start(ray, recipe, workers or 1)
        self._terms = None if terms is None else ray.put(terms)
        try:
            if workers is None:
                workers = min(most, max(1, placement.places(placement.look().total, recipe.resources)))
            if not patience:
                placement.check(recipe.resources, workers)
            for _ in range(workers):
                self._workers.append(self._actor())
        except BaseException:
            self.close()
            raise

    def _actor(self) -> Actor:
        return Actor(self._ray, self._recipe, self._store, self._terms)

    def room(self) -> int:
        return sum(max(0, IN_FLIGHT - len(worker.tasks)) for worker in self._fit())

    def submit(self, task: Task) -> None:
        """Give a task to the idlest worker, of those with which it has not failed if there are such."""
        min(self._fit(), key=lambda w: (len(w.where & task.avoid), len(w.tasks))).submit(task)

    def _fit(self) -> list[Actor]:
        """Workers that take tasks and whose GPUs are none that has just failed."""
        ill = {gpu for gpu, (_, until) in self._ill.items() if time.monotonic() < until}
        return [worker for worker in self._workers if worker.takes_tasks() and not worker.gpus & ill]

    def states(self) -> dict[str, int]:
        """How many workers are placed, pending (they wait for room, or start), or draining (their node will go)."""
        draining = sum(worker.leaving for worker in self._workers)
        pending = sum(worker.home is None for worker in self._workers)
        return {"placed": len(self._workers) - draining - pending, "pending": pending, "draining": draining}

    def wait(self, timeout: float) -> list[Event]:
        """What has happened: events, or nothing after ``timeout`` seconds or where there is new room."""
        if events := [self._replace(worker) for worker in [w for w in self._workers if w.failed]]:
            return events
        if events := self._leave():
            return events
        self._bear()
        self._check_room()
        for worker in self._workers:
            worker.kill_if_stuck()
        pending = [worker.placing for worker in self._workers if worker.home is None]
        if any(worker.home is None and worker.ready() for worker in self._workers):
            return []
        first = {worker.tasks[0][1]: worker for worker in self._workers if worker.tasks}
        questions = {death.question: death for death in self._deaths}
        if not (first or questions or pending):
            time.sleep(timeout)
            return []
        ready, _ = self._ray.wait([*first, *questions, *pending], timeout=timeout)
        late = [ref for ref, death in questions.items() if time.monotonic() > death.until and ref not in ready]
        events = [event for ref in ready if ref in first for event in self._collect(first[ref])]
        return events + [self._buried(questions[ref]) for ref in (*ready, *late) if ref in questions]

    def _collect(self, worker: Actor) -> list[Event]:
        task, ref = worker.next_task()
        try:
            report = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            failed = Event(task, error=cause, where=worker.where)
            return [failed, *(self._suffer(worker, cause) if isinstance(cause, Fault) else ())]
        except self._ray.exceptions.RayError as error:
            # The actor is gone. The first task was in hand; the others had not begun and are nobody's fault.
            waiting = [Event(task, died="") for task, _ in worker.tasks]
            message = str(error).splitlines()[0]
            self._replace(worker)
            self._deaths.append(_Death(worker, task, message, worker.ask(last=True), time.monotonic() + ANSWER))
            return waiting
        worker.faults = self._stillborn = 0
        for gpu in worker.gpus:
            self._ill.pop(gpu, None)
        return [Event(task, report)]

    def _suffer(self, worker: Actor, fault: Fault) -> list[Event]:
        """Replace a worker after a fault of its GPU, whose process is lost, or several of any kind."""
        worker.faults += 1
        if fault.kind != "device" and worker.faults < FAULTS:
            return []
        if fault.kind == "device":
            for gpu in worker.gpus:
                times = self._ill.get(gpu, (0, 0.0))[0] + 1
                self._ill[gpu] = times, time.monotonic() + PAUSES[min(times, len(PAUSES)) - 1]
        waiting = [Event(task, died="") for task, _ in worker.tasks]  # they had not begun
        self._replace(worker)
        return waiting

    def _buried(self, death: _Death) -> Event:
        self._deaths.remove(death)
        in_hand, _ = death.actor.answer(death.question)
        return Event(death.task, died=death.message, in_hand=in_hand)

    def _replace(self, worker: Actor) -> Event:
        worker.kill()  # where it is only out of reach, it must not come back
        self._workers.remove(worker)
        self._stillborn = self._stillborn + 1 if worker.failed else 0
        self._next_birth = time.monotonic() + (PAUSES[min(self._stillborn, 3) - 1] if self._stillborn else 0)
        self._unborn += not worker.leaving  # then its successor is there already
        self._bear()
        return Event(None, died=worker.failed)

    def _bear(self) -> None:
        """Start workers that are to replace others; not at once where those could not begin."""
        while self._unborn and time.monotonic() >= self._next_birth:
            self._unborn -= 1
            self._workers.append(self._actor())

    def _leave(self) -> list[Event]:
        """Give workers on nodes that will be taken away no more shards, and begin others elsewhere in time."""
        for worker in [w for w in self._workers if w.leaving and not w.tasks]:
            worker.kill()  # Ray ends a draining node once nobody works there
            self._workers.remove(worker)
        if time.monotonic() - self._drain_seen < EVERY:
            return []
        self._drain_seen = time.monotonic()
        going = placement.draining()
        events = []
        for worker in [w for w in self._workers if w.home and not w.leaving and w.home[0] in going]:
            events += [Event(task, died="") for task in worker.leave()]
            self._workers.append(self._actor())  # Ray places nobody on such a node
        return events

    def _check_room(self) -> None:
        """Refuse to wait for ever where no worker runs and none can."""
        now = time.monotonic()
        if any(worker.home for worker in self._workers):
            self._room_seen = now
        elif self._unborn:
            pass  # they are about to be tried again
        elif now - self._room_seen > (self._patience or LOST):
            cluster, wanted = placement.look(), self._recipe.resources
            if placement.places(cluster.total, wanted):
                self._room_seen = now  # they are starting, or others hold the room
                return
            waited = f"no room for {now - self._room_seen:.0f} s: "
            raise PlacementError(waited + placement.refusal(cluster, wanted, len(self._workers)))

    def close(self) -> None:
        """End the workers; end the cluster if it was started here."""
        for worker in self._workers:
            worker.kill()
        if self._own:
            self._ray.shutdown()


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
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves workers on a machine that others use, too
    cores = os.cpu_count() or 1
    slots = max(cores, math.ceil(workers * recipe.resources.cpus)) if recipe.resources.cpus <= cores else cores
    ray.init(
        address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="error",
        object_store_memory=100 * 2**20,  # pixels never pass through it
    )  # fmt: skip
