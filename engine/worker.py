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

from lesionforge.engine import limits, log
from lesionforge.engine.pipeline import Job
from lesionforge.engine.plan import Shard
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.sample import MEMORY, QUALITY, Maker, describe
from lesionforge.engine.telemetry import STAGES, kind
from lesionforge.engine.watchdog import Breadcrumb
from lesionforge.generators.types import Case, Sample, SampleSpec
from lesionforge.sinks import index, layout
from lesionforge.sinks.commit import commit, committed, stage
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar

QUEUE = 2  # batches waiting between two stages: enough to overlap, few enough to bound memory

T = TypeVar("T")
Item = tuple[SampleSpec, Case | str]
Made = tuple[Row, Sample | str]


@dataclass
class Report:
    """What a worker tells the driver about a shard."""

    shard: int
    samples: int
    quarantined: int
    bytes: int
    seconds: dict[str, float] = field(default_factory=dict)  # busy seconds per stage, and "wall"
    batch_halvings: int = 0  # times that memory ran out and a batch was made in two halves
    redraws: int = 0  # samples drawn again because they missed a limit
    kinds: dict[str, int] = field(default_factory=dict)  # quarantined samples by kind of reason
    staged: str = ""  # the attempt that the driver is to publish, where the place needs that (sinks.commit)


class Worker:
    """Makes shards of one job into one store."""

    def __init__(self, recipe: Recipe, store: Store, breadcrumb: Breadcrumb | None = None) -> None:
        """``breadcrumb`` tells a driver which samples were in hand when the process died."""
        self.job = Job(recipe)
        self.store = store
        self.breadcrumb = breadcrumb or Breadcrumb()
        self.maker = Maker(self.job)
        self.version = version("lesionforge")

    def make(self, k: int, skip: Mapping[str, str] | None = None, careful: bool = False) -> Report:
        """Make and commit shard ``k``; a shard that is committed already is left alone.

        Args:
            k: its number in the plan.
            skip: sample id -> reason, for samples that are quarantined unmade.
            careful: one sample in hand at a time, so that a death blames exactly one.
        """
        shard = self.job.plan.shard(k)
        seconds = dict.fromkeys(STAGES, 0.0)
        start = time.perf_counter()
        if self.store.exists(layout.index(shard.name)):
            return self._report(k, committed(self.store, shard.name, self.job.identity), seconds)
        log.write("debug", "begun", shard=shard.name)
        self.maker.prepare()
        rows, body = self._made(shard, skip or {}, careful, seconds)
        if not careful and any((row.reason or "").startswith(MEMORY) for row in rows):
            # Whose fault it was shows only where one sample at a time is in hand.
            rows, body = self._made(shard, skip or {}, True, seconds)
        work, staged = (self.store, shard.name, self.job.identity, self.version, rows, body), ""
        with _Timed(seconds, "commit"):
            if self.store.lease:
                record, staged = stage(*work)
            else:
                record = commit(*work)
        seconds["wall"] = time.perf_counter() - start
        _log(shard.name, rows, record, seconds)
        redraws = sum(row.redraws for row in rows)
        reasons = Counter(kind(row.reason or "") for row in rows if row.status == "quarantined")
        return replace(self._report(k, record, seconds), staged=staged, redraws=redraws, kinds=reasons)

    def _made(
        self, shard: Shard, skip: Mapping[str, str], careful: bool, seconds: dict[str, float]
    ) -> tuple[list[Row], Tar]:
        """All samples of a shard, within the limits of time and memory."""
        body, rows = Tar(), list[Row]()
        with self.breadcrumb.shard(), limits.memory(self._allowance(shard)):
            for row, result in self._generated(shard, skip, careful, seconds):
                with _Timed(seconds, "encode"), self.breadcrumb.work("encoding", [row.sample_id]):
                    rows.append(self._pack(body, row, result))
                self.breadcrumb.leave(row.sample_id)
        return rows, body

    def _allowance(self, shard: Shard) -> int | None:
        """Bytes that making a shard may take: what the recipe allows, and the finished samples, held until the end."""
        allowed = self.job.recipe.resources.memory
        if allowed is None:
            return None
        known = self.job.plan.sample_bytes
        return allowed + (self.job.recipe.shard.bytes if known is None else len(shard) * known)

    def _cases(self, shard: Shard, skip: Mapping[str, str], seconds: dict[str, float]) -> Iterator[Item]:
        for spec in self.job.plan.specs(shard):
            self.breadcrumb.enter(spec.sample_id)
            if spec.sample_id in skip:
                yield spec, skip[spec.sample_id]
                continue
            with _Timed(seconds, "read"), self.breadcrumb.work("reading", [spec.sample_id]):
                case = self.maker.read(spec)
            yield spec, case

    def _generated(
        self, shard: Shard, skip: Mapping[str, str], careful: bool, seconds: dict[str, float]
    ) -> Iterator[Made]:
        """Rows and samples in order. Careful: no stage runs ahead, and no batch."""
        cases = self._cases(shard, skip, seconds)
        if careful:
            return self._batched(cases, 1, seconds)
        return _stage(self._batched(_stage(cases), self.job.recipe.resources.batch, seconds))

    def _batched(self, cases: Iterator[Item], size: int, seconds: dict[str, float]) -> Iterator[Made]:
        for batch in _batches(cases, size):
            good = [(spec, case) for spec, case in batch if not isinstance(case, str)]
            results: Iterator[Sample | str] = iter(())
            if good:
                with _Timed(seconds, "generate"), self.breadcrumb.work("making", [s.sample_id for s, _ in good]):
                    results = iter(list(self.maker.make([c for _, c in good], [s for s, _ in good])))
            for spec, case in batch:
                yield self.maker.row(spec, case), case if isinstance(case, str) else next(results)

    def _pack(self, body: Tar, row: Row, result: Sample | str) -> Row:
        if not isinstance(result, str):
            try:
                members = self.maker.members(result, row)
                data = {name: encode(name, value) for name, value in members.items()}
                entry = body.add(row.sample_id, data)
            except (ValueError, TypeError) as error:
                result = f"encode: {describe(error)}"
            except MemoryError as error:
                result = self.maker.out_of_memory(error)
            else:
                full = index.row_of(members["json"])
                return index.place(full, entry)
        if result.startswith(QUALITY):
            row.redraws = self.job.recipe.quality.redraws
        row.status, row.reason = "quarantined", result
        return row

    def _report(self, k: int, record: Record, seconds: dict[str, float]) -> Report:
        halvings, self.maker.batch_halvings = self.maker.batch_halvings, 0
        return Report(k, record.samples, record.quarantined, record.tar_bytes, seconds, halvings)


def _log(shard: str, rows: list[Row], record: Record, seconds: Mapping[str, float]) -> None:
    for row in rows:
        if row.status == "quarantined":
            log.write("warning", "quarantined", shard=shard, sample=row.sample_id, reason=row.reason)
    counts = {"samples": record.samples, "quarantined": record.quarantined, "bytes": record.tar_bytes}
    log.write("info", "made", shard=shard, **counts, seconds={k: round(v, 3) for k, v in seconds.items()})


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
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
