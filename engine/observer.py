"""What happens in a pool, logged and measured."""

from __future__ import annotations

from collections.abc import Callable

from lesionforge.engine import log
from lesionforge.engine.pipeline import Job
from lesionforge.engine.pool import Event, Pool, Task
from lesionforge.engine.telemetry import Meters


class Observer:
    """The same pool to the driver; what goes in and out is told to the log, and to Prometheus where Ray runs."""

    def __init__(
        self, pool: Pool, job: Job, meters: Meters | None = None, states: Callable[[], dict[str, int]] = dict
    ) -> None:
        """``states``: how many workers are placed, pending and draining."""
        self._pool, self._job, self._meters, self._states = pool, job, meters, states
        self._depth = 0

    def room(self) -> int:
        return self._pool.room()

    def submit(self, task: Task) -> None:
        self._pool.submit(task)
        self._depth += 1

    def wait(self, timeout: float) -> list[Event]:
        events = self._pool.wait(timeout)
        for event in events:
            self._tell(event)
        if self._meters:
            self._meters.fleet(self._states(), self._depth)
        return events

    def close(self) -> None:
        self._pool.close()

    def _tell(self, event: Event) -> None:
        shard = self._job.plan.shard(event.task.shard).name if event.task else None
        self._depth -= event.task is not None
        again = event.task is not None and event.report is None and event.error is None
        if event.died:
            found = event.found
            sample = found.sole[1] if found and found.sole else None
            in_hand = list(found.in_hand) if found else None
            log.write("warning", "worker died", shard=shard, sample=sample, in_hand=in_hand, said=event.died)
        elif again:
            log.write("info", "taken back", shard=shard)
        elif event.error is not None:
            log.write("error", "failed", shard=shard, said=f"{type(event.error).__name__}: {event.error}")
        elif event.report is not None:
            counts = {"samples": event.report.samples, "quarantined": event.report.quarantined}
            log.write("info", "committed", shard=shard, **counts, bytes=event.report.bytes)
        if self._meters:
            if event.died:
                self._meters.died()
            if again:
                self._meters.again()
            if event.report is not None:
                self._meters.report(event.report)
