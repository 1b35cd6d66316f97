"""What a classifier's answers say together. An item counts as often as its subject.

- ``accuracy``: share of items whose likeliest class is the true one.
- ``f1``: mean over the true classes of 2 TP / (2 TP + FP + FN).
- ``cross_entropy``: mean of minus the logarithm of the true class's probability, at least ``FLOOR``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.studies.task import Scored

FLOOR = 1e-7


class Answers:
    """See ``jobs.studies.task.Measures``; rows have ``truth``, ``found`` and ``probability`` of the truth."""

    def __init__(self, scored: Sequence[Scored]) -> None:
        truth, found = ([str(one.row[name]) for one in scored] for name in ("truth", "found"))
        names = sorted({*truth, *found})
        self._truth, self._found = (np.array([names.index(one) for one in said]) for said in (truth, found))
        self._classes = len(names)
        self._loss = -np.log(np.maximum([one.row["probability"] for one in scored], FLOOR))
        self._subjects = np.unique([one.subject for one in scored], return_inverse=True)[1]

    @property
    def held(self) -> dict[str, int]:
        """Subjects; of F1, those of the rarest true class."""
        everyone = int(self._subjects.max()) + 1
        by_class = [len(np.unique(self._subjects[self._truth == k])) for k in np.unique(self._truth)]
        return {"accuracy": everyone, "f1": min(by_class), "cross_entropy": everyone}

    def values(self, times: NDArray[np.float64] | None = None) -> dict[str, float]:
        """See ``Measures.values``."""
        w = np.ones(len(self._truth)) if times is None else times[self._subjects]
        table = np.zeros((self._classes, self._classes))
        np.add.at(table, (self._truth, self._found), w)
        true, said = table.sum(1), table.sum(0)
        f1 = 2 * np.diag(table)[true > 0] / (true + said)[true > 0]
        return {
            "accuracy": float(np.trace(table) / w.sum()),
            "f1": float(f1.mean()),
            "cross_entropy": float(w @ self._loss / w.sum()),
        }
