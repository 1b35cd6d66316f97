"""PromptLesion's published figures (anonymous submission, Tables 1 to 3), and its tables with ours beside them.

Mean Dice of lesions as fractions. Their networks learn from 70 private CCTA volumes, or from LiTS, KiTS and
MSD-Pancreas, 500 epochs, three seeds, no spread given: other data than ours, so levels cannot be compared, only what
synthetic data add. "nnU-Net" is DiffTumor's DynUNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lesionforge.jobs.studies.summary import Cell, Estimate, Summary
from lesionforge.jobs.studies.tables import Table, dashed, gain, level, signed
from lesionforge.jobs.studies.task import REAL
from lesionforge.jobs.tasks.segmentation.measures import MEAN

NETWORKS: Final = {"unet": "U-Net", "dynunet": "nnU-Net"}
ARMS: Final = {  # our arm -> the paper's row
    "real": "real only",
    "texture": "+ SynTumor",
    "difftumor": "+ DiffTumor",
    "medddpm": "+ Med-DDPM",
    "promptlesion": "+ PromptLesion",
    "promptlesion-mask": "+ PromptLesion†",
}
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "ccta": ("calcified", "non_calcified"),
    "abdomen": ("liver", "kidney", "pancreas"),
}
OTHERS: Final = {
    "lesion_dsc": "lesion DSC",
    "nsd": "NSD",
    "found": "found",
    "false_positives": "FP a volume",
    "false_alarms": "false alarms",
}
NUMBER: Final = {"ccta": 1, "abdomen": 2}  # the paper's table

Figures = tuple[float, ...]  # one a column, then the printed mean

# Tables 1 and 2, by domain, network and arm. DiffTumor's row is the mean over models fitted on one class each.
FIGURES: Final[Mapping[tuple[str, str], Mapping[str, Figures]]] = {
    ("ccta", "unet"): {
        "real": (0.681, 0.213, 0.447),
        "texture": (0.695, 0.272, 0.484),
        "difftumor": (0.702, 0.302, 0.502),
        "medddpm": (0.716, 0.343, 0.529),
        "promptlesion": (0.734, 0.382, 0.558),
        "promptlesion-mask": (0.751, 0.390, 0.571),
    },
    ("ccta", "dynunet"): {
        "real": (0.692, 0.231, 0.462),
        "texture": (0.699, 0.283, 0.491),
        "difftumor": (0.706, 0.317, 0.511),
        "medddpm": (0.709, 0.353, 0.531),
        "promptlesion": (0.741, 0.401, 0.571),
        "promptlesion-mask": (0.756, 0.443, 0.599),
    },
    ("abdomen", "unet"): {
        "real": (0.358, 0.500, 0.435, 0.431),
        "texture": (0.483, 0.533, 0.442, 0.486),
        "difftumor": (0.523, 0.542, 0.463, 0.509),
        "medddpm": (0.592, 0.543, 0.526, 0.554),
        "promptlesion": (0.586, 0.589, 0.529, 0.568),
        "promptlesion-mask": (0.640, 0.600, 0.537, 0.592),
    },
    ("abdomen", "dynunet"): {
        "real": (0.472, 0.513, 0.334, 0.439),
        "texture": (0.492, 0.541, 0.364, 0.465),
        "difftumor": (0.538, 0.557, 0.398, 0.497),
        "medddpm": (0.537, 0.553, 0.453, 0.514),
        "promptlesion": (0.560, 0.593, 0.452, 0.535),
        "promptlesion-mask": (0.582, 0.611, 0.466, 0.553),
    },
}

# Table 3: one DiffTumor an organ, each scored on its own organ. Its PromptLesion rows are those of Table 2.
EACH: Final[Mapping[str, Figures]] = {
    "unet": (0.593, 0.609, 0.542, 0.581),
    "dynunet": (0.589, 0.628, 0.448, 0.555),
}


def tables(summary: Summary, domain: str, classes: Sequence[str]) -> list[Table]:
    """Every table of the paper that the runs allow, of each network and size."""
    made = []
    for write in (_all, _each):
        made += [write(summary, m, size, domain, classes) for m in summary.models for size in summary.sizes]
    return [table for table in made if table.rows]


def _all(summary: Summary, network: str, size: int | None, domain: str, classes: Sequence[str]) -> Table:
    """Table 1 or 2, one network's block, with arms of our own below."""
    theirs = FIGURES.get((domain, network), {})
    columns = COLUMNS.get(domain, classes)
    rows = []
    for arm in (*theirs, *(arm for arm in summary.arms if arm not in theirs)):
        cells = [_dice(summary, network, size, arm, column, classes) for column in (*columns, MEAN)]
        ours = [*map(level, cells), gain(cells[-1])]
        if arm == "difftumor" and cells[-1] is None:
            ours = _averages(summary, network, size, columns, classes)
        figures = theirs.get(arm, (None,) * len(cells))
        more = None if arm == REAL or figures[-1] is None else figures[-1] - theirs[REAL][-1]
        rows.append([_name(arm), *ours, *map(dashed, figures), dashed(more, signed)])
    words = [*(column.replace("_", "-") for column in columns), MEAN, "gain"]
    which = f" (PromptLesion's Table {NUMBER[domain]})" if theirs else ""
    title = f"Dice, {domain}, {_network(network, size)}{which}"
    return Table(title, ["training data", *words, *(f"paper {word}" for word in words)], rows)


