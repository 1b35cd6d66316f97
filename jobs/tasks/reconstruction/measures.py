"""What the scores of all pairs say together: of each side the mean over subjects of the mean over their pairs.

Names are ``SIDE/SCORE``, SIDE ``right`` or ``left`` where a pair is of it, SCORE any that the pairs have, see
``found.Found.scores``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.studies.task import Scored

SIDES = ("right", "left")


class TreeMeasures:
    """See ``Measures``."""

    def __init__(self, scored: Sequence[Scored]) -> None:
        subjects = sorted({one.subject for one in scored})
        at = {name: n for n, name in enumerate(subjects)}
        self._names = list(dict.fromkeys(name for one in scored for name in one.row["scores"]))
        self._sides = [side for side in SIDES if any(one.row["side"] == side for one in scored)]
        total = np.zeros((len(subjects), len(self._sides), len(self._names)))
        count = np.zeros_like(total)
        for one in scored:
            values = np.array([one.row["scores"].get(name, np.nan) for name in self._names], np.float64)
            there = np.isfinite(values)
            where = at[one.subject], self._sides.index(one.row["side"])
            total[where] += np.where(there, values, 0)
            count[where] += there
        self._means = np.full(total.shape, np.nan)
        np.divide(total, count, out=self._means, where=count > 0)

    @property
    def held(self) -> dict[str, int]:
        """Subjects with a value."""
        return self._named(np.isfinite(self._means).sum(0))

    def values(self, times: NDArray[np.float64] | None = None) -> dict[str, float]:
        """See ``Measures.values``."""
        weights = np.ones(len(self._means)) if times is None else times
        there = np.isfinite(self._means)
        total = np.tensordot(weights, np.where(there, self._means, 0), 1)
        number = np.tensordot(weights, there.astype(float), 1)
        out = np.full(total.shape, np.nan)
        np.divide(total, number, out=out, where=number > 0)
        return {name: float(value) for name, value in self._named(out).items()}

    def _named(self, table: NDArray[np.float64] | NDArray[np.int64]) -> dict[str, int]:
        out: dict[str, Any] = {}
        for side, row in zip(self._sides, table, strict=True):
            out |= {f"{side}/{name}": value.item() for name, value in zip(self._names, row, strict=True)}
        return out
