"""What is known of a run's view, and which of its frames show it."""

from __future__ import annotations

from collections.abc import Sequence

from lesionforge.jobs.tasks.runs import Run

WHAT = ("side", "view")


def label(run: Run, what: str) -> str | None:
    """The run's class: its ``side`` (left, right) or its named ``view``; None where nobody said."""
    return run.side if what == "side" else run.view


def shots(run: Run, count: int) -> Sequence[int]:
    """Numbers of at most ``count`` frames, evenly among those of full contrast; of a run without any, among all."""
    there = run.full or range(len(run.film))
    count = min(count, len(there))
    return [there[(2 * k + 1) * len(there) // (2 * count)] for k in range(count)]
