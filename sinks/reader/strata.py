"""The groups whose proportion every stretch of the order keeps: datasets, and classes within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lesionforge.sinks.reader.order import Indices
from lesionforge.sinks.reader.samples import Samples


def strata(
    datasets: Sequence[Samples],
    shares: Sequence[float] | None,
    stratify: str | None,
    balance: Mapping[Any, float] | None,
) -> tuple[list[Indices], list[Fraction]]:
    """Sample numbers by dataset and stratum, datasets numbered through, and the groups' weights.

    Args:
        datasets: what is read.
        shares: weight of each dataset; None is its size.
        stratify: column by whose values the samples of a dataset are grouped.
        balance: weight of each value inside its dataset; None is how often it occurs there.

    Raises:
        ValueError: for shares or a balance that do not fit the datasets.
    """
    if shares is not None and len(shares) != len(datasets):
        raise ValueError(f"shares {list(shares)} must be one weight for each of {len(datasets)} datasets")
    if balance is not None and stratify is None:
        raise ValueError(f"balance {dict(balance)} needs stratify, the column whose values it weighs")
    groups, weights = list[Indices](), list[Fraction]()
    start = 0
    for d, samples in enumerate(datasets):
        weight = Fraction(str(shares[d])) if shares is not None else Fraction(len(samples))
        members = _by_value(samples, stratify)
        parts = {value: Fraction(len(found)) for value, found in members.items()}
        if balance is not None:
            unknown = sorted(set(members) - set(balance), key=str)
            if unknown:
                raise ValueError(
                    f"balance has no weight for {stratify} {', '.join(map(str, unknown))}; 0 leaves it out"
                )
            parts = {value: Fraction(str(balance[value])) for value in members}
        total = sum(parts.values())
        if weight and not total:
            raise ValueError(f"balance {dict(balance or {})} leaves nothing of dataset {d}")
        for value, found in members.items():
            groups.append(found + start)
            weights.append(weight * parts[value] / total if weight else Fraction())
        start += len(samples)
    return groups, weights


def _by_value(samples: Samples, column: str | None) -> dict[Any, Indices]:
    """Numbers of the samples by a column's value, the values in a fixed order."""
    if column is None:
        return {None: np.arange(len(samples))}
    values = samples.column(column)
    found: dict[Any, list[int]] = {}
    for number, value in enumerate(values):
        found.setdefault(value, []).append(number)
    return {value: np.array(found[value]) for value in sorted(found, key=str)}
