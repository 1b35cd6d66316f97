"""Scores of graded images, arteries or patients against the truth, each defined once. All are fractions.

- ``accuracy``: named right, by the most probable class. ``base``: the same of calling everything diseased, of the class
  that most of the diseased have: what a network must beat.
- ``sensitivity``: diseased (class 1 or more) called diseased, ``specificity``: the others called healthy.
- ``f1``: F1 of each class, weighted by how often the class is there. ``kappa``: Cohen's, unweighted.
- ``auc``: area under the ROC curve of the probability of class 1 or more. ``auc_worst``, with three classes or more:
  among the diseased, of the last class against the others, by its share of the probability of disease (with cuts at
  50/70, severe against moderate).

A score that divides by nothing has no value (NaN).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAMES = ("accuracy", "base", "sensitivity", "specificity", "f1", "kappa", "auc", "auc_worst")


class Graded:
    """Graded units of one level, counted as often as a bootstrap asks.

    Args:
        truths: int (n,), 0 or more.
        probabilities: (n, classes).
    """

    def __init__(self, truths: NDArray[np.int64], probabilities: Floats) -> None:
        self._classes = probabilities.shape[1]
        self._cell = truths * self._classes + probabilities.argmax(1)
        ill = truths > 0
        disease = probabilities[:, 1:].sum(1)
        self._ill = Ranked(disease, ill)
        last = probabilities[ill, -1] / np.maximum(disease[ill], 1e-300)
        self._among, self._worst = ill, Ranked(last, truths[ill] == self._classes - 1)

    def values(self, weights: Floats) -> dict[str, float]:
        """Every score by its name; ``weights`` (n,): how often each unit counts."""
        k = self._classes
        table = np.bincount(self._cell, weights, k * k).reshape(k, k)  # truth, named
        total, true, named, right = table.sum(), table.sum(1), table.sum(0), np.diag(table)
        by_chance = ratio(float(true @ named), total * total)
        agreed = ratio(right.sum(), total)
        both = true + named
        f1 = np.divide(2 * right, both, out=np.zeros(k), where=both > 0)
        out = {
            "accuracy": agreed,
            "base": ratio(true[1:].max(), total),
            "sensitivity": ratio(table[1:, 1:].sum(), true[1:].sum()),
            "specificity": ratio(table[0, 0], true[0]),
            "f1": ratio(float(f1 @ true), total),
            "kappa": ratio(agreed - by_chance, 1 - by_chance),
            "auc": self._ill.area(weights),
        }
        return out | ({"auc_worst": self._worst.area(weights[self._among])} if k > 2 else {})


class Ranked:
    """Scores (n,) of what is positive (bool (n,)) and what is not, sorted once."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ranked = scores[self._order]
        self._positive = positive[self._order]
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, int)

    def area(self, weights: Floats) -> float:
        """Share of pairs of a positive and a negative where the positive has the higher score, equal ones as half."""
        w = weights[self._order]
        up = np.diff(np.cumsum(w * self._positive)[self._ends], prepend=0)
        below = np.cumsum(w * ~self._positive)[self._ends]
        step = np.diff(below, prepend=0)
        return ratio(float(up @ (below - step / 2)), float(up.sum() * step.sum()))


def ratio(part: float, whole: float) -> float:
    """NaN where the whole is nothing."""
    return float(part / whole) if whole > 1e-12 else float("nan")
