"""Shards that their surroundings failed: each waits, longer every time, and is made again or given up."""

from __future__ import annotations

import heapq
import time

from lesionforge.engine.messages import Task

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # seconds before each new try: an unmounted share comes back meanwhile
SICK = 8  # faults in a row without a good shard in between, after which no other shard is begun


class Retries:
    """The shards that wait, and how the place is doing.

    Attributes:
        well: shards that came out well so far.
        in_a_row: faults since the last of them.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Task]] = []  # due, shard
        self.well = self.in_a_row = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def sick(self) -> bool:
        """Whether nothing comes out well any more: those that wait are tried again, and nothing else."""
        return self.in_a_row >= SICK

    def good(self) -> None:
        """A shard came out well."""
        self.well += 1
        self.in_a_row = 0

    def fail(self, task: Task) -> float | None:
        """A try has failed through no fault of the shard's own.

        Returns:
            Seconds until the next one; ``None`` where there were enough.
        """
        self.in_a_row += 1
        if not task.tries:
            task.well_before = self.well
        task.tries += 1
        if task.tries > len(PAUSES):
            return None
        pause = PAUSES[task.tries - 1]
        heapq.heappush(self._waiting, (time.monotonic() + pause, task.shard, task))
        return pause

    def due(self) -> Task | None:
        """A shard whose pause is over."""
        if not self._waiting or self._waiting[0][0] > time.monotonic():
            return None
        task = heapq.heappop(self._waiting)[2]
        task.others_well = self.well > task.well_before
        return task

    def left(self, most: float) -> float:
        """Seconds until the next pause is over, at most so many."""
        return min([most, *(max(0.0, due - time.monotonic()) for due, _, _ in self._waiting[:1])])
