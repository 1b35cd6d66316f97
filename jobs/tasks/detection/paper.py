"""DiGDA's published figures (Seo et al., MICCAI 2025, arXiv 2508.00438), and its tables with ours beside them.

Their detectors learn from 5,156 private frames (Ultralytics YOLO, 512 px, mean of three runs, no spread given) and are
tested on private frames or on ARCADE's validation part: other training data than ours, so levels cannot be compared,
only what synthetic data add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lesionforge.jobs.studies.summary import Summary
from lesionforge.jobs.studies.tables import Table, gain, level, short
from lesionforge.jobs.studies.task import REAL

COLUMNS = ("f1", "map50", "ap50_moderate", "ap50_severe")
SHOWN: Final[Mapping[str, str]] = {
    "ap50": "AP50",
    "ap30": "AP30",
    "ap20": "AP20",
    "ap_centre": "APc",
    "map50": "mAP50",
    "f1": "F1",
    "recall_1fp": "found",
    "recall_1fp_moderate": "found M",
    "recall_1fp_severe": "found S",
}
TITLES: Final[Mapping[str, str]] = {**SHOWN, "ap50_moderate": "M", "ap50_severe": "S"}

# Table 2, ARCADE, times N -> figures of COLUMNS.
ARCADE = {
    0: (0.500, 0.464, 0.436, 0.492),
    1: (0.519, 0.484, 0.440, 0.527),
    2: (0.524, 0.501, 0.448, 0.555),
    4: (0.513, 0.492, 0.438, 0.546),
}

# Figure 4a's two numbers in the text: mAP50, x4, YOLO large, internal frames.
BALANCED, IMBALANCED = 0.717, 0.707

# Figure 4b (subset sizes) prints no numbers.


def tables(summary: Summary) -> list[Table]:
    """Every table of the paper that the runs allow, of each detector."""
    made = [write(summary, model) for model in summary.models for write in (_ratio, _balance, _sizes)]
    return [table for table in made if table.rows]


def _ratio(summary: Summary, model: str) -> Table:
    titles = [TITLES[c] for c in COLUMNS]
    rows = []
    for size in summary.sizes:
        for times, theirs in ARCADE.items():
            cells = [summary.cell(model, size, f"x{times}" if times else REAL, score) for score in COLUMNS]
            if any(cells):
                rows.append([_size(size), f"× {times}", *map(level, cells), *map(short, theirs)])
    title = f"Real to synthetic ratio (the paper's are on ARCADE's validation part: DiGDA's Table 2), {model}"
    return Table(title, ["real", "× N", *titles, *(f"paper {t}" for t in titles)], rows)


def _balance(summary: Summary, model: str) -> Table:
    rows, columns = [], (*COLUMNS, "ap50")
    for size in summary.sizes:
        for arm, theirs in (("x4", BALANCED), ("x4-natural", IMBALANCED)):
            if all(summary.cell(model, size, a, "map50") for a in ("x4", "x4-natural")):
                cells = [summary.cell(model, size, arm, score) for score in columns]
                name = "balanced" if arm == "x4" else "imbalanced"
                rows.append([_size(size), name, *map(level, cells), short(theirs)])
    title = f"Balanced against imbalanced classes (DiGDA's Figure 4a), {model}"
    return Table(title, ["real", "× 4", *(TITLES[c] for c in columns), "paper mAP50"], rows)


def _sizes(summary: Summary, model: str) -> Table:
    columns = [f"{arm} {TITLES[s]}" for arm in (REAL, "x4") for s in ("map50", "ap50", "ap20")]
    rows = []
    for size in summary.sizes:
        cells = [summary.cell(model, size, arm, s) for arm in (REAL, "x4") for s in ("map50", "ap50", "ap20")]
        if all(cells):
            rows.append([_size(size), *map(level, cells), gain(summary.cell(model, size, "x4", "ap50"))])
    title = f"Subset sizes (DiGDA's Figure 4b, which prints no numbers), {model}"
    return Table(title, ["real", *columns, "gain AP50"], rows)


def _size(size: int | None) -> str:
    return "all" if size is None else str(size)
