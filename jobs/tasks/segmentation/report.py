"""The study's tables: for the terminal, as Markdown, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesionforge.jobs import console
from lesionforge.jobs.studies.runs import results
from lesionforge.jobs.studies.tables import Table, short, signed
from lesionforge.jobs.tasks.segmentation import paper, plot
from lesionforge.jobs.tasks.segmentation.summary import MEAN, REAL, Cell, Summary, summarise

COMMAND = "lesionforge study segmentation"
OTHERS = {
    "lesion_dsc": "lesion DSC",
    "nsd": "NSD",
    "found": "found",
    "false_positives": "FP a volume",
    "false_alarms": "false alarms",
}
NOTE = (
    "Ours: mean over test subjects, then classes, then seeds, ± standard deviation over seeds; fractions. Gain: paired "
    "with real samples alone by subject and seed; 95 % bootstrap interval and two-sided paired t-test over the n test "
    "subjects, for these trainings (seeds are averaged) and not corrected for the number of comparisons; the "
    "interval is too short where n is small (91 % at 12), p is not. DSC and NSD (2 mm unless study.json says else) "
    "are of volumes that hold the class, lesion DSC and found of single lesions; FP: predicted parts that touch no "
    "lesion; false alarms: volumes without the class where some is predicted. PromptLesion's figures are from private "
    "CCTA and public tumour sets and give no spread: compare gains, not levels, least of all with phantoms."
)


def report(out: Path) -> dict[str, Any]:
    """Read a study's runs; write ``report.md``, ``report.json`` and ``report.png`` beside them.

    Raises:
        StudyError: where no run has finished, or runs were scored on different volumes.
    """
    found = results(out, COMMAND)
    summary = summarise(found)
    test, head = _test(found[0]), _head(found)
    text = "\n\n".join(
        ["## Segmentation with synthetic lesions", head, NOTE, *(table.markdown() for table in tables(summary))]
    )
    (out / "report.md").write_text(text + "\n\n![](report.png)\n")
    plot.draw(summary, out / "report.png")
    body = {"out": str(out), "runs": len(found), "test": test, "head": head, "note": NOTE, "cells": summary.body()}
    (out / "report.json").write_text(json.dumps(body, indent=1, allow_nan=False))
    return body


def show(out: Path) -> None:
    """The same tables on the terminal."""
    found = results(out, COMMAND)
    for table in tables(summarise(found)):
        table.show()
    console.out.print(f"{_head(found)}\n{NOTE}\nwritten: {out}/report.md, report.json, report.png", markup=False)


def tables(summary: Summary) -> list[Table]:
    """Every table the runs allow: the paper's first."""
    made = [_paper(summary, network) for network in summary.networks]
    made += [_each(summary, network) for network in summary.networks]
    made += [_gains(summary, network) for network in summary.networks]
    made += [_others(summary, network) for network in summary.networks]
    return [table for table in made if table.rows]


def _test(result: Mapping[str, Any]) -> dict[str, Any]:
    """What was scored on."""
    items = result["subjects"]
    lesions = {name: sum(item["scores"][name]["lesions"] for item in items) for name in result["classes"]}
    return {"volumes": len(items), "subjects": len({item["subject"] for item in items}), "lesions": lesions}


def _head(found: Sequence[Mapping[str, Any]]) -> str:
    test = _test(found[0])
    lesions = ", ".join(f"{count} {name}" for name, count in test["lesions"].items())
    seconds = sorted(result["fit_cpu_s"] for result in found)
    return (
        f"{len(found)} runs scored on {test['volumes']} volumes of {test['subjects']} subjects (lesions: {lesions}); "
        f"median {seconds[len(seconds) // 2]:.0f} s of processor time a training."
    )


def _paper(summary: Summary, network: str) -> Table:
    """PromptLesion's Table 1 or 2, one network's block, with arms of our own below."""
    theirs = paper.FIGURES.get((summary.domain, network), {})
    columns = paper.COLUMNS.get(summary.domain, summary.classes)
    rows = []
    for arm in (*theirs, *(arm for arm in summary.arms if arm not in theirs)):
        cells = [_of(summary, network, arm, column) for column in (*columns, MEAN)]
        figures = theirs.get(arm, (None,) * len(cells))
        gain = None if arm == REAL or figures[-1] is None else figures[-1] - theirs[REAL][-1]
        rows.append([_name(arm), *map(_mean, cells), _gain(cells[-1]), *map(_or_dash, figures), _or_dash(gain, signed)])
    words = [*(column.replace("_", "-") for column in columns), MEAN, "gain"]
    which = f" (PromptLesion's Table {paper.NUMBER[summary.domain]})" if theirs else ""
    title = f"Dice, {summary.domain}, {_network(network)}{which}"
    return Table(title, ["training data", *words, *(f"paper {word}" for word in words)], rows)


