"""The driver: todo = plan - committed. It keeps no state of its own, so it may die and be started again.

A shard that its surroundings failed waits and is tried again (``engine.retries``) while others go on; where nothing
comes out well any more, no other is begun. One that is given up is left undone, for the next run of the same command.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from lesionforge.engine.blame import Blame, overrun
from lesionforge.engine.faults import Fault
from lesionforge.engine.messages import Event, InHand, Report, Task
from lesionforge.engine.pipeline import Pipeline, UnknownLimit, Unprepared
from lesionforge.engine.pool import Pool
from lesionforge.engine.retries import Retries
from lesionforge.engine.telemetry import Meters, log, log_event
from lesionforge.engine.trial import Failures
from lesionforge.generators.types import UserError
from lesionforge.sinks.commit import ForeignShard, publish
from lesionforge.sinks.listing import look
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.lease import Lease

MAX_IDLE_DEATHS = 20  # deaths in a row without a shard or a suspect more: the workers cannot work at all
CONTINUE = "What is committed stays; run the same command to continue"
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

    def include(self, later: Outcome) -> None:
        """Add a run that went on where this one ended."""
        self.shards += later.shards
        self.samples += later.samples
        self.quarantined += later.quarantined
        self.deaths += later.deaths
        self.failed |= later.failed
        self.seconds.update(later.seconds)
        self.batch_halvings += later.batch_halvings


def run(
    pipeline: Pipeline,
    store: Store,
    pool: Pool,
    progress: Callable[[Report], None] = lambda report: None,
    existing: Iterable[int] | None = None,
    lease: Lease | None = None,
    meters: Meters | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Make every shard that is not committed yet.

    Args:
        progress: called with each shard's report.
        existing: numbers of the committed shards, where the caller has listed them; a large listing takes its time.
        lease: where only the driver may write final names (``sinks.commit``), what allows it to.
        meters: the metrics to keep, where Ray runs.
        notify: called with one line when a shard has to wait.

    Raises:
        RecipeFault: where no sample can be made of the recipe.
        RunError: where workers die without end, the storage fails for good, nothing comes out well any more, or one
            reason fails many samples in a row.
    """
    return _Run(pipeline, store, pool, existing, lease, notify).to_its_end(progress, meters)


def committed(pipeline: Pipeline, store: Store) -> Iterator[int]:
    """Numbers of the plan's committed shards, from one listing: reading each one's record would take minutes."""
    return look(store, pipeline.plan).committed()


