"""Progress of a long job on standard error: a bar on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lesionforge.jobs import console

LOG_SECONDS = 10.0  # between lines where there is no terminal
NOTEBOOK_SECONDS = 0.25  # between pictures of the bar in a notebook

Advance = Callable[[int, int, str], None]


@contextmanager
def steps(name: str) -> Iterator[Advance]:
    """Yields ``advance(done, of, note)``."""
    if console.err.is_jupyter:
        yield _notebook(name)
    elif not console.err.is_terminal:
        yield _log(name)
    else:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
        note = TextColumn("{task.fields[note]}", markup=False)
        with Progress(TextColumn(name), *columns, note, console=console.err, speed_estimate_period=60) as bar:
            task = bar.add_task(name, total=None, note="")
            yield lambda done, of, note: bar.update(task, completed=done, total=of, note=note)


@contextmanager
def samples(total: int, done: int) -> Iterator[Callable[[int, int], None]]:
    """Yields ``advance(samples, quarantined)``, which adds to what was ``done`` before."""
    began, first, lost = time.monotonic(), done, 0
    with steps("samples") as advance:
        advance(done, total, "")

        def count(samples: int, quarantined: int) -> None:
            nonlocal done, lost
            done += samples + quarantined
            lost += quarantined
            rate = (done - first) / max(1e-9, time.monotonic() - began)
            advance(done, total, f"{rate:.1f} samples/s  {lost} quarantined")

        yield count


def _log(name: str) -> Advance:
    last, began, first = time.monotonic(), time.monotonic(), -1

    def advance(done: int, of: int, note: str) -> None:
        nonlocal last, first
        now, first = time.monotonic(), done if first < 0 else first
        if now - (began if done >= of else last) <= LOG_SECONDS:  # what is over in seconds needs no line
            return
        last = now
        left = (of - done) * (now - began) / (done - first) if done > first else float("nan")
        ahead = f"  about {console.human_seconds(left)} left" if done < of else ""
        console.err.print(f"{name} {done}/{of}  {note}{ahead}", markup=False)

    return advance


def _notebook(name: str) -> Advance:
    """Redraws one output of the cell; needs a kernel's IPython and no widgets."""
    from IPython.display import HTML, display

    handle, last = display(HTML(""), display_id=True), 0.0

    def advance(done: int, of: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last <= NOTEBOOK_SECONDS and done < of:
            return
        last = time.monotonic()
        words = html.escape(f"{name} {done}/{of}  {note}")
        handle.update(HTML(f'<progress value="{done}" max="{of}" style="width: 20em"></progress> {words}'))

    return advance
