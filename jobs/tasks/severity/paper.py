"""CORE320's published figures (Cong et al., medRxiv 2021.03.05.21252217), and its tables with ours beside them.

Private angiograms of 230 patients, four folds: other images than ours, so that levels cannot be compared, only what
redundancy adds and how far a network is above its base rate, which the paper does not print and its Table 1 gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lesionforge.jobs.studies.summary import Summary
from lesionforge.jobs.studies.tables import Table, level, short
from lesionforge.jobs.tasks.severity import grades
from lesionforge.jobs.tasks.severity.arms import parsed
from lesionforge.jobs.tasks.severity.images import ARTERIES
from lesionforge.jobs.tasks.severity.settings import CROPS

TWO, THREE = (25.0,), (25.0, 100.0)
SCORES: Final[Mapping[str, str]] = {
    "accuracy": "Acc.", "base": "base", "sensitivity": "Sens.", "f1": "F1", "kappa": "κ", "auc": "AUC",
}  # fmt: skip
Row = tuple[float | None, ...]

# Table 3: (cuts, artery, with redundancy) -> accuracy, sensitivity, weighted F1, kappa, AUC.
IMAGES: Final[Mapping[tuple[tuple[float, ...], str, bool], Row]] = {
    (THREE, "LCA", False): (0.71, 0.78, 0.65, 0.50, 0.77),
    (THREE, "LCA", True): (0.70, 0.72, 0.70, 0.44, 0.82),
    (THREE, "RCA", False): (0.83, 0.82, 0.81, 0.70, 0.86),
    (THREE, "RCA", True): (0.77, 0.81, 0.77, 0.59, 0.90),
    (TWO, "LCA", False): (0.77, 0.90, 0.71, 0.46, 0.80),
    (TWO, "LCA", True): (0.79, 0.89, 0.74, 0.51, 0.84),
    (TWO, "RCA", False): (0.84, 0.92, 0.77, 0.56, 0.83),
    (TWO, "RCA", True): (0.83, 0.90, 0.80, 0.63, 0.89),
}

# The text, 2-CAT with redundancy: accuracy, sensitivity, F1, kappa, AUC.
WHOLES: Final[Mapping[str, Row]] = {
    "artery-LCA": (0.83, 0.94, None, None, 0.87),
    "artery-RCA": (0.81, 0.90, None, None, 0.88),
    "patient": (0.85, 0.96, None, None, 0.86),
}

# Table 1: frames, arteries or patients with < 25, 25-99 and 100 %DS.
COUNTS: Final[Mapping[str, tuple[int, int, int]]] = {
    "image-LCA": (2838, 4522, 639),
    "image-RCA": (2292, 3181, 272),
    "artery-LCA": (57, 132, 41),
    "artery-RCA": (84, 118, 28),
    "patient": (46, 127, 57),
}

# Table 4: global sensitivity, Sens_s, Spec_s, "MSE", of CAM at IoU .2.
BOXES: Final[Mapping[str, tuple[float, ...]]] = {"LCA": (0.59, 0.25, 0.43, 103.3), "RCA": (0.61, 0.17, 0.51, 79.5)}
FOUND: Final[Mapping[str, str]] = {
    "most_severe": "worst found", "any": "any found", "recall": "recall", "precision": "precision", "distance_px": "px",
}  # fmt: skip


def base(level: str, cuts: tuple[float, ...]) -> float:
    """Accuracy of calling everything diseased, in the commonest class of the diseased, on the paper's own data."""
    none, some, total = COUNTS[level]
    return (some + total if cuts == TWO else max(some, total)) / (none + some + total)


def tables(summary: Summary, cuts: tuple[float, ...]) -> list[Table]:
    """Tables 3 and 4, as far as the runs allow."""
    made = [
        _levels(summary, cuts, ["image"]),
        _levels(summary, cuts, ["lesion"]),
        _levels(summary, cuts, ["artery", "patient"]),
        _boxes(summary),
    ]
    return [table for table in made if table.rows]


def _levels(summary: Summary, cuts: tuple[float, ...], levels: list[str]) -> Table:
    rows = []
    for kind in levels:
        for name in (kind, *(f"{kind}-{artery}" for artery in ARTERIES.values())):
            for which, redundancy, cell in _cells(summary):
                ours = [level(summary.cell(*cell, f"{name}/{score}")) for score in SCORES]
                if ours[0] != level(None):
                    rows.append([name.replace("-", " "), which, *ours, *_theirs(name, cuts, redundancy)])
    columns = ["level", "training data", *SCORES.values(), *(f"paper {words}" for words in SCORES.values())]
    kind = {TWO: "2-CAT", THREE: "3-CAT"}.get(cuts, ", ".join(grades.names(cuts)) + " %DS")
    what = {"image": "Images (CORE320's Table 3)", "lesion": "Lesions, boxes given"}.get(
        levels[0], "Arteries and patients (CORE320's text)"
    )
    return Table(f"{what}, {kind}", columns, rows)


def _theirs(name: str, cuts: tuple[float, ...], redundancy: bool) -> list[str]:
    artery = name.partition("-")[2]
    row = IMAGES.get((cuts, artery, redundancy)) if name.startswith("image") else None
    if name in WHOLES and cuts == TWO and redundancy:
        row = WHOLES[name]
    if row is None:
        return [level(None)] * len(SCORES)
    cells = [level(None) if value is None else short(value) for value in row]
    return [cells[0], short(base(name, cuts)), *cells[1:]]


def _boxes(summary: Summary) -> Table:
    rows = []
    for limit in ("cam20", "cam10"):
        for artery in ("", *ARTERIES.values()):
            name = f"{limit}-{artery}" if artery else limit
            for which, _, cell in _cells(summary):
                ours = [level(summary.cell(*cell, f"{name}/{score}")) for score in FOUND]
                if any(one != level(None) for one in ours):
                    paper = BOXES.get(artery) if limit == "cam20" else None
                    theirs = [level(None)] * 4 if paper is None else [*map(short, paper[:3]), f"{paper[3]:g}"]
                    rows.append([f"IoU .{limit[-2]} {artery}".strip(), which, *ours, *theirs])
    columns = ["CAM", "training data", *FOUND.values(), "paper global sens.", "Sens_s", "Spec_s", "“MSE” px"]
    return Table("Boxes from class activation (CORE320's Table 4)", columns, rows)


def _cells(summary: Summary) -> list[tuple[str, bool, tuple[str, int | None, str]]]:
    out = []
    for model in summary.models:
        for size in summary.sizes:
            for arm in summary.arms:
                words = [f"{CROPS} (boxes given), {arm}" if model == CROPS else arm]
                words += [] if size is None else [f"{size} subjects"]
                out.append((", ".join(words), parsed(arm)[1], (model, size, arm)))
    return out
