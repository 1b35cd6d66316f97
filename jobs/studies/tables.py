"""Tables of words: for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lesionforge.jobs import console


@dataclass(frozen=True)
class Table:
    """A table of words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As GitHub shows it."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return f"### {self.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def show(self) -> None:
        """On the terminal; as Markdown in a log, which has no width to fit into."""
        if console.out.is_terminal:
            console.table(self.title, self.columns, self.rows)
        else:
            console.out.print(self.markdown(), markup=False)
        console.out.print()


def short(value: float) -> str:
    """A fraction as ``.068``: tables are wide."""
    return f"{value:.3f}".removeprefix("0")


def signed(value: float) -> str:
    """A difference as ``+.068``."""
    return ("+" if value >= 0 else "-") + short(abs(value))
