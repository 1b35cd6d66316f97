"""What the benchmarks share: taking turns, and tables as text."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LOAD_LIMIT = 3.0  # one-minute load average above which figures are not to be trusted

Row = dict[str, Any]


def load() -> float:
    """The machine's load average over the last minute."""
    return os.getloadavg()[0]


def alternate(methods: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Results of every method, A B C, A B C, ..., so that a busy machine slows all alike."""
    results: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, call in methods.items():
            results[name].append(call())
    return results


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def goal(text: str, met: bool) -> Row:
    """One goal beside its figure."""
    return {"goal": text, "met": bool(met)}


def table(title: str, columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Rows under their headings; ``columns`` maps keys to headings, the first is left-aligned."""
    cells = [list(columns.values())] + [[_cell(row.get(key)) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)]) + "\n"


def goals(rows: Sequence[Row]) -> str:
    return "".join(f"{'goal met' if row['met'] else 'GOAL MISSED'}: {row['goal']}\n" for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
