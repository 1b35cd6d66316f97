"""Progress of a long job on standard error: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lesionforge.jobs import console
from lesionforge.jobs.studies.runs import Some, finished


@contextmanager
def steps(name: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields ``advance(done, of, note)``."""
    if not console.err.is_terminal:
        last = 0.0

        def log(done: int, of: int, note: str) -> None:
            nonlocal last
            if time.monotonic() - last > console.LOG_SECONDS or done == of:
                last = time.monotonic()
                console.err.print(f"{name} {done}/{of}  {note}", markup=False)

        yield log
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(TextColumn(name), *columns, TextColumn("{task.fields[note]}"), console=console.err) as bar:
        task = bar.add_task(name, total=None, note="")
        yield lambda done, of, note: bar.update(task, completed=done, total=of, note=note)


def follow(
    todo: Sequence[Some],
    out: Path,
    conduct: Callable[[Callable[[dict[str, Any]], None]], object],
    note: Callable[[dict[str, Any]], str],
) -> None:
    """Conduct a study's runs, and show each as it ends.

    Args:
        todo: runs; those finished before count.
        out: folder of the study.
        conduct: runs what is left, and tells each result.
        note: a result in a few words.
    """
    with steps("runs") as advance:
        done = len(finished(todo, out))
        advance(done, len(todo), "")

        def tell(result: dict[str, Any]) -> None:
            nonlocal done
            done += 1
            advance(done, len(todo), note(result))

        conduct(tell)
