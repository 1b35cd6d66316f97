"""XRA-Diff's published figures (Lau, Malinowski, Szyjut, Dziubich; Tables 4 to 9), and its tables with ours beside.

Theirs are of ImageCAS labels, 20 % of the trees a side (which were also looked at while training), at 60^3 with a
target that trilinear sampling dilates, or of 51 clinical pairs a side; ours of the study's own test subjects. Left out
are tables whose measures a study lacks: 7 and 9, of clinical pairs, where it has a truth; 4, 6 and 8 where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from lesionforge.jobs.studies.summary import Summary
from lesionforge.jobs.studies.tables import Table, dashed, level

Figures = tuple[float, ...]
Rows = Mapping[str, Mapping[str, Figures]]  # by side and method

BASIC: Final = "diffusion, basic"
BOTH: Final = "diffusion, both sides"
# Every learner -> the paper's row that it answers, "" where there is none. Of both sides, what answers the basic
# diffusion answers theirs of both sides.
ANSWERS: Final = {
    "sparse": "",
    "unet": "3D U-Net",
    "unet-small": "3D U-Net",
    "unet-paper": "3D U-Net",
    "wgan": "GAN",
    "wgan-small": "GAN",
    "viterbi": "",
    "xradiff": BASIC,
    "xradiff-small": BASIC,
    "xradiff-paper": BASIC,
    "xradiff-no-projections": "diffusion, no projections",
    "xradiff-nothing": "",
    "hull": "backprojection",
}
BEST: Final = {"right": BOTH, "left": "diffusion, no projections"}  # as the paper calls them

VOLUME: Final = {"chamfer": "Chamfer", "dsc": "DSC", "o1": "O(1)", "o2": "O(2)"}
MORE: Final = {"cldice": "clDice", "pieces": "pieces", "loops_off": "loops off", "chamfer_half_mm": "half Chamfer, mm"}
VIEWS: Final = {
    "chamfer_x0": "Chamfer x0, px",
    "chamfer_x1": "Chamfer x1, px",
    "dsc_x0_eroded": "DSC x0, eroded",
    "dsc_x1_eroded": "DSC x1, eroded",
}
WHOLE: Final = {"dsc_x0": "DSC x0", "dsc_x1": "DSC x1"}
TREE: Final = {
    "tree_chamfer": "Chamfer",
    "tree_dsc": "DSC",
    "tree_o2": "O(2)",
    "tree_cldice": "clDice",
    "tree_pieces": "pieces",
}
COST: Final = {"psnr": "PSNR, dB", "seconds": "seconds"}
MEMORY: Final = {"memory_mb": "memory, MB"}

# Settings of sampling that are swept, at the values of Figures 4 and 5, which print no numbers; what they show.
SWEEPS: Final[Mapping[str, tuple[float, ...]]] = {
    "guidance": (0, 1, 2, 4, 6, 8, 10, 12),
    "levels": (1, 3, 5, 10, 20, 50, 100),
}
SHOWN: Final = {
    "guidance": "Figure 4: steep up to 2, then flat; best 2, of clinical pairs 6 to 12",
    "levels": "Figure 5: best with 5 steps, more of them are worse",
}

# Tables 4 and 8.
VOLUMES: Final[Rows] = {
    "right": {
        "backprojection": (3.25, 0.10, 0.22, 0.36),
        "GAN": (1.93, 0.30, 0.54, 0.70),
        "3D U-Net": (1.35, 0.29, 0.51, 0.70),
        "diffusion, basic": (1.59, 0.30, 0.57, 0.76),
        "diffusion, no projections": (1.75, 0.26, 0.51, 0.72),
        "diffusion, both sides": (1.49, 0.33, 0.59, 0.78),
        "diffusion, hull of 3 views": (2.70, 0.20, 0.39, 0.57),
        "diffusion, hull of 4 views": (3.48, 0.17, 0.35, 0.50),
        "diffusion, motion": (2.10, 0.20, 0.42, 0.63),
    },
    "left": {
        "backprojection": (4.10, 0.09, 0.19, 0.30),
        "GAN": (2.61, 0.24, 0.44, 0.60),
        "3D U-Net": (1.50, 0.26, 0.46, 0.65),
        "diffusion, basic": (1.61, 0.27, 0.51, 0.70),
        "diffusion, no projections": (1.54, 0.28, 0.51, 0.70),
        "diffusion, both sides": (1.61, 0.29, 0.53, 0.71),
        "diffusion, hull of 3 views": (2.39, 0.21, 0.41, 0.58),
        "diffusion, hull of 4 views": (2.91, 0.22, 0.40, 0.55),
        "diffusion, motion": (2.18, 0.18, 0.38, 0.57),
    },
}

# Table 5: Chamfer in the first view and in the second, DSC likewise.
REPROJECTIONS: Final[Rows] = {
    "right": {
        "GAN": (10.21, 8.45, 0.44, 0.53),
        "3D U-Net": (8.87, 5.83, 0.48, 0.59),
        "diffusion, basic": (10.45, 6.72, 0.42, 0.56),
        "diffusion, both sides": (8.70, 6.28, 0.50, 0.62),
        "diffusion, motion": (11.53, 17.83, 0.40, 0.29),
    },
    "left": {
        "GAN": (19.75, 21.62, 0.46, 0.39),
        "3D U-Net": (13.47, 15.99, 0.59, 0.52),
        "diffusion, basic": (15.05, 16.90, 0.57, 0.49),
        "diffusion, no projections": (14.45, 15.98, 0.60, 0.53),
        "diffusion, motion": (15.50, 24.88, 0.55, 0.30),
    },
}

# Table 6; seconds on an H100.
COSTS: Final[Rows] = {
    "right": {
        "GAN": (39.63, 0.01),
        "3D U-Net": (33.90, 0.01),
        "diffusion, basic": (28.45, 2.71),
        "diffusion, both sides": (32.92, 2.71),
        "diffusion, motion": (27.84, 2.86),
    },
    "left": {
        "GAN": (39.04, 0.01),
        "3D U-Net": (31.13, 0.01),
        "diffusion, basic": (27.46, 2.70),
        "diffusion, no projections": (28.89, 2.71),
        "diffusion, motion": (26.87, 2.87),
    },
}

# Tables 7 and 9, columns as in Table 5.
CLINICAL: Final[Rows] = {
    "right": {
        "GAN": (16.75, 16.64, 0.27, 0.28),
        "3D U-Net": (17.02, 17.20, 0.29, 0.32),
        "diffusion, basic": (18.64, 17.69, 0.27, 0.29),
        "diffusion, no projections": (19.36, 18.77, 0.27, 0.29),
        "diffusion, both sides": (14.42, 13.75, 0.32, 0.35),
    },
    "left": {
        "GAN": (32.51, 32.63, 0.20, 0.21),
        "3D U-Net": (20.50, 18.26, 0.31, 0.33),
        "diffusion, basic": (25.08, 24.62, 0.30, 0.31),
        "diffusion, no projections": (20.78, 19.05, 0.32, 0.33),
        "diffusion, both sides": (16.28, 14.81, 0.36, 0.37),
    },
}


def tables(summary: Summary, sides: str = "both") -> list[Table]:
    """All that the runs allow, of each side and arm at the largest size; the learning curve over sizes, and sweeps.

    Args:
        summary: of a study.
        sides: that its networks learnt from: right, left or both.
    """
    truth = any(cell.measure.endswith("/dsc") for cell in summary.cells.values())
    wanted = [
        ("volumes", "Tables 4 and 8", VOLUMES, VOLUME, MORE),
        ("re-projection", "Table 5", REPROJECTIONS, VIEWS, WHOLE),
        ("PSNR and cost", "Table 6", COSTS, COST, MEMORY),
    ]
    if not truth:
        wanted = [("re-projection of clinical pairs", "Tables 7 and 9", CLINICAL, VIEWS, WHOLE)]
    made = []
    size = max(summary.sizes, key=lambda size: float("inf") if size is None else size)
    for side in VOLUMES:
        for arm in summary.arms:
            for what, number, figures, columns, more in wanted:
                title = f"{side} trees, {what}, {_which(arm, size)} (XRA-Diff's {number})"
                rows = [*_rows(summary, side, size, arm, sides == "both", figures[side], columns, more)]
                words = [*columns.values(), *more.values(), *(f"paper {word}" for word in columns.values())]
                made.append(Table(title, ["method", *words], rows))
            made.append(_trees(summary, side, size, arm))
            made += [_curve(summary, side, arm), *_sweeps(summary, side, arm)]
    return [table for table in made if table.rows]


def _rows(
    summary: Summary,
    side: str,
    size: int | None,
    arm: str,
    both: bool,
    figures: Mapping[str, Figures],
    columns: Mapping[str, str],
    more: Mapping[str, str],
) -> Iterator[Sequence[str]]:
    """Ours, the hull's among them whether it was a model or not, then the paper's that none of ours answers."""
    names, answered, none = [*columns, *more], set(), [None] * len(columns)
    models = [m for m in summary.models if any(summary.cell(m, size, arm, f"{side}/{name}") for name in names)]
    for model in models:
        theirs = ANSWERS.get(model, "")  # a study of another version may have others
        theirs = BOTH if both and theirs == BASIC else theirs
        answered.add(theirs)
        cells = [summary.cell(model, size, arm, f"{side}/{name}") for name in names]
        yield [model, *map(level, cells), *map(dashed, figures.get(theirs, none))]
    if models and "hull" not in models:
        cells = [summary.cell(models[0], size, arm, f"{side}/{name}@hull") for name in names]
        if any(cells):
            answered.add(ANSWERS["hull"])
            yield ["hull", *map(level, cells), *map(dashed, figures.get(ANSWERS["hull"], none))]
    for name in figures if models else ():
        if name not in answered:
            best = " (best)" if name == BEST[side] else ""
            yield [f"paper: {name}{best}", *["–"] * len(names), *map(dashed, figures[name])]


def _trees(summary: Summary, side: str, size: int | None, arm: str) -> Table:
    """What is exported, one tree grown of each volume: the paper has no such figures."""
    rows = []
    for model in summary.models:
        cells = [summary.cell(model, size, arm, f"{side}/{name}") for name in TREE]
        if any(cells):
            rows.append([model, *map(level, cells)])
    return Table(f"{side} trees, one tree grown of each volume, {_which(arm, size)}", ["method", *TREE.values()], rows)


def _curve(summary: Summary, side: str, arm: str) -> Table:
    """How scores grow with the subjects that are learnt from; of one size it is no curve."""
    names, rows = {**VOLUME, "cldice": "clDice"}, []
    for model in summary.models if len(summary.sizes) > 1 else ():
        for size in summary.sizes:
            cells = [summary.cell(model, size, arm, f"{side}/{name}") for name in names]
            if any(cells):
                rows.append([model, "all" if size is None else str(size), *map(level, cells)])
    return Table(f"{side} trees, learning curve, {arm}", ["method", "subjects", *names.values()], rows)


def _sweeps(summary: Summary, side: str, arm: str) -> Iterator[Table]:
    """Settings of sampling, one trained network each."""
    names = {**VOLUME, "cldice": "clDice", "pieces": "pieces"}
    for setting, values in SWEEPS.items():
        rows = []
        for model in summary.models:
            for size in summary.sizes:
                for value in values:
                    at = f"@{setting}={value:g}"
                    cells = [summary.cell(model, size, arm, f"{side}/{name}{at}") for name in names]
                    if any(cells):
                        rows.append([f"{model}, {_which(arm, size)}", f"{value:g}", *map(level, cells)])
        yield Table(
            f"{side} trees, {setting} (XRA-Diff's {SHOWN[setting]})", ["method", setting, *names.values()], rows
        )


def _which(arm: str, size: int | None) -> str:
    return arm + (f", {size} subjects" if size else "")
