"""Where only the driver may write final names (``sinks.commit``): a pool whose finished shards it publishes."""

from __future__ import annotations

from dataclasses import replace

from lesionforge.engine.pipeline import Job
from lesionforge.engine.pool import Event, Pool, Task
from lesionforge.sinks.commit import ForeignShard, publish
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.lease import Lease


class Publisher:
    """The same pool to the driver; a shard counts as made once it is published here."""

    def __init__(self, pool: Pool, job: Job, store: Store, lease: Lease) -> None:
        self._pool, self._job, self._store, self._lease = pool, job, store, lease

    def room(self) -> int:
        return self._pool.room()

    def submit(self, task: Task) -> None:
        self._pool.submit(task)

    def wait(self, timeout: float) -> list[Event]:
        return [self._published(event) for event in self._pool.wait(timeout)]

    def close(self) -> None:
        self._pool.close()

    def _published(self, event: Event) -> Event:
        report = event.report
        if report is None or not report.staged:
            return event
        try:
            self._lease.check()
            shard = self._job.plan.shard(report.shard).name
            record = publish(self._store, shard, self._job.identity, report.staged)
        except (StoreError, ForeignShard) as error:
            return Event(event.task, error=error)
        stands = replace(report, samples=record.samples, quarantined=record.quarantined, bytes=record.tar_bytes)
        return replace(event, report=stands)
