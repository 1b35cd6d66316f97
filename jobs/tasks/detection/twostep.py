"""The two-step paper's Table 3 (Rodrigues et al. 2021) and CORE320's localisation (Cong et al. 2023), with ours beside.

Both learn from private runs and are scored on private frames: levels cannot be compared, only what frames without
lesions change. They score on frames with lesions alone, so that neither could see what such frames are for: false
positives where there is no lesion, our ``fp_healthy``.
"""

from __future__ import annotations

from typing import Final

from lesionforge.jobs.studies.summary import Cell, Summary
from lesionforge.jobs.studies.tables import NONE, Table, level
from lesionforge.jobs.studies.task import REAL

ARMS: Final = {REAL: "B: full contrast", "BG": "BG: + no contrast", "NL": "NL: + healthy", "BGNL": "BGNL: + both"}
COLUMNS: Final = {
    "at_least_one": "≥ 1",
    "recall_1_frames": "R1 frames",
    "recall_1": "R1",
    "precision_1": "P1",
    "recall_5": "R5",
    "precision_5": "P5",
    "fp_healthy": "FP healthy",
}

# Table 3: at least one; recall, precision of one box; of five. Right, left. "MSE" is Cong's, in pixels of 512.
TABLE_3: Final = {
    REAL: (".81 .72 .80 .73 .64", ".77 .68 .79 .65 .65"),
    "BG": (".74 .64 .714 .61 .64", ".74 .70 .84 .68 .74"),
    "NL": (".74 .68 .82 .51 .72", ".71 .65 .81 .56 .68"),
    "BGNL": (".71 .65 .79 .63 .71", ".65 .58 .73 .51 .64"),
}
CORE320: Final = (
    ("CAM, IoU .2, left", ".59", ".25", ".43", "103.3"),
    ("CAM, IoU .2, right", ".61", ".17", ".51", "79.5"),
    ("FPN, IoU .5, left", ".68", ".44", ".68", "39.3"),
    ("FPN, IoU .5, right", ".70", ".51", ".77", "37.6"),
)
LOCATED: Final = {"at_least_one": "≥ 1", "recall_5": "recall", "precision_5": "precision", "centre_px": "centre, px"}


def tables(summary: Summary) -> list[Table]:
    """Both, of every detector; none where no arm has frames without lesions and no detector is a RetinaNet."""
    negative = any(arm in summary.arms for arm in ARMS if arm != REAL)
    own = [model for model in summary.models if negative or model.startswith(("retinanet", "fpn"))]
    made = [_negatives(summary, model) for model in own]
    return [table for table in [*made, _located(summary, own)] if table.rows and own]


def _negatives(summary: Summary, model: str) -> Table:
    rows = []
    for size in summary.sizes:
        for arm, name in ARMS.items():
            cells = [summary.cell(model, size, arm, measure) for measure in COLUMNS]
            if any(cells):
                rows.append(["all" if size is None else str(size), name, *map(level, cells), *TABLE_3[arm]])
    title = f"One and five boxes at IoU .2 (two-step paper's Table 3: ≥ 1, R1, P1, R5, P5), {model}"
    return Table(title, ["frames", "learns from", *COLUMNS.values(), "paper right", "paper left"], rows)


def _located(summary: Summary, models: list[str]) -> Table:
    rows: list[list[str]] = []
    for model in models:
        for size in summary.sizes:
            cells = [summary.cell(model, size, REAL, measure) for measure in LOCATED]
            if any(cells):
                rows.append([f"{model}, IoU .2, {'all' if size is None else size}", *map(_figure, LOCATED, cells)])
    if rows:
        rows += [list(row) for row in CORE320]
    return Table(
        "Where lesions are (CORE320's, of a classifier's map and of its pyramid)", ["", *LOCATED.values()], rows
    )


def _figure(measure: str, cell: Cell | None) -> str:
    """A distance needs no thousandth of a pixel."""
    if measure != "centre_px":
        return level(cell)
    value = None if cell is None else cell.level.value
    return NONE if value is None or value != value else f"{value:.1f}"
