"""The groups whose proportion every stretch of the order keeps: datasets, and classes within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lesionforge.sinks.reader.errors import ReaderError, shown, weight
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
        ReaderError: for shares or a balance that do not fit the datasets.
    """
    if shares is not None and np.shape(shares) != (len(datasets),):
        raise ReaderError(f"shares is {shown(shares)}: give a list of one weight for each of {len(datasets)} datasets")
    if balance is not None and not isinstance(balance, Mapping):
        raise ReaderError(f"balance is {shown(balance)}: give a weight by value, such as {{'mild': 1, 'severe': 2}}")
    if balance is not None and stratify is None:
        raise ReaderError(f"balance {shown(dict(balance))} needs stratify, the column whose values it weighs")
    groups, weights = list[Indices](), list[Fraction]()
    start = 0
    for d, samples in enumerate(datasets):
        share = weight(f"shares[{d}]", shares[d]) if shares is not None else Fraction(len(samples))
        members = _by_value(samples, stratify)
        parts = {value: Fraction(len(found)) for value, found in members.items()}
        if balance is not None:
            unknown = sorted(set(members) - set(balance), key=str)
            if unknown:
                raise ReaderError(
                    f"balance has no weight for {stratify} {', '.join(map(str, unknown))}; 0 leaves it out"
                )
            parts = {value: weight(f"balance[{value!r}]", balance[value]) for value in members}
        total = sum(parts.values())
        if share and not total:
            raise ReaderError(f"balance {shown(balance)} leaves nothing of dataset {d}")
        for value, found in members.items():
            groups.append(found + start)
            weights.append(share * parts[value] / total if share else Fraction())
        start += len(samples)
    if not any(weights):
        raise ReaderError(f"shares {shown(shares)} leave nothing: give one of them more than 0")
    return groups, weights


def _by_value(samples: Samples, column: str | None) -> dict[Any, Indices]:
    """Numbers of the samples by a column's value, the values in a fixed order."""
    if column is None:
        return {None: np.arange(len(samples))}
    found: dict[Any, list[int]] = {}
    for number, value in enumerate(samples.column(column)):
        if isinstance(value, list | dict):
            raise ReaderError(f"stratify is {column!r}, whose values are lists or mappings: give a single label")
        found.setdefault(value, []).append(number)
    return {value: np.array(found[value]) for value in sorted(found, key=str)}
