"""Where workers run: in this process (to debug), or as Ray actors (``engine.ray.pool``).

Both hand out the same events, so the driver knows one kind of pool.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from lesionforge.engine.recipe import Recipe
from lesionforge.engine.watchdog import Found
from lesionforge.engine.worker import Report, Worker
from lesionforge.sinks.store import Store


@dataclass
class Task:
    """A shard to make, and what is known of its earlier attempts."""

    shard: int
    skip: dict[str, str] = field(default_factory=dict)
    careful: bool = False


@dataclass
class Event:
    """The end of an attempt: a report, a worker's death with the samples it had in hand, or an error.

    ``task`` is ``None`` for a worker that died before it had one, ``found`` for one whose shard had not begun.
    """

    task: Task | None
    report: Report | None = None
    died: str | None = None
    found: Found | None = None
    error: Exception | None = None


class Pool(Protocol):
    """Takes tasks while it has room and tells how they ended."""

    def room(self) -> int: ...
    def submit(self, task: Task) -> None: ...
    def wait(self, timeout: float) -> list[Event]: ...
    def close(self) -> None: ...


class InProcess:
    """One worker in this process: for a debugger, and the reference that the others must equal.

    Nothing bounds a sample's time here, as a debugger stops it for as long as a person likes, and what kills its
    process ends the run. ``resources.memory`` holds as in every worker.
    """

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self._worker = Worker(recipe, store)
        self._tasks: deque[Task] = deque()

    def room(self) -> int:
        return 1 - len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout: float) -> list[Event]:
        task = self._tasks.popleft()
        try:
            return [Event(task, self._worker.make(task.shard, task.skip, task.careful))]
        except Exception as error:
            return [Event(task, error=error)]

    def close(self) -> None:
        """Nothing to end."""
