"""The driver: todo = plan - committed. It keeps no state of its own, so it may die and be started again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lesionforge.engine.blame import Blame
from lesionforge.engine.pipeline import Job
from lesionforge.engine.pool import Pool, Task
from lesionforge.engine.worker import Report
from lesionforge.generators.types import UserError
from lesionforge.sinks import dataset
from lesionforge.sinks.commit import ForeignShard
from lesionforge.sinks.store import Store, StoreError

MAX_IDLE_DEATHS = 20  # deaths in a row without a shard or a suspect more: the workers cannot work at all
POLL = 1.0  # seconds between looks at an idle pool, so that Ctrl-C is answered


class JobError(UserError):
    """The job cannot go on; what is committed stays, and the same command continues."""


@dataclass
class Outcome:
    """How a run ended. ``failed``: shard name -> why it could not be committed."""

    shards: int = 0
    samples: int = 0
    quarantined: int = 0
    deaths: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    batch_halvings: int = 0


def run(
    job: Job,
    store: Store,
    pool: Pool,
    progress: Callable[[Report], None] = lambda report: None,
    there: Iterable[int] | None = None,
) -> Outcome:
    """Make every shard that is not committed yet.

    Args:
        progress: called with each shard's report.
        there: numbers of the committed shards, where the caller has listed them; a large listing takes its time.

    Raises:
        JobError: where workers die without end or the storage fails for good.
    """
    outcome = Outcome()
    todo = _todo(job.plan.shards, committed(job, store) if there is None else there)
    again: deque[Task] = deque()
    in_flight = most = idle_deaths = 0
    blame = Blame(job.recipe.resources.sample_seconds)
    task = next(todo, None)
    while task or in_flight:
        while task and pool.room() > 0:
            pool.submit(task)
            in_flight += 1
            task = again.popleft() if again else next(todo, None)
        most = max(most, in_flight)
        for event in pool.wait(POLL):
            in_flight -= event.task is not None
            if event.report:
                idle_deaths = 0
                _count(outcome, event.report)
                progress(event.report)
            elif event.task and event.error is not None:
                _fail(job, outcome, event.task, event.error)
            elif event.task:
                again.append(event.task)
            if event.died:
                outcome.deaths += 1
                wiser = event.task and event.found and blame.find(event.task, event.found)
                idle_deaths = 0 if wiser else idle_deaths + 1
                if idle_deaths > MAX_IDLE_DEATHS + most:  # many nodes may be taken away at once
                    raise JobError(f"workers die before they make anything; the last said: {event.died}")
        task = task or (again.popleft() if again else next(todo, None))
    return outcome


def committed(job: Job, store: Store) -> Iterator[int]:
    """Numbers of the plan's committed shards, by their names alone: reading each one's record would take minutes."""
    return (k for k in map(job.plan.number, dataset.names(store)) if k is not None)


def _todo(shards: int, there: Iterable[int]) -> Iterator[Task]:
    done = bytearray(shards)  # a byte a shard: a set of names would take a hundred times as much
    for k in there:
        done[k] = True
    return (Task(k) for k, made in enumerate(done) if not made)


def _count(outcome: Outcome, report: Report) -> None:
    outcome.shards += 1
    outcome.samples += report.samples
    outcome.quarantined += report.quarantined
    outcome.seconds.update(report.seconds)
    outcome.batch_halvings += report.batch_halvings


def _fail(job: Job, outcome: Outcome, task: Task, error: Exception) -> None:
    if isinstance(error, StoreError):
        raise JobError(f"storage failed: {error}. What is committed stays; run the same command to continue")
    message = str(error) if isinstance(error, ForeignShard) else f"{type(error).__name__}: {error}"
    outcome.failed[job.plan.shard(task.shard).name] = message.splitlines()[0]
