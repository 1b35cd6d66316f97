"""Tables of words, for the terminal and as Markdown; and how figures are written in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lesionforge.jobs import console
from lesionforge.jobs.studies.summary import Cell, Estimate

NONE = "–"
WHY_NONE = (
    f"{NONE}: no run is there, no test subject holds the class, or the paper prints no figure; of an interval or p: "
    "fewer than two subjects hold it, or nothing varies."
)


@dataclass(frozen=True)
class Table:
    """A table of words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As GitHub shows it."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        table = f"### {self.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{table}\n\n{self.foot}" if self.foot else table

    @property
    def foot(self) -> str:
        """What a dash stands for, where there is one."""
        return WHY_NONE if any(NONE in row for row in self.rows) else ""

    def show(self) -> None:
        """On the terminal; as Markdown in a log, which has no width to fit into."""
        if console.out.is_terminal:
            console.table(self.title, self.columns, self.rows)
            console.out.print(self.foot, end="\n" if self.foot else "", markup=False)
        else:
            console.out.print(self.markdown(), markup=False)
        console.out.print()


def short(value: float) -> str:
    """A fraction as ``.068``: tables are wide."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference as ``+.068``."""
    return ("+" if value >= 0 else "-") + short(abs(value))


def dashed(value: float | None, write: Any = short) -> str:
    """A figure, or a dash where there is none."""
    return NONE if value is None or value != value else str(write(value))


def level(cell: Cell | None) -> str:
    """Mean over seeds ± their standard deviation."""
    return _spread(None if cell is None else cell.level, short)


def gain(cell: Cell | None) -> str:
    """Gain over real items alone ± its standard deviation over seeds."""
    return _spread(None if cell is None else cell.gain, signed)


def statistic(estimate: Estimate) -> list[str]:
    """The columns ``STATISTIC`` of a gain."""
    interval = NONE if estimate.low is None else f"{signed(estimate.low)} to {dashed(estimate.high, signed)}"
    p = "<.001" if estimate.p is not None and estimate.p < 0.001 else dashed(estimate.p)
    return [interval, p, str(estimate.n), str(estimate.seeds), dashed(estimate.seen)]


STATISTIC = ("95 %", "p", "n", "seeds", "seen from")


def _spread(estimate: Estimate | None, write: Any) -> str:
    if estimate is None or estimate.value != estimate.value:
        return NONE
    return str(write(estimate.value)) + ("" if estimate.sd is None else f"±{short(estimate.sd)}")
