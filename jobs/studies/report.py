"""A study's report: the paper's tables, gains with their statistic, a picture; for terminal, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionforge.jobs import console
from lesionforge.jobs.studies import places, plot
from lesionforge.jobs.studies.folder import recorded, results
from lesionforge.jobs.studies.summary import Summary, caution, summarise
from lesionforge.jobs.studies.tables import STATISTIC, Table, gain, level, statistic
from lesionforge.jobs.studies.task import REAL, Task, find

NOTE = (
    "Figures: mean over seeds ± their standard deviation; every seed draws other weights and, with a size, other real "
    "data. Gain: over real data alone, paired by test subject and seed; 95 % interval and two-sided p over the n "
    "subjects that hold what is measured (bootstrap standard error, t with n - 1 degrees of freedom; cut where the "
    "measure ends), for these trainings (seeds are averaged) and not corrected for the number of comparisons. Seen "
    "from: the smallest gain that four of five such studies would tell from 0, by the spread over subjects and seeds; "
    "with more subjects it falls as their root."
)


@dataclass(frozen=True)
class Report:
    """What a report says: ``body`` for JSON, the rest for people; ``files`` that were written."""

    body: Mapping[str, Any]
    tables: Sequence[Table]
    words: str
    files: Sequence[str] = ("report.md", "report.json", "report.png")

    def show(self) -> None:
        """On the terminal."""
        for table in self.tables:
            table.show()
        out = self.body["out"]
        console.out.print(f"{self.words}\nwritten: {out}/{', '.join(self.files)}", markup=False)


def report(out: Path, expected: str) -> Report:
    """Read a study's runs; write ``report.md``, ``report.json`` and ``report.png`` beside them.

    Args:
        out: folder of the study.
        expected: name of its task.

    Raises:
        UsageError: where no run has finished, the study is of another task, or runs were scored on different items.
    """
    found = results(out, expected)
    record = recorded(out)
    task = find(record["task"])(**record["options"])
    summary = summarise(found, task)
    tables = [*task.tables(summary), *gains(summary, task)]
    head, read = _head(found), _places(found)
    words = f"{head}\n{NOTE} {task.note}"
    text = "\n\n".join(
        [
            f"## {task.title}",
            words,
            *(table.markdown() for table in tables),
            "\n".join(f"- {line}" for line in places.losses(read)),
        ]
    )
    (out / "report.md").write_text(text.rstrip() + "\n\n![](report.png)\n")
    plot.draw(summary, task, out / "report.png")
    body = {
        "out": str(out),
        "task": task.name,
        "runs": len(found),
        "test": found[0]["test"],
        "places": read,
        "head": head,
        "note": f"{NOTE} {task.note}",
        "cells": summary.body(),
    }
    (out / "report.json").write_text(json.dumps(body, indent=1, allow_nan=False))
    return Report(body, tables, words)


def gains(summary: Summary, task: Task[Any, Any]) -> list[Table]:
    """One table a model and size: every arm's gain in every shown measure, with its statistic."""
    columns = ["training data", "measure", "real only", "with synthetic", "gain", *STATISTIC]
    made = []
    for model in summary.models:
        for size in summary.sizes:
            rows = []
            for arm in summary.arms:
                for measure, words in task.shown.items():
                    cell = summary.cell(model, size, arm, measure)
                    if cell is None or cell.gain is None:
                        continue
                    base = summary.cell(model, size, REAL, measure)
                    rows.append([f"+ {arm}", words, level(base), level(cell), gain(cell), *statistic(cell.gain)])
            which = f"{model}, {'all' if size is None else size} real"
            made.append(Table(f"Gains over real data alone, {which}", columns, rows))
    return [table for table in made if table.rows]


def _head(found: Sequence[Mapping[str, Any]]) -> str:
    test = found[0]["test"]
    seconds = sorted(result["fit_cpu_s"] for result in found)
    median = seconds[len(seconds) // 2]
    return (
        f"{len(found)} runs scored on {test['items']} items of {test['subjects']} subjects; "
        f"median {median:.0f} s of processor time a training. {caution(test)}"
    ).rstrip()


def _places(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was read and what could not be, by option; of synthetic data, by the name of the dataset."""
    read: dict[str, Any] = {}
    for result in found:
        for option, body in result["places"].items():
            read[f"{option} {result['data']}".strip() if option == "--synthetic" else option] = body
    return read
