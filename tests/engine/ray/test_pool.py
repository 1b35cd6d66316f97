"""Who is given which shard: workers and a Ray that do as they are told, in no time."""

import itertools
from collections import deque
from types import SimpleNamespace

import pytest

from lesionforge.engine.faults import Fault
from lesionforge.engine.messages import Report, Task
from lesionforge.engine.ray import pool as pools
from lesionforge.engine.ray.placement import PlacementError
from lesionforge.engine.ray.pool import FAULTS, RayPool
from lesionforge.sinks.store import Store
from tests.engine.conftest import toy

DEVICE, SHARE = Fault("device", "CUDA error", own=True), Fault("storage", "Stale file handle")


class RayTaskError(Exception):
    cause: Exception | None = None


class RayError(Exception):
    pass


def get(answer, timeout=None):
    if isinstance(answer, Exception):
        error = RayTaskError()
        error.cause = answer
        raise error
    return answer


class Worker:
    """What the pool knows of an actor."""

    numbers = itertools.count()

    def __init__(self, *_):
        self.name = f"worker {next(self.numbers)}"
        self.gpus = frozenset({"node GPU 1" if MADE else "node GPU 0"})
        self.tasks, self.faults, self.failed, self.leaving, self.ended = deque(), 0, "", False, False
        self.home = ("node", "", ())
        MADE.append(self)

    @property
    def where(self):
        return self.gpus | {self.name}

    def takes_tasks(self):
        return not self.failed

    def submit(self, task):
        self.tasks.append((task, None))

    def next_task(self):
        return self.tasks.popleft()

    def kill(self):
        self.ended = True


MADE: list[Worker] = []


@pytest.fixture
def pool(monkeypatch):
    """Two workers, each with a GPU, and a clock that stands."""
    MADE.clear()
    monkeypatch.setattr(pools, "Actor", Worker)
    monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=lambda: pool.now, sleep=lambda seconds: None))
    pool = object.__new__(RayPool)
    pool.now = 0.0
    pool._ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayTaskError=RayTaskError, RayError=RayError))
    pool._recipe = pool._store = pool._terms = None
    pool._ill, pool._stillborn, pool._next_birth, pool._unborn, pool._deaths = {}, 0, 0.0, 0, []
    pool._workers = [Worker(), Worker()]
    return pool


def ends(pool, worker, answer):
    """The worker's first task ends so; returns the events."""
    task, _ = worker.tasks[0]
    worker.tasks[0] = task, answer
    return pool._collect(worker)


def test_a_sick_gpu_s_worker_is_replaced_and_its_shard_goes_elsewhere(pool):
    sick, sound = pool._workers
    sick.submit(task := Task(0))
    sick.submit(Task(1))
    failed, waiting = ends(pool, sick, DEVICE)
    assert (failed.task, failed.error, failed.where) == (task, DEVICE, sick.where)
    assert (waiting.task.shard, waiting.taken_back) == (1, True)  # it had not begun
    assert sick.ended
    assert [w.name for w in pool._workers] == [sound.name, MADE[-1].name]
    MADE[-1].gpus = sick.gpus  # Ray gives the new one the same GPU
    assert pool._fit() == [sound]  # which rests
    pool.now += 2
    assert len(pool._fit()) == 2
    task.avoid |= failed.where
    for _ in range(3):
        pool.submit(task)
    assert len(sound.tasks) == 3  # however busy it is
    assert pool.room() == pools.IN_FLIGHT
    pool.submit(Task(2))
    assert len(MADE[-1].tasks) == 1
    ends(pool, MADE[-1], Report(2, 8, 0, 1))
    assert pool._ill == {}


def test_a_worker_whose_place_fails_again_and_again_is_replaced(pool):
    sick = pool._workers[0]
    for n in range(FAULTS):
        assert not sick.ended
        sick.submit(Task(n))
        ends(pool, sick, SHARE)
    assert sick.ended
    other = pool._workers[0]
    for answer in (SHARE, SHARE, Report(7, 8, 0, 1), SHARE, SHARE):  # in a row
        other.submit(Task(0))
        ends(pool, other, answer)
    assert not other.ended


def test_workers_that_cannot_begin_are_not_started_again_at_once(pool):
    """A source that is away makes every new worker fail; that must not use up all patience in seconds."""
    for pause in (1.0, 2.0, *[4.0] * 8):
        pool._workers[-1].failed = "SourceError: no such folder"
        assert pool._replace(pool._workers[-1]).died
        assert len(pool._workers) == 1
        pool.now += 0.9 * pause
        pool._bear()
        assert len(pool._workers) == 1
        pool.now += 0.2 * pause
        pool._bear()
        assert len(pool._workers) == 2


def test_memory_of_one_process_is_refused():
    with pytest.raises(PlacementError, match=r"^memory:// is each process's own.*--in-process"):
        RayPool(toy(), Store("memory://x"))