def _each(summary: Summary, network: str) -> Table:
    """Table 3: one DiffTumor a class, each scored on its own class, against one model of all."""
    columns = paper.COLUMNS.get(summary.domain, summary.classes)
    own = [_of(summary, network, f"difftumor-{column}", column) for column in columns]
    figures = paper.EACH.get(network) if summary.domain == "abdomen" else None
    which = " (PromptLesion's Table 3)" if figures else ""
    title = f"One DiffTumor a class, {summary.domain}, {_network(network)}{which}"
    words = [*(column.replace("_", "-") for column in columns), MEAN]
    head = ["training data", *words, *(f"paper {word}" for word in words)]
    if not any(own):
        return Table(title, head, [])
    means = [cell.mean for cell in own if cell is not None]
    mean = short(sum(means) / len(means)) if len(means) == len(columns) else "–"
    rows = [["+ DiffTumor, one a class", *map(_mean, own), mean, *map(_or_dash, figures or (None,) * len(words))]]
    theirs = paper.FIGURES.get((summary.domain, network), {}) if figures else {}
    for arm in ("promptlesion", "promptlesion-mask"):
        cells = [_of(summary, network, arm, column) for column in (*columns, MEAN)]
        rows.append([_name(arm), *map(_mean, cells), *map(_or_dash, theirs.get(arm, (None,) * len(words)))])
    return Table(title, head, rows)


def _gains(summary: Summary, network: str) -> Table:
    columns = ["training data", "class", "real only", "DSC", "gain", "95 %", "p", "n", "seeds"]
    rows = []
    for arm in summary.arms:
        for column in summary.columns:
            cell, base = (summary.cell(network, a, "dsc", column) for a in (arm, REAL))
            if cell is None or cell.gain is None:
                continue
            gain = cell.gain
            interval = "–" if gain.low is None or gain.high is None else f"{signed(gain.low)} to {signed(gain.high)}"
            told = [_gain(cell), interval, _p(gain.p), str(gain.subjects), str(gain.seeds)]
            rows.append([_name(arm), column, _mean(base), _mean(cell), *told])
    return Table(f"Gain in Dice over real samples alone, {_network(network)}", columns, rows)


def _others(summary: Summary, network: str) -> Table:
    rows = []
    for arm in summary.arms:
        cells = [summary.cell(network, arm, score, MEAN) for score in OTHERS]
        if any(cells):
            rows.append([_name(arm), *map(_mean, cells)])
        if any(cell is not None and cell.gain is not None for cell in cells):
            rows.append(["  − real only (p)", *map(_tested, cells)])
    title = f"Lesions, surfaces and false positives, mean over classes, {_network(network)}"
    return Table(title, ["training data", *OTHERS.values()], rows)


def _of(summary: Summary, network: str, arm: str, column: str) -> Cell | None:
    """Dice of the class that is a column of the paper's table: ``liver`` is our ``liver_tumour``."""
    names = [name for name in summary.columns if name == column or name.startswith(f"{column}_")]
    return summary.cell(network, arm, "dsc", names[0]) if names else None


def _name(arm: str) -> str:
    theirs = paper.ARMS.get(arm)
    return f"+ {arm}" if theirs is None else theirs if arm == REAL else f"{theirs} ({arm})"


def _network(network: str) -> str:
    return paper.NETWORKS.get(network, network)


def _mean(cell: Cell | None) -> str:
    if cell is None or cell.mean != cell.mean:
        return "–"
    return short(cell.mean) + (f"±{short(cell.sd)}" if cell.sd is not None else "")


def _gain(cell: Cell | None) -> str:
    if cell is None or cell.gain is None:
        return "–"
    return signed(cell.gain.value) + (f"±{short(cell.gain.sd)}" if cell.gain.sd is not None else "")


def _tested(cell: Cell | None) -> str:
    return "–" if cell is None or cell.gain is None else f"{_gain(cell)} ({_p(cell.gain.p)})"


def _p(value: float | None) -> str:
    return "–" if value is None else "<.001" if value < 0.001 else short(value)


def _or_dash(value: float | None, write: Any = short) -> str:
    return "–" if value is None else str(write(value))
