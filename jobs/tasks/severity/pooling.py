"""From images to arteries to patients: each is as ill as the worst of what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def worst_of(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of the whole, (classes,), from those of its parts, (n, classes).

    That the whole is of class k or more is as probable as it is for the part that says so most: max-pooling of each
    such tail. The whole's tails are then no smaller than any part's, and for two classes this is the largest
    probability of disease.
    """
    tails = np.cumsum(probabilities[:, ::-1], 1)[:, ::-1].max(0)
    return np.asarray(tails - np.append(tails[1:], 0))


def pooled(
    keys: Sequence[Any], truths: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[list[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Parts with one key as one.

    Args:
        keys: (n,) of what each part belongs to.
        truths: (n,) class of what it belongs to, as far as the part knows.
        probabilities: (n, classes).

    Returns:
        Keys in their first order, (m,) the largest truth and (m, classes) ``worst_of`` of each.
    """
    rows: dict[Any, list[int]] = {}
    for n, key in enumerate(keys):
        rows.setdefault(key, []).append(n)
    whole = [worst_of(probabilities[own]) for own in rows.values()]
    return (
        list(rows),
        np.array([truths[own].max() for own in rows.values()], np.int64),
        np.array(whole, np.float64).reshape(len(rows), probabilities.shape[1]),
    )
