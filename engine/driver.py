"""The driver: todo = plan - committed. It keeps no state of its own, so it may die and be started again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from lesionforge.engine.messages import Event, InHand, Report, Task
from lesionforge.engine.pipeline import Pipeline, UnknownLimit
from lesionforge.engine.pool import Pool
from lesionforge.engine.telemetry import Meters, log_event
from lesionforge.engine.trial import Failures
from lesionforge.generators.types import UserError
from lesionforge.sinks import dataset
from lesionforge.sinks.commit import ForeignShard, publish
from lesionforge.sinks.quarantine import Quarantined
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.lease import Lease

# Deaths with the same sample alone in hand that put it into quarantine. Not two: operators and the kernel kill too,
# and a shard is soon made again, so that one sample may be hit twice by chance.
DEATHS_AT_ONE_SAMPLE = 3
MAX_IDLE_DEATHS = 20  # deaths in a row without a shard or a suspect more: the workers cannot work at all
POLL = 1.0  # seconds between looks at an idle pool, so that Ctrl-C is answered


class RunError(UserError):
    """The run cannot go on; what is committed stays, and the same command continues."""


class RecipeFault(RunError):
    """No sample can be made of this recipe; nothing was committed, and its place may be given back."""


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
    pipeline: Pipeline,
    store: Store,
    pool: Pool,
    progress: Callable[[Report], None] = lambda report: None,
    existing: Iterable[int] | None = None,
    lease: Lease | None = None,
    meters: Meters | None = None,
) -> Outcome:
    """Make every shard that is not committed yet.

    Args:
        progress: called with each shard's report.
        existing: numbers of the committed shards, where the caller has listed them; a large listing takes its time.
        lease: where only the driver may write final names (``sinks.commit``), what allows it to.
        meters: the metrics to keep, where Ray runs.

    Raises:
        RecipeFault: where no sample can be made of the recipe.
        RunError: where workers die without end or the storage fails for good.
    """
    return _Run(pipeline, store, pool, existing, lease).to_its_end(progress, meters)


def committed(pipeline: Pipeline, store: Store) -> Iterator[int]:
    """Numbers of the plan's committed shards, by their names alone: reading each one's record would take minutes."""
    return (k for k in map(pipeline.plan.number, dataset.names(store)) if k is not None)


class _Run:
    def __init__(
        self, pipeline: Pipeline, store: Store, pool: Pool, existing: Iterable[int] | None, lease: Lease | None
    ) -> None:
        self._pipeline, self._store, self._pool, self._lease = pipeline, store, pool, lease
        done = bytearray(pipeline.plan.shards)  # a byte a shard: a set of names would take a hundred times as much
        for k in committed(pipeline, store) if existing is None else existing:
            done[k] = True
        self._proven = any(done)  # the recipe gives good samples
        self._todo = (k for k, is_done in enumerate(done) if not is_done)
        self._again: deque[Task] = deque()
        self._held: list[Task] = []  # shards of failures only, until it shows whether the recipe is to blame
        self._failures = Failures()
        self._blame = Blame(pipeline.recipe.resources.sample_seconds)
        self._outcome = Outcome()
        self._in_flight = self._most = self._idle_deaths = 0

    def to_its_end(self, progress: Callable[[Report], None], meters: Meters | None) -> Outcome:
        task = self._next()
        while (task and not self._vain) or self._in_flight:
            while task and not self._vain and self._pool.room() > 0:
                task.proven = self._proven
                self._pool.submit(task)
                self._in_flight += 1
                task = self._next()
            self._most = max(self._most, self._in_flight)
            for event in map(self._published, self._pool.wait(POLL)):
                self._in_flight -= event.task is not None
                log_event(event, self._pipeline.plan.shard(event.task.shard).name if event.task else None)
                if meters:
                    meters.event(event)
                self._heed(event, progress)
            if meters:
                meters.fleet(self._pool.states(), self._in_flight)
            task = task or self._next()
        if self._held:
            raise RecipeFault(str(self._failures))
        return self._outcome

    @property
    def _vain(self) -> bool:
        """Whether all has failed for one reason: what is still in hand may show otherwise, and no more is begun."""
        return not self._proven and self._failures.suffice(self._pipeline.plan)

    def _next(self) -> Task | None:
        if self._again:
            task = self._again.popleft()
        elif (k := next(self._todo, None)) is not None:
            task = Task(k)
        else:
            return None
        return task

    def _published(self, event: Event) -> Event:
        """A shard that was only staged is committed here, or the event becomes that of an error."""
        report = event.report
        if report is None or not report.staged or self._lease is None:
            return event
        try:
            self._lease.check()
            shard = self._pipeline.plan.shard(report.shard).name
            record = publish(self._store, shard, self._pipeline.identity, report.staged)
        except (StoreError, ForeignShard) as error:
            return Event(event.task, error=error)
        stands = replace(report, samples=record.samples, quarantined=record.quarantined, bytes=record.tar_bytes)
        return replace(event, report=stands)

    def _heed(self, event: Event, progress: Callable[[Report], None]) -> None:
        if event.task and event.report and event.report.failures:
            self._idle_deaths = 0
            self._hold(event.task, event.report.failures)
        elif event.report:
            self._idle_deaths = 0
            self._count(event.report)
            self._prove()
            progress(event.report)
        elif event.task and event.error is not None:
            self._fail(event.task, event.error)
        elif event.task:
            self._again.append(event.task)
        if event.died:
            self._outcome.deaths += 1
            wiser = event.task and event.in_hand and self._blame.find(event.task, event.in_hand)
            self._idle_deaths = 0 if wiser else self._idle_deaths + 1
            if self._idle_deaths > MAX_IDLE_DEATHS + self._most:  # many nodes may be taken away at once
                raise RunError(f"workers die before they make anything; the last message was: {event.died}")

    def _hold(self, task: Task, failures: Failures) -> None:
        self._held.append(task)
        self._failures.include(failures)
        if self._proven or not self._failures.alike:
            self._prove()

    def _prove(self) -> None:
        """Not the recipe is to blame: shards are committed as they come, and those held back are made again."""
        self._proven = True
        self._again.extend(self._held)
        self._held.clear()

    def _count(self, report: Report) -> None:
        self._outcome.shards += 1
        self._outcome.samples += report.samples
        self._outcome.quarantined += report.quarantined
        self._outcome.seconds.update(report.seconds)
        self._outcome.batch_halvings += report.batch_halvings

    def _fail(self, task: Task, error: Exception) -> None:
        if isinstance(error, StoreError):
            raise RunError(f"storage failed: {error}. What is committed stays; run the same command to continue")
        if isinstance(error, UnknownLimit):
            raise RecipeFault(str(error))
        message = str(error) if isinstance(error, ForeignShard) else f"{type(error).__name__}: {error}"
        self._outcome.failed[self._pipeline.plan.shard(task.shard).name] = message.splitlines()[0]
        self._prove()


class Blame:
    """Whose fault is a worker's death? The sample that is alone in hand again and again, or that its alarm ended."""

    def __init__(self, limit: float | None) -> None:
        """``limit``: seconds that a sample may take."""
        self._limit = limit
        self._deaths: Counter[str] = Counter()

    def find(self, task: Task, in_hand: InHand) -> bool:
        """Lay a death at somebody's door; true where the next attempt is any wiser.

        The next attempt is careful: one sample at a time in hand, so that the guilty one stands alone. A sample found
        guilty is skipped from then on.
        """
        wiser, task.careful = not task.careful, True
        if in_hand.sole is None:
            return wiser and bool(in_hand.samples)
        stage, sample_id = in_hand.sole
        self._deaths[sample_id] += 1
        if in_hand.late:
            task.skip[sample_id] = Quarantined("time", f"{stage} took longer than {self._limit:g} s")
        elif self._deaths[sample_id] >= DEATHS_AT_ONE_SAMPLE:
            task.skip[sample_id] = Quarantined("killed", f"its worker ({DEATHS_AT_ONE_SAMPLE} times)")
        return True
