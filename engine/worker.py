"""A worker: makes whole shards. Reading, generating and encoding overlap through bounded queues.

Plain Python: the Ray actor and the in-process runner wrap the same object.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, TypeVar

from lesionforge.engine import telemetry
from lesionforge.engine.blame import Suspect, settle
from lesionforge.engine.faults import Fault, find
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Report, Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.plan import Shard
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.sample import Maker, describe
from lesionforge.engine.telemetry import STAGES
from lesionforge.engine.trial import Failures
from lesionforge.engine.watchdog import Watchdog, memory_limit
from lesionforge.generators.types import Given, Sample, SampleSpec, UserError
from lesionforge.sinks import index, layout
from lesionforge.sinks.commit import commit, committed, stage
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.manifest import hashes
from lesionforge.sinks.quarantine import Quarantined
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar

QUEUE = 2  # batches waiting between two stages: enough to overlap, few enough to bound memory

T = TypeVar("T")
ReadCase = tuple[SampleSpec, Given | Quarantined]
Result = tuple[Row, Sample | Quarantined]


@dataclass
class _Made:
    """What has become of a shard's samples."""

    body: Tar = field(default_factory=Tar)
    rows: list[Row] = field(default_factory=list)
    suspects: dict[str, Fault] = field(default_factory=dict)  # what failed at a sample, and may be its own fault
    failures: Failures | None = None  # all of them, for one reason


