"""Means over subjects of the means over their items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.studies.task import Scored


class Means:
    """See ``jobs.studies.task.Measures``: of every number in the rows' ``scores``, NaN or None where it has none."""

    def __init__(self, scored: Sequence[Scored]) -> None:
        subjects = sorted({one.subject for one in scored})
        at = {name: n for n, name in enumerate(subjects)}
        self._names = list(dict.fromkeys(name for one in scored for name in one.row["scores"]))
        total = np.zeros((len(subjects), len(self._names)))
        count = np.zeros_like(total)
        for one in scored:
            values = np.array([one.row["scores"].get(name) for name in self._names], np.float64)
            total[at[one.subject]] += np.where(np.isfinite(values), values, 0)
            count[at[one.subject]] += np.isfinite(values)
        self._means = np.full(total.shape, np.nan)
        np.divide(total, count, out=self._means, where=count > 0)

    @property
    def held(self) -> dict[str, int]:
        """Subjects with a value."""
        return dict(zip(self._names, np.isfinite(self._means).sum(0).tolist(), strict=True))

    def values(self, times: NDArray[np.float64] | None = None) -> dict[str, float]:
        """See ``Measures.values``."""
        weights = np.ones(len(self._means)) if times is None else times
        there = np.isfinite(self._means)
        total, number = weights @ np.where(there, self._means, 0), weights @ there
        out = np.full(total.shape, np.nan)
        np.divide(total, number, out=out, where=number > 0)
        return dict(zip(self._names, out.tolist(), strict=True))
