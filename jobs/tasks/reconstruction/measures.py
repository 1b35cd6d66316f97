"""What the scores of all pairs say together: of each side the mean over subjects of the mean over their pairs.

Names are ``SIDE/SCORE``, SIDE ``right``, ``left`` or ``all``, SCORE one of ``metrics.volume_scores`` or ``psnr``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.studies.task import Scored

SIDES = ("right", "left", "all")
SCORES = ("dsc", "chamfer", "chamfer_mm", "o1", "o2", "cldice", "pieces", "loops_off", "psnr")


class TreeMeasures:
    """See ``Measures``."""

    def __init__(self, scored: Sequence[Scored]) -> None:
        subjects = sorted({one.subject for one in scored})
        at = {name: n for n, name in enumerate(subjects)}
        total = np.zeros((len(subjects), len(SIDES), len(SCORES)))
        count = np.zeros_like(total)
        for one in scored:
            values = np.array([one.row["scores"][name] for name in SCORES], np.float64)
            there = np.isfinite(values)
            for side in (SIDES.index(one.row["side"]), SIDES.index("all")):
                total[at[one.subject], side] += np.where(there, values, 0)
                count[at[one.subject], side] += there
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
        return {f"{side}/{score}": table[s, n].item() for s, side in enumerate(SIDES) for n, score in enumerate(SCORES)}
