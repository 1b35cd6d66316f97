"""What commands say: one line or one JSON object on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

OK, FAILED, SHORT, INTERRUPTED = 0, 1, 3, 130
LOG_SECONDS = 10.0  # between progress lines where there is no terminal

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


def own_standard_output() -> None:
    """Keep standard output for results: whatever libraries (Ray's cluster messages) print goes to standard error."""
    sys.stdout.flush()
    out.file = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def emit(body: Mapping[str, Any], as_json: bool, text: Callable[[], None]) -> None:
    """Print the result for a machine or for a person."""
    if as_json:
        out.file.write(json.dumps(body, indent=1, allow_nan=False) + "\n")
        out.file.flush()
    else:
        text()


def note(line: str) -> None:
    """One line on standard error that a person should know of."""
    err.print(f"note: {line}", markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard output; all columns but the first to the right."""
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for n, column in enumerate(columns):
        grid.add_column(column, justify="left" if n == 0 else "right")
    for row in rows:
        grid.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    out.print(grid)


class Meter:
    """Counts samples as shards come in."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.quarantined = total, done, 0
        self._began, self._first = time.monotonic(), done

    @property
    def rate(self) -> float:
        """Samples per second of this run."""
        return (self.done - self._first) / max(1e-9, time.monotonic() - self._began)

    def line(self) -> str:
        """One line for logs."""
        left = (self.total - self.done) / self.rate if self.rate > 0 else float("nan")
        return (
            f"{self.done}/{self.total} samples  {self.rate:.1f} samples/s  {self.quarantined} quarantined  "
            f"about {human_seconds(left)} left"
        )


@contextmanager
def progress(total: int, done: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line now and then in a log; yields ``advance(samples, quarantined)``."""
    meter = Meter(total, done)

    def count(samples: int, quarantined: int) -> None:
        meter.done += samples + quarantined
        meter.quarantined += quarantined

    if not err.is_terminal:
        last = time.monotonic()

        def log(samples: int, quarantined: int) -> None:
            nonlocal last
            count(samples, quarantined)
            if time.monotonic() - last > LOG_SECONDS:
                last = time.monotonic()
                err.print(meter.line())

        yield log
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} samples/s"),
        TextColumn("{task.fields[quarantined]} quarantined"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, speed_estimate_period=60) as bar:
        task = bar.add_task("samples", total=total, completed=done, rate=0.0, quarantined=0)

        def advance(samples: int, quarantined: int) -> None:
            count(samples, quarantined)
            bar.update(task, completed=meter.done, rate=meter.rate, quarantined=meter.quarantined)

        yield advance


def human_seconds(seconds: float) -> str:
    """``2 h 05 min``, ``3 min 20 s``, ``12 s``."""
    if not seconds < 1e12:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 100:
        return f"{int(minutes)} min {int(seconds % 60):02d} s"
    return f"{int(minutes // 60):,} h {int(minutes % 60):02d} min"