def _averages(
    summary: Summary, network: str, size: int | None, columns: Sequence[str], classes: Sequence[str]
) -> list[str]:
    """What DiffTumor's models of one class each come to on average, on every column, and the gain."""
    arms = [f"difftumor-{column}" for column in columns]
    table = [[_dice(summary, network, size, arm, column, classes) for arm in arms] for column in (*columns, MEAN)]
    more = _mean([None if cell is None else cell.gain for cell in table[-1]])
    return [*(dashed(_mean(_levels(row))) for row in table), dashed(more, signed)]


def _levels(cells: Sequence[Cell | None]) -> list[Estimate | None]:
    return [None if cell is None else cell.level for cell in cells]


def _mean(some: Sequence[Estimate | None]) -> float | None:
    """None where one of them is not there."""
    there = [one.value for one in some if one is not None]
    return sum(there) / len(there) if there and len(there) == len(some) else None


def _each(summary: Summary, network: str, size: int | None, domain: str, classes: Sequence[str]) -> Table:
    """Table 3: one DiffTumor a class, each scored on its own class, against one model of all."""
    columns = COLUMNS.get(domain, classes)
    own = [_dice(summary, network, size, f"difftumor-{column}", column, classes) for column in columns]
    figures = EACH.get(network) if domain == "abdomen" else None
    title = f"One DiffTumor a class, {domain}, {_network(network, size)}"
    title += " (PromptLesion's Table 3)" if figures else ""
    words = [*(column.replace("_", "-") for column in columns), MEAN]
    head = ["training data", *words, *(f"paper {word}" for word in words)]
    if not any(own):
        return Table(title, head, [])
    mean = dashed(_mean(_levels(own)))
    rows = [["+ DiffTumor, one a class", *map(level, own), mean, *map(dashed, figures or (None,) * len(words))]]
    theirs = FIGURES.get((domain, network), {}) if figures else {}
    for arm in ("promptlesion", "promptlesion-mask"):
        cells = [_dice(summary, network, size, arm, column, classes) for column in (*columns, MEAN)]
        rows.append([_name(arm), *map(level, cells), *map(dashed, theirs.get(arm, (None,) * len(words)))])
    return Table(title, head, rows)


def _dice(
    summary: Summary, network: str, size: int | None, arm: str, column: str, classes: Sequence[str]
) -> Cell | None:
    """Dice of the class that is a column of the paper's table: ``liver`` is our ``liver_tumour``."""
    names = [name for name in (*classes, MEAN) if name == column or name.startswith(f"{column}_")]
    return summary.cell(network, size, arm, f"dsc/{names[0]}") if names else None


def _name(arm: str) -> str:
    theirs = ARMS.get(arm)
    return f"+ {arm}" if theirs is None else theirs if arm == REAL else f"{theirs} ({arm})"


def _network(network: str, size: int | None) -> str:
    return NETWORKS.get(network, network) + (f", {size} real scans" if size else "")
