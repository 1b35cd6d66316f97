"""Progress of a long job on standard error: a bar on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lesionforge.jobs import console

if TYPE_CHECKING:
    from lesionforge.engine.sources.files import File

LOG_SECONDS = 10.0  # between lines where there is no terminal
MOMENT = 1.0  # seconds of work that need no bar
NOTEBOOK_SECONDS = 0.25  # between pictures of the bar in a notebook

Advance = Callable[[int, int, str], None]


class Pace:
    """How fast a job goes from when its work began: the one rate that is told, and the time left by it.

    Starting up, and what was done before, count for nothing.
    """

    def __init__(self) -> None:
        self.rate = 0.0  # a second
        self._begun: tuple[float, int] | None = None

    def begin(self, done: int, ago: float = 0.0) -> None:
        """Work began so many seconds ago, with so much done."""
        self._begun = time.monotonic() - ago, done

    def left(self, done: int, of: int) -> str:
        """Take note of how much is done; the time left in words, empty where there is none or nobody can tell."""
        if self._begun is None:
            self.begin(done)
        elif done > self._begun[1]:
            self.rate = (done - self._begun[1]) / max(1e-9, time.monotonic() - self._begun[0])
        return f"about {console.human_seconds((of - done) / self.rate)} left" if self.rate and done < of else ""


@contextmanager
def steps(name: str, pace: Pace | None = None) -> Iterator[Advance]:
    """Yields ``advance(done, of, note)``; work began with the first call where nobody else sets the pace."""
    pace = pace or Pace()

    def and_left(tell: Advance) -> Advance:
        def advance(done: int, of: int, note: str) -> None:
            tell(done, of, "  ".join(filter(None, (note, pace.left(done, of)))))

        return advance

    if console.err.is_jupyter:
        yield and_left(_notebook(name))
    elif not console.err.is_terminal:
        yield and_left(_log(name))
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}", markup=False), console=console.err) as bar:
            task = bar.add_task(name, total=None, note="")
            yield and_left(lambda done, of, note: bar.update(task, completed=done, total=of, note=note))


@contextmanager
def samples(total: int, done: int, pace: Pace | None = None) -> Iterator[Callable[[int, int, float], None]]:
    """Yields ``advance(samples, quarantined, seconds)``, which adds to what was ``done`` before.

    Its ``seconds`` are those that these samples took to make: the first ones say when work began.
    """
    started, lost, begun = time.monotonic(), 0, False
    pace = pace or Pace()
    with steps("samples", pace) as advance:
        advance(done, total, "")

        def count(samples: int, quarantined: int, seconds: float) -> None:
            nonlocal done, lost, begun
            if not begun:
                begun = True
                pace.begin(done, min(seconds, time.monotonic() - started))
            done += samples + quarantined
            lost += quarantined
            pace.left(done, total)
            advance(done, total, f"{pace.rate:.1f} samples/s  {lost} quarantined")

        yield count


def digests(files: Sequence[File]) -> None:
    """Hash the files of a recipe's sources, with progress where that takes more than a moment."""
    if not files:
        return
    from lesionforge.engine.sources.files import digests as hash_files

    total, done, began = sum(file.size for file in files), 0, time.monotonic()
    advance: Advance | None = None
    with ExitStack() as stack:

        def told(size: int) -> None:
            nonlocal done, advance
            done += size
            if advance is None and time.monotonic() - began > MOMENT:
                advance = stack.enter_context(steps("hashing the sources, MB"))
            if advance:
                advance(done // 10**6, total // 10**6, "")

        hash_files(files, told)


def _log(name: str) -> Advance:
    last = began = time.monotonic()

    def advance(done: int, of: int, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - (began if done >= of else last) <= LOG_SECONDS:  # what is over in seconds needs no line
            return
        last = now
        console.err.print(f"{name} {done}/{of}  {note}", markup=False)

    return advance


def _notebook(name: str) -> Advance:
    """Redraws one output of the cell; needs a kernel's IPython and no widgets."""
    import html

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
