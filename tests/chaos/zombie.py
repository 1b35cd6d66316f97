"""A worker that stops itself at a chosen moment: ``python -m tests.chaos.zombie RECIPE OUT MOMENT``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from lesionforge.engine import dataset, recipe_yaml
from lesionforge.engine.messages import Task
from lesionforge.engine.worker import Worker
from lesionforge.sinks.store import Store
from lesionforge.sinks.store.disk import Disk
from tests import faulty


def once(function: Callable[..., Any], nth: int = 1) -> Callable[..., Any]:
    """The function, with this process stopped before its ``nth`` call."""
    calls = iter(range(1, 1_000_000))

    def stopping(*given: Any, **named: Any) -> Any:
        if next(calls) == nth:
            os.kill(os.getpid(), signal.SIGSTOP)
        return function(*given, **named)

    return stopping


#: When it stops -> what is patched, and at which call.
MOMENTS: dict[str, tuple[Any, str, int]] = {
    "in the middle of a sample": (faulty.Faulty, "_misbehave", 4),
    "before the tar": (Store, "put_new", 1),
    "tar written, not yet named": (Disk, "_link", 1),
    "between tar and index": (Store, "put_new", 3),
    "index written, not yet named": (Disk, "_link", 3),
}


def main() -> None:
    path, out, moment = sys.argv[1:]
    owner, name, nth = MOMENTS[moment]
    worker = Worker(recipe_yaml.load(Path(path)), Store(out))
    dataset.claim(worker.store, dataset.describe(worker.pipeline))  # as its driver did before it slept
    with mock.patch.object(owner, name, once(getattr(owner, name), nth)):
        worker.make(Task(0))
    sys.stdout.write("finished\n")


if __name__ == "__main__":
    main()
