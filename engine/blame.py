"""Whose fault is a worker's death? The sample that is alone in hand again and again, or that its alarm ended."""

from __future__ import annotations

from collections import Counter

from lesionforge.engine.pool import Task
from lesionforge.engine.watchdog import Found

KILLED = "killed its worker"
LATE = "time:"  # begins the reason of a sample that took longer than it may
# Deaths with the same sample alone in hand that put it into quarantine. Not two: operators and the kernel kill too,
# and a shard is soon made again, so that one sample may be hit twice by chance.
DEATHS_AT_ONE_SAMPLE = 3


class Blame:
    """Remembers the deaths of one run."""

    def __init__(self, limit: float | None) -> None:
        """``limit``: seconds that a sample may take."""
        self._limit = limit
        self._deaths: Counter[str] = Counter()

    def find(self, task: Task, found: Found) -> bool:
        """Lay a death at somebody's door; true where the next attempt is any wiser.

        The next attempt is careful: one sample at a time in hand, so that the guilty one stands alone. A sample found
        guilty is skipped from then on.
        """
        wiser, task.careful = not task.careful, True
        if found.sole is None:
            return wiser and bool(found.in_hand)
        stage, sample_id = found.sole
        self._deaths[sample_id] += 1
        if found.late:
            task.skip[sample_id] = f"{LATE} {stage} took longer than {self._limit:g} s"
        elif self._deaths[sample_id] >= DEATHS_AT_ONE_SAMPLE:
            task.skip[sample_id] = f"{KILLED} ({DEATHS_AT_ONE_SAMPLE} times)"
        return True
