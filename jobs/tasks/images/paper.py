"""Published figures of what tells frames apart, and their tables with ours beside them.

Cong et al. (medRxiv 2021.03.05.21252217): begin and end of full contrast by Inception-v3 and a bi-directional LSTM,
learnt from 146 private runs of 19 patients, scored on 582 runs of 175 others at 15 frames a second. Left or right from
19 patients: accuracy 1, nothing else said. Rodrigues et al. (2021), Table 2: ResNet-50, the classes RCA, LCA, LCx-LAD
and LAD-LCx, 672 private sequences, five folds by sequence, so that a patient's views may be learnt from and scored on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lesionforge.jobs.studies.summary import Summary
from lesionforge.jobs.studies.tables import NONE, Table, level

FRAMES: Final = {
    "begin_error": "begin, frames",
    "end_error": "end, frames",
    "accepted": "accepted (≤ 3)",
    "failed": "error (≥ 10)",
    "f1": "F1 of frames",
}
CONG: Final = {"paper, Inception-v3 and Bi-LSTM": ("2.05", "2.27", ".830", ".050", NONE)}
VIEW: Final = {"accuracy": "accuracy", "f1": "F1", "cross_entropy": "cross-entropy"}
TABLE_2: Final = {
    "paper, ResNet-50 at 512": ("0.96±0.01", "0.96±0.01", "0.14±0.27"),
    "paper, ResNet-50 at 224": ("0.97±0.01", "0.97±0.01", "0.08±0.31"),
}
SIDES: Final = {
    "paper (Cong et al.), sides": ("1.00", NONE, NONE),
    **{f"{name} (views)": figures for name, figures in TABLE_2.items()},
}


def table(summary: Summary, title: str, measures: Mapping[str, str], theirs: Mapping[str, Sequence[str]]) -> Table:
    """Means ± sd over seeds of every learner, size and arm; the papers' figures below, by the words of their rows."""
    rows = []
    for model in summary.models:
        for size in summary.sizes:
            for arm in summary.arms:
                cells = [summary.cell(model, size, arm, name) for name in measures]
                if any(cells):
                    rows.append([f"{model}, {arm}, {'all' if size is None else size}", *map(level, cells)])
    return Table(title, ["", *measures.values()], [*rows, *([name, *figures] for name, figures in theirs.items())])
