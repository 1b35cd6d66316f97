"""The driver: todo = plan - committed. It keeps no state of its own, so it may die and be started again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from engine.job import Job
from engine.pools import Event, Pool, Task
from engine.worker import Report
from sinks import dataset
from sinks.commit import ForeignShard
from sinks.store import Store, StoreError

KILLED = "killed its worker"
DEATHS_AT_ONE_SAMPLE = 2  # a second death with the same sample in hand puts it into quarantine
MAX_IDLE_DEATHS = 20  # deaths in a row without a shard or a suspect more: the workers cannot work at all
POLL = 1.0  # seconds between looks at an idle pool, so that Ctrl-C is answered


class JobError(Exception):
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


def run(job: Job, store: Store, pool: Pool, progress: Callable[[Report], None] = lambda report: None) -> Outcome:
    """Make every shard that is not committed yet.

    Args:
        progress: called with each shard's report.

    Raises:
        JobError: where workers die without end or the storage fails for good.
    """
    outcome = Outcome()
    todo = _todo(job, store)
    again: deque[Task] = deque()
    in_flight = idle_deaths = 0
    deaths: Counter[str] = Counter()
    while True:
        while pool.room() > 0:
            task = again.popleft() if again else next(todo, None)
            if task is None:
                break
            pool.submit(task)
            in_flight += 1
        if not in_flight:
            return outcome
        for event in pool.wait(POLL):
            in_flight -= 1
            if event.report:
                idle_deaths = 0
                _count(outcome, event.report)
                progress(event.report)
            elif event.error is not None:
                _fail(job, outcome, event)
            else:
                again.appendleft(event.task)
                if event.died:
                    outcome.deaths += 1
                    idle_deaths = 0 if _blame(event, deaths) else idle_deaths + 1
                    if idle_deaths > MAX_IDLE_DEATHS:
                        raise JobError(f"workers die before they make anything; the last said: {event.died}")


def _todo(job: Job, store: Store) -> Iterator[Task]:
    done = bytearray(job.plan.shards)  # a byte a shard: a set of names would take a hundred times as much
    for name in dataset.names(store):
        k = job.plan.number(name)
        if k is not None:
            done[k] = True
    return (Task(k) for k, there in enumerate(done) if not there)


def _blame(event: Event, deaths: Counter[str]) -> bool:
    """Count a death against the samples in hand; true where that puts one into quarantine or under suspicion."""
    event.task.careful = True  # next time one sample in hand at a time, so that the guilty one is known
    deaths.update(event.suspects)
    if len(event.suspects) == 1 and deaths[event.suspects[0]] >= DEATHS_AT_ONE_SAMPLE:
        event.task.skip[event.suspects[0]] = f"{KILLED} ({deaths[event.suspects[0]]} times)"
        return True
    return bool(event.suspects) and deaths[event.suspects[0]] == 1


def _count(outcome: Outcome, report: Report) -> None:
    outcome.shards += 1
    outcome.samples += report.samples
    outcome.quarantined += report.quarantined
    outcome.seconds.update(report.seconds)
    outcome.batch_halvings += report.batch_halvings


def _fail(job: Job, outcome: Outcome, event: Event) -> None:
    if isinstance(event.error, StoreError):
        raise JobError(f"storage failed: {event.error}. What is committed stays; run the same command to continue")
    name = job.plan.shard(event.task.shard).name
    message = (
        str(event.error) if isinstance(event.error, ForeignShard) else f"{type(event.error).__name__}: {event.error}"
    )
    outcome.failed[name] = message.splitlines()[0]