class _Run:
    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        pool: Pool,
        existing: Iterable[int] | None,
        lease: Lease | None,
        notify: Callable[[str], None],
    ) -> None:
        self._pipeline, self._store, self._pool, self._lease, self._notify = pipeline, store, pool, lease, notify
        done = bytearray(pipeline.plan.shards)  # a byte a shard: a set of names would take a hundred times as much
        for k in committed(pipeline, store) if existing is None else existing:
            done[k] = True
        self._proven = any(done)  # the recipe gives good samples
        self._todo = (k for k, is_done in enumerate(done) if not is_done)
        self._again: deque[Task] = deque()
        self._retries = Retries()
        self._held: list[Task] = []  # shards of failures only, until it shows whether one reason fails all
        self._failures = Failures()
        self._blame = Blame(pipeline.recipe.resources.sample_seconds)
        self._outcome = Outcome()
        self._in_flight = self._most = self._idle_deaths = 0
        self._last_fault = ""

    def to_its_end(self, progress: Callable[[Report], None], meters: Meters | None) -> Outcome:
        task = self._next()
        while (task and not self._vain) or self._in_flight or (self._retries and not self._vain):
            while task and not self._vain and self._pool.room() > 0:
                self._pool.submit(task)
                self._in_flight += 1
                task = self._next()
            self._most = max(self._most, self._in_flight)
            for event in map(self._published, self._pool.wait(self._retries.left(POLL))):
                self._in_flight -= event.task is not None
                log_event(event, self._pipeline.plan.shard(event.task.shard).name if event.task else None)
                if meters:
                    meters.event(event)
                self._heed(event, progress)
            if meters:
                meters.fleet(self._pool.states(), self._in_flight)
            task = task or self._next()
        if self._vain:
            which = "last" if self._proven else "first"
            raise self._end(f"the {which} {self._failures}", ", or allow for it with quality.max_quarantined")
        if self._retries.sick and next(self._todo, None) is not None:
            raise self._end(f"nothing comes out well any more: {self._last_fault}")
        return self._outcome

    def _end(self, what: str, way_round: str = "") -> RunError:
        """The end of a run before its time."""
        if not self._proven:
            return RecipeFault(f"{what}; nothing was committed: {self._failures.advice}")
        return RunError(f"{what}. Mend that{way_round}. {CONTINUE}")

    @property
    def _vain(self) -> bool:
        """Whether all has failed for one reason: what is still in hand may show otherwise, and no more is begun."""
        plan, tolerated = self._pipeline.plan, self._pipeline.recipe.quality.max_quarantined
        if self._proven and (len(self._held) < 2 or self._failures.samples <= tolerated * len(plan)):
            return False
        return self._failures.suffice(plan)

    def _next(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        if task := self._retries.due():
            return task
        if not self._retries.sick and (k := next(self._todo, None)) is not None:
            return Task(k, self._pipeline.identity)
        if self._held and not self._in_flight and not self._retries and not self._vain:
            self._prove()  # no other shard will tell why these failed: it is their samples' fault
            return self._again.popleft()
        return None

    def _published(self, event: Event) -> Event:
        """A shard that was only staged is committed here, or the event becomes that of an error."""
        report = event.report
        if report is None or not report.staged or self._lease is None:
            return event
        try:
            self._lease.check()
        except StoreError as error:
            raise RunError(f"storage failed: {error}. {CONTINUE}") from None
        try:
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
            if event.report.samples:
                self._retries.good()
            if event.report.samples or not (event.task and event.task.proven):
                self._prove()
            progress(event.report)
        elif event.task and event.error is not None:
            event.task.avoid |= event.where
            self._fail(event.task, event.error)
        elif event.task and not event.died:
            self._again.append(event.task)
        if event.died:
            self._outcome.deaths += 1
            wiser = event.task and self._died(event.task, event.in_hand)
            self._idle_deaths = 0 if wiser else self._idle_deaths + 1
            if self._idle_deaths > MAX_IDLE_DEATHS + self._most:  # many nodes may be taken away at once
                raise RunError(f"workers die before they make anything; the last message was: {event.died}")

    def _hold(self, task: Task, failures: Failures) -> None:
        self._held.append(task)
        self._failures.include(failures)
        if not self._failures.alike:
            self._prove()

    def _prove(self) -> None:
        """Not one reason fails all: those held back are made again, and committed whatever becomes of their samples."""
        self._proven = True
        for task in self._held:
            task.proven = True
            task.skip = {name: why for name, why in task.skip.items() if why.kind != "time"}
        self._again.extend(self._held)
        self._held.clear()
        self._failures = Failures()

    def _count(self, report: Report) -> None:
        self._outcome.shards += 1
        self._outcome.samples += report.samples
        self._outcome.quarantined += report.quarantined
        self._outcome.seconds.update(report.seconds)
        self._outcome.batch_halvings += report.batch_halvings

    def _died(self, task: Task, in_hand: InHand | None) -> bool:
        """Lay a worker's death at somebody's door; true where the next attempt is any wiser."""
        guilty = len(task.skip)
        task.others_well = task.tries > 0 and self._retries.well > task.well_before
        wiser = in_hand is not None and self._blame.find(task, in_hand)
        if in_hand and in_hand.late and len(task.skip) <= guilty:
            self._fail(task, overrun(in_hand))
        else:
            self._again.append(task)
        return wiser

    def _fail(self, task: Task, error: Exception) -> None:
        """What its surroundings have failed is tried again, some times; anything else is not."""
        shard = self._pipeline.plan.shard(task.shard).name
        if isinstance(error, Unprepared) and self._proven:
            if not task.avoid:  # this process is the only worker
                raise RunError(f"{error}. Mend that. {CONTINUE}")
            error = Fault("place", str(error))  # it is that worker's alone
        if isinstance(error, Unprepared | UnknownLimit):
            raise RecipeFault(str(error))
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        message = (message.splitlines() or [""])[0]
        if isinstance(error, Fault | StoreError):
            self._last_fault = message
            if isinstance(error, Fault) and error.samples:
                task.suspects = task.suspects & error.samples if task.suspects else error.samples
            if (pause := self._retries.fail(task)) is not None:
                log("warning", "waits", shard=shard, tries=task.tries, seconds=pause, message=message)
                if self._retries.in_a_row == 1:
                    self._notify(f"{shard}: {message}; tried again in {pause:g} s")
                return
            if isinstance(error, StoreError) and self._retries.well == task.well_before:
                raise RunError(f"storage failed: {error}. {CONTINUE}")
            message += f" ({task.tries} tries)"
        self._outcome.failed[shard] = message
