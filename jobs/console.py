"""What commands say: one line or one JSON object on standard output, progress and errors on standard error."""

from __future__ import annotations

import io
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.table import Table

from lesionforge.sinks.text import terminal

OK, FAILED, SHORT, INTERRUPTED = 0, 1, 3, 130


class Terminal(Console):
    """A console on which a text is a text: no markup or emoji in it, and no control character, is obeyed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "soft_wrap": True, "markup": False, "emoji": False, **options})

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Whatever is printed comes through here, tables and bars as well."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=terminal(segment.text))


err = Terminal(stderr=True)
out = Terminal()


class CommandResult(ABC):
    """What a command found: an object for machines, a few lines for people; in a notebook its repr is these lines."""

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """What ``--json`` prints."""

    @abstractmethod
    def show(self, to: Console = out) -> None:
        """Print it for people."""

    def __repr__(self) -> str:
        page = Terminal(file=io.StringIO(), width=120, force_terminal=False, force_jupyter=False)
        self.show(page)
        return page.file.getvalue().rstrip()  # type: ignore[attr-defined,no-any-return]


def own_standard_output() -> None:
    """Keep standard output for results: whatever libraries (Ray's cluster messages) print goes to standard error."""
    sys.stdout.flush()
    out.file = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def emit(body: Mapping[str, Any], as_json: bool, text: Callable[[], object]) -> None:
    """Print the result for a machine or for a person."""
    if as_json:
        out.file.write(json.dumps(body, indent=1, allow_nan=False) + "\n")
        out.file.flush()
    else:
        text()


def note(line: str) -> None:
    """One line on standard error that a person should know of."""
    err.print(f"note: {line}", markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], to: Console = out) -> None:
    """A table, on standard output if nothing else is said; all columns but the first to the right."""
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for n, column in enumerate(columns):
        grid.add_column(column, justify="left" if n == 0 else "right")
    for row in rows:
        grid.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    to.print(grid)


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
