"""The study's tables: for the terminal, as Markdown, as JSON and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lesionforge.jobs import console
from lesionforge.jobs.studies.tables import Table, short, signed
from lesionforge.jobs.tasks.detection import paper, plot
from lesionforge.jobs.tasks.detection.study import results
from lesionforge.jobs.tasks.detection.summary import REAL, Cell, Summary, summarise

SHOWN = ("ap50", "ap30", "ap20", "ap_centre", "recall_1fp", "recall_1fp_moderate", "recall_1fp_severe")
TITLES = {
    "ap50": "AP50",
    "ap30": "AP30",
    "ap20": "AP20",
    "ap_centre": "APc",
    "map50": "mAP50",
    "ap50_moderate": "M",
    "ap50_severe": "S",
    "f1": "F1",
    "recall_1fp": "found",
    "recall_1fp_moderate": "found M",
    "recall_1fp_severe": "found S",
}
NOTE = (
    "Ours: mean over seeds ± their standard deviation; every seed draws other real frames and other samples. "
    "M, S: moderate, severe lesions. found: recall at one false positive a frame, IoU .2; APc: centres within 24 px; "
    "FP−: false positives there on a frame without lesions. DiGDA's detectors learn from 5,156 private frames and give "
    "no spread: compare gains, not levels."
)


def report(out: Path) -> dict[str, Any]:
    """Read a study's runs; write ``report.md``, ``report.json`` and ``report.png`` beside them.

    Raises:
        StudyError: where no run has finished.
    """
    found = results(out)
    summary = summarise(found)
    made = tables(summary)
    test = found[0]["test"]
    seconds = sorted(result["fit_cpu_s"] for result in found)
    head = (
        f"{len(found)} runs scored on {test['frames']} real frames with {test['lesions']} lesions; "
        f"median {seconds[len(seconds) // 2]:.0f} s of one core a training."
    )
    text = "\n\n".join(["## Detection with synthetic lesions", head, NOTE, *(table.markdown() for table in made)])
    (out / "report.md").write_text(text + "\n\n![](report.png)\n")
    plot.draw(summary, out / "report.png")
    body = {"out": str(out), "runs": len(found), "test": test, "head": head, "cells": summary.body()}
    (out / "report.json").write_text(json.dumps(body, indent=1))
    return body


def show(out: Path) -> None:
    """The same tables on the terminal."""
    found = results(out)
    for table in tables(summarise(found)):
        table.show()
    console.out.print(f"{NOTE}\nwritten: {out}/report.md, report.json, report.png", markup=False)


def tables(summary: Summary) -> list[Table]:
    """Every table the runs allow."""
    made = [_table_2(summary), _balance(summary), _sizes(summary)]
    made += [_gains(summary, size) for size in summary.sizes]
    return [table for table in made if table.rows]


def _table_2(summary: Summary) -> Table:
    """DiGDA's Table 2."""
    titles = [TITLES[c] for c in paper.COLUMNS]
    columns = ["real", "× N", *titles, *(f"paper {t}" for t in titles)]
    rows = []
    for size in summary.sizes:
        for times, theirs in paper.ARCADE.items():
            cells = [summary.cell(size, f"x{times}" if times else REAL, score) for score in paper.COLUMNS]
            if any(cells):
                rows.append([str(size), f"× {times}", *map(_mean, cells), *map(short, theirs)])
    return Table("Real to synthetic ratio, ARCADE validation (the paper's Table 2)", columns, rows)


def _balance(summary: Summary) -> Table:
    rows = []
    for size in summary.sizes:
        for arm, theirs in (("x4", paper.BALANCED), ("x4-natural", paper.IMBALANCED)):
            cells = [summary.cell(size, arm, score) for score in (*paper.COLUMNS, "ap50")]
            if all(summary.cell(size, a, "map50") for a in ("x4", "x4-natural")):
                name = "balanced" if arm == "x4" else "imbalanced"
                rows.append([str(size), name, *map(_mean, cells), short(theirs)])
    columns = ["real", "× 4", *(TITLES[c] for c in (*paper.COLUMNS, "ap50")), "paper mAP50"]
    return Table("Balanced against imbalanced classes (the paper's Figure 4a)", columns, rows)


def _sizes(summary: Summary) -> Table:
    columns = [
        "real",
        *(f"{arm} {TITLES[s]}" for arm in (REAL, "x4") for s in ("map50", "ap50", "ap20")),
        "gain",
    ]
    rows = []
    for size in summary.sizes:
        cells = [summary.cell(size, arm, score) for arm in (REAL, "x4") for score in ("map50", "ap50", "ap20")]
        if all(cells):
            rows.append([str(size), *map(_mean, cells), _gain(summary.cell(size, "x4", "ap50"))])
    return Table("Subset sizes (the paper's Figure 4b, which prints no numbers)", columns, rows)


def _gains(summary: Summary, size: int) -> Table:
    columns = ["arm", "seeds", *(TITLES[score] for score in SHOWN), "FP−"]
    rows = []
    for arm in summary.arms:
        cells = [summary.cell(size, arm, score) for score in (*SHOWN, "fp_negative")]
        if cells[0]:
            rows.append([arm, str(cells[0].seeds), *map(_mean, cells)])
            if cells[0].gain is not None:
                rows.append(["  − real", str(cells[0].gain_seeds), *map(_gain, cells[:-1]), ""])
    title = f"{size} real frames: arms, and their gain over real frames alone (± standard error over seeds and frames)"
    return Table(title, columns, rows)


def _mean(cell: Cell | None) -> str:
    if cell is None or cell.mean != cell.mean:
        return "–"
    return short(cell.mean) + (f"±{short(cell.sd)}" if cell.sd is not None else "")


def _gain(cell: Cell | None) -> str:
    if cell is None or cell.gain is None or cell.gain != cell.gain:
        return "–"
    return signed(cell.gain) + (f"±{short(cell.gain_total_se)}" if cell.gain_total_se is not None else "")
