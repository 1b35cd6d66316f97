"""Where workers run: in this process (to debug), or as Ray actors (``engine.ray.pool``).

Both hand out the same events, so the driver knows one kind of pool.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol

from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Event, Task
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.worker import Worker
from lesionforge.sinks.store import Store


class Pool(Protocol):
    """Takes tasks while it has room and tells how they ended."""

    def room(self) -> int: ...
    def submit(self, task: Task) -> None: ...
    def wait(self, timeout: float) -> list[Event]: ...
    def states(self) -> dict[str, int]: ...
    def close(self) -> None: ...


class InProcess:
    """One worker in this process: for a debugger, and the reference that the others must equal.

    Nothing bounds a sample's time here, as a debugger stops it for as long as a person likes, and what kills its
    process ends the run. ``resources.memory`` holds as in every worker.
    """

    def __init__(self, recipe: Recipe, store: Store, terms: Terms | None = None) -> None:
        self._worker = Worker(recipe, store, terms=terms)
        self._tasks: deque[Task] = deque()

    def room(self) -> int:
        return 1 - len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout: float) -> list[Event]:
        if not self._tasks:
            time.sleep(timeout)
            return []
        task = self._tasks.popleft()
        try:
            return [Event(task, self._worker.make(task))]
        except Exception as error:
            return [Event(task, error=error)]

    def states(self) -> dict[str, int]:
        """How many workers are in each state: for metrics, which this process has none of."""
        return {}

    def close(self) -> None:
        """Nothing to end."""
