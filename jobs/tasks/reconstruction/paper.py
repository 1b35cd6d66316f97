"""XRA-Diff's published figures (Lau, Malinowski, Szyjut, Dziubich; Tables 4 and 6), and its tables with ours beside.

Theirs are of ImageCAS labels, 20 % of the trees a side (which were also looked at while training), at 60^3 with a
target that trilinear sampling dilates; ours of the study's own test subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lesionforge.jobs.studies.summary import Cell, Summary
from lesionforge.jobs.studies.tables import Table, dashed, level

COLUMNS: Final = {"chamfer": "Chamfer", "dsc": "DSC", "o1": "O(1)", "o2": "O(2)"}
MORE: Final = {"cldice": "clDice", "pieces": "pieces", "loops_off": "loops off", "psnr": "PSNR"}

# Table 4, by side and method: Chamfer, DSC, O(1), O(2).
FIGURES: Final[Mapping[str, Mapping[str, tuple[float, ...]]]] = {
    "right": {
        "hull": (3.25, 0.10, 0.22, 0.36),
        "GAN": (1.93, 0.30, 0.54, 0.70),
        "U-Net": (1.35, 0.29, 0.51, 0.70),
        "diffusion, basic": (1.59, 0.30, 0.57, 0.76),
        "diffusion, best": (1.49, 0.33, 0.59, 0.78),
    },
    "left": {
        "hull": (4.10, 0.09, 0.19, 0.30),
        "GAN": (2.61, 0.24, 0.44, 0.60),
        "U-Net": (1.50, 0.26, 0.46, 0.65),
        "diffusion, basic": (1.61, 0.27, 0.51, 0.70),
        "diffusion, best": (1.54, 0.28, 0.51, 0.70),
    },
}


def tables(summary: Summary) -> list[Table]:
    """Table 4 a side, of each size and arm."""
    made = [_scores(summary, side, size, arm) for side in FIGURES for size in summary.sizes for arm in summary.arms]
    return [table for table in made if table.rows]


def _scores(summary: Summary, side: str, size: int | None, arm: str) -> Table:
    rows = []
    for model in summary.models:
        cells: list[Cell | None] = [summary.cell(model, size, arm, f"{side}/{name}") for name in (*COLUMNS, *MORE)]
        if any(cell is not None for cell in cells):
            theirs = FIGURES[side].get(model, (None,) * len(COLUMNS))
            rows.append([model, *map(level, cells), *map(dashed, theirs)])
    if rows:
        others = {name: figures for name, figures in FIGURES[side].items() if name not in summary.models}
        none = ["–"] * (len(COLUMNS) + len(MORE))
        rows += [[f"paper: {name}", *none, *map(dashed, figures)] for name, figures in others.items()]
    words = [*COLUMNS.values(), *MORE.values(), *(f"paper {word}" for word in COLUMNS.values())]
    with_size = f", {size} subjects" if size else ""
    return Table(f"{side} trees, {arm}{with_size} (XRA-Diff's Tables 4 and 6)", ["method", *words], rows)