class Worker:
    """Makes shards of one recipe into one store."""

    def __init__(
        self, recipe: Recipe, store: Store, watchdog: Watchdog | None = None, terms: Terms | None = None
    ) -> None:
        """``watchdog`` tells a driver which samples were in hand when the process died, ``terms`` what the driver saw.

        Alone, without terms, a worker goes by what it sees itself.
        """
        self.recipe, self.terms = recipe, terms
        self.pipeline: Pipeline  # opened with the first task, where a driver's terms tell how
        self.store = store
        self.watchdog = watchdog or Watchdog()
        self.version = version("lesionforge")
        if terms is None:
            self._open(Pipeline(recipe))

    def _open(self, pipeline: Pipeline) -> None:
        self.pipeline, self.maker = pipeline, Maker(pipeline, kept=True)

    def make(self, task: Task) -> Report:
        """Make and commit a shard; one that is committed already is left alone.

        A shard whose samples all fail for one reason is not committed, and left after the first of them, unless the
        task says that others came out well since (``engine.trial``): the report holds its ``failures``.

        Raises:
            Fault: where the surroundings failed it.
        """
        try:
            return self._make(task)
        except UserError:
            raise
        except Exception as error:
            if fault := find(error):
                raise fault from None
            raise

    def _make(self, task: Task) -> Report:
        self._agree(task)
        k, shard = task.shard, self.pipeline.plan.shard(task.shard)
        seconds = dict.fromkeys(STAGES, 0.0)
        start = time.perf_counter()
        if self.store.exists(layout.index(shard.name)):
            return self._report(k, committed(self.store, shard.name, self.pipeline.identity), seconds)
        telemetry.log("debug", "begun", shard=shard.name)
        self.maker.prepare()
        made = self._samples(task, shard, seconds)
        if not task.careful and any((row.reason or "").startswith("memory:") for row in made.rows):
            # Whose fault it was shows only where one sample at a time is in hand.
            made = self._samples(replace(task, careful=True), shard, seconds)
        rows = made.rows
        settle(task, {row.sample_id: row.status != "quarantined" for row in rows}, made.suspects)
        if made.failures:
            return Report(k, 0, 0, 0, seconds, failures=made.failures)
        work, staged = (self.store, shard.name, self.pipeline.identity, self.version, rows, made.body), ""
        with _Timed(seconds, "commit"):
            if self.store.lease:
                record, staged = stage(*work)
            else:
                record = commit(*work, lambda: hashes(self.store).get(shard.name))
        seconds["wall"] = time.perf_counter() - start
        _log(shard.name, rows, record, seconds)
        redraws = sum(row.redraws for row in rows)
        kinds = Counter[str](Quarantined.read(row.reason).kind for row in rows if row.reason)
        return replace(self._report(k, record, seconds), staged=staged, redraws=redraws, kinds=kinds)

    def _agree(self, task: Task) -> None:
        """Open the recipe, or refuse to make another dataset than the driver's: next time it may be there as it was.

        Raises:
            Fault: where this worker would.
        """
        if self.terms and not hasattr(self, "pipeline"):
            self._open(self.terms.open(self.recipe))
        if task.identity not in ("", self.pipeline.identity):
            raise Fault("place", "the sources on this node are not what the driver saw")

    def _samples(self, task: Task, shard: Shard, seconds: dict[str, float]) -> _Made:
        """All samples of a shard, within the limits of time and memory, or the failures that make the rest vain."""
        made, rows, failures = _Made(), list[Row](), Failures()
        vain = threading.Event()  # nothing more need be read
        with self.watchdog.shard(), memory_limit(self._allowance(shard)):
            for row, result in self._generated(task, shard, seconds, vain):
                with _Timed(seconds, "encode"), self.watchdog.work("encoding", [row.sample_id]):
                    rows.append(self._pack(made, row, result))
                well = rows[-1].status != "quarantined"
                self.watchdog.leave(row.sample_id, well)
                if not well:
                    failures.add(rows[-1])
                if not task.proven and failures.samples == len(rows) and failures.suffice(self.pipeline.plan):
                    vain.set()
        made.rows = rows
        if not task.proven and failures.samples == len(rows) and failures.alike:
            made.failures = failures
        elif len(rows) < len(shard):  # one came out well when no more was read
            return self._samples(replace(task, proven=True), shard, seconds)
        return made

    def _allowance(self, shard: Shard) -> int | None:
        """Bytes that making a shard may take: what the recipe allows, and the finished samples, held until the end."""
        allowed = self.pipeline.recipe.resources.memory
        if allowed is None:
            return None
        known = self.pipeline.plan.sample_bytes
        return allowed + (self.pipeline.recipe.shard.bytes if known is None else len(shard) * known)

    def _cases(self, task: Task, shard: Shard, seconds: dict[str, float], vain: threading.Event) -> Iterator[ReadCase]:
        for spec in self.pipeline.plan.specs(shard):
            if vain.is_set():
                return
            self.watchdog.enter(spec.sample_id)
            if spec.sample_id in task.skip:
                yield spec, task.skip[spec.sample_id]
                continue
            with _Timed(seconds, "read"), self.watchdog.work("reading", [spec.sample_id]):
                case = self.maker.read(spec)
            yield spec, case

    def _generated(
        self, task: Task, shard: Shard, seconds: dict[str, float], vain: threading.Event
    ) -> Iterator[Result]:
        """Rows and samples in order. Careful: no stage runs ahead, and no batch."""
        cases = self._cases(task, shard, seconds, vain)
        if task.careful:
            return self._batched(cases, 1, seconds)
        return _stage(self._batched(_stage(cases), self.pipeline.recipe.resources.batch, seconds))

    def _batched(self, cases: Iterator[ReadCase], size: int, seconds: dict[str, float]) -> Iterator[Result]:
        for batch in _batches(cases, size):
            good = [(spec, case) for spec, case in batch if not isinstance(case, Quarantined)]
            results: Iterator[Sample | Quarantined] = iter(())
            if good:
                with _Timed(seconds, "generate"), self.watchdog.work("making", [s.sample_id for s, _ in good]):
                    results = iter(list(self.maker.make([c for _, c in good], [s for s, _ in good])))
            for spec, case in batch:
                yield self.maker.row(spec, case), case if isinstance(case, Quarantined) else next(results)

    def _pack(self, made: _Made, row: Row, result: Sample | Quarantined) -> Row:
        if not isinstance(result, Quarantined):
            try:
                members = self.maker.members(result, row)
                data = {name: encode(name, value) for name, value in members.items()}
                entry = made.body.add(row.sample_id, data)
            except (ValueError, TypeError) as error:
                result = Quarantined("encode", describe(error))
            except MemoryError as error:
                result = self.maker.out_of_memory(error, row.sample_id)
            else:
                full = index.row_of(members["json"])
                return index.place(full, entry)
        if result.kind == "quality":
            row.redraws = self.pipeline.recipe.quality.redraws
        if isinstance(result, Suspect):
            made.suspects[row.sample_id] = result.fault
        row.status, row.reason = "quarantined", str(result)
        return row

    def _report(self, k: int, record: Record, seconds: dict[str, float]) -> Report:
        halvings, self.maker.batch_halvings = self.maker.batch_halvings, 0
        return Report(k, record.samples, record.quarantined, record.tar_bytes, seconds, halvings)


def _log(shard: str, rows: list[Row], record: Record, seconds: Mapping[str, float]) -> None:
    for row in rows:
        if row.status == "quarantined":
            telemetry.log("warning", "quarantined", shard=shard, sample=row.sample_id, reason=row.reason)
    counts = {"samples": record.samples, "quarantined": record.quarantined, "bytes": record.tar_bytes}
    telemetry.log("info", "made", shard=shard, **counts, seconds={k: round(v, 3) for k, v in seconds.items()})


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class _Timed:
    """Adds the time spent inside to one stage's seconds."""

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self.seconds, self.stage = seconds, stage

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.stage] += time.perf_counter() - self.start


def _stage(items: Iterator[T]) -> Iterator[T]:
    """Run an iterator in a thread of its own, ``QUEUE`` items ahead; its exception comes out here."""
    ahead: queue.Queue[Any] = queue.Queue(QUEUE)
    stop = threading.Event()
    end = object()

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return ahead.put(item, timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put((end, None))
        except BaseException as error:
            put((end, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        while True:
            item, error = ahead.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
