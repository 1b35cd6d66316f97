"""What answers are worth: shares with Wilson's interval, AUC with DeLong's; of all readers, a bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata

from lesionforge.generators.types import stream

LEVEL = 0.95
DRAWS = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A figure, its interval (None where nothing varies, or there is none), and what it is of."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def body(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "interval": None if self.low is None else [self.low, self.high], "n": self.n}


def share(hits: int, n: int) -> Measured:
    """A proportion with Wilson's score interval (1927)."""
    if not n:
        return Measured(None, None, None, 0)
    ends = binomtest(hits, n).proportion_ci(LEVEL, method="wilson")
    return Measured(hits / n, float(ends.low), float(ends.high), n)


def auc(drawn: Floats, real: Floats) -> Measured:
    """Area under the ROC curve with DeLong's interval (DeLong et al. 1988; ranks as Sun and Xu 2014).

    Args:
        drawn, real: scores of either, higher where the reader was surer that it is drawn. Ties count half.
    """
    m, n = len(drawn), len(real)
    if not m or not n:
        return Measured(None, None, None, m + n)
    whole = rankdata(np.concatenate([drawn, real]))
    above = (whole[:m] - rankdata(drawn)) / n  # share of the real that each drawn one exceeds
    below = 1 - (whole[m:] - rankdata(real)) / m
    value = float(above.mean())
    if m < 2 or n < 2 or not (variance := above.var(ddof=1) / m + below.var(ddof=1) / n):
        return Measured(value, None, None, m + n)
    reach = float(norm.ppf(0.5 + LEVEL / 2) * np.sqrt(variance))
    return Measured(value, max(value - reach, 0.0), min(value + reach, 1.0), m + n)


def pooled(
    right: NDArray[np.bool_], scores: Floats, drawn: NDArray[np.bool_], subjects: Sequence[str]
) -> dict[str, Measured]:
    """Means over readers, with percentile intervals of a bootstrap over subjects: for these readers, other patients.

    Args:
        right: (readers, items), whether the call was.
        scores: (readers, items), as in ``auc``.
        drawn: (items,).
        subjects: of each item; one's items are drawn together.
    """
    names, which = np.unique(np.array(subjects), return_inverse=True)
    rng = stream(b"readers", f"bootstrap/{len(names)}")
    weights = np.vstack([np.ones(len(names)), rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)])
    items = weights[:, which]  # (1 + draws, items): the first is as it was
    one, other = items[:, drawn], items[:, ~drawn]
    kernel = np.zeros((int(drawn.sum()), int((~drawn).sum())))
    for line in scores:
        gap = line[drawn][:, None] - line[~drawn][None]
        kernel += ((gap > 0) + 0.5 * (gap == 0)) / len(scores)
    hit = right.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "accuracy": (items @ hit) / items.sum(1),
            "sensitivity": (one @ hit[drawn]) / one.sum(1),
            "specificity": (other @ hit[~drawn]) / other.sum(1),
            "auc": ((one @ kernel) * other).sum(1) / (one.sum(1) * other.sum(1)),
        }
    return {name: _percentiles(line, len(subjects), len(names)) for name, line in found.items()}


def _percentiles(line: Floats, n: int, subjects: int) -> Measured:
    value = float(line[0])
    drawn = line[1:][np.isfinite(line[1:])]
    if subjects < 2 or not len(drawn) or np.ptp(drawn) == 0:
        return Measured(value if np.isfinite(value) else None, None, None, n)
    low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Measured(value, float(low), float(high), n)
