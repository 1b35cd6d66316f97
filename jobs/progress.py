"""Progress of a long job on standard error: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lesionforge.jobs import console


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
