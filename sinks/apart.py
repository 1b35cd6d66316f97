"""Whether the splits are apart: no picture or volume, and no subject, stands in two of them (promise P7)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks import dataset
from lesionforge.sinks.store import Store
from lesionforge.sinks.summary import identifiers, mark

PENDING = 2**20  # marks that are put in order at once
NAMED = 3  # told by name


class Apart:
    """What is in each split: 16 bytes a case, however many samples are made of it."""

    def __init__(self) -> None:
        self._marks: dict[str, NDArray[np.uint64]] = {}
        self._pending: dict[str, list[int]] = {}

    def add(self, split: str, marks: Iterable[int]) -> None:
        """Add a shard's ``Summary.marks``."""
        pending = self._pending.setdefault(split, [])
        pending += marks
        if len(pending) >= PENDING:
            self._settle(split)

    def _settle(self, split: str) -> None:
        new = np.array(self._pending.pop(split, []), np.uint64)
        self._marks[split] = np.union1d(self._marks.get(split, new), new)

    def shared(self) -> set[int]:
        """The marks that are in more than one split."""
        for split in list(self._pending):
            self._settle(split)
        once = np.concatenate([*self._marks.values(), np.array([], np.uint64)])
        values, counts = np.unique(once, return_counts=True)
        return set(values[counts > 1].tolist())


def overlap(store: Store, apart: Apart, shards: Iterable[str]) -> str:
    """What of a dataset stands in two splits, in one line; an empty string where nothing does.

    Args:
        shards: names of those that were added, to find the samples in.
    """
    suspects = apart.shared()
    if not suspects:
        return ""
    homes: dict[tuple[str, str], dict[str, str]] = {}  # of each: a sample by split
    for _, rows in dataset.indexes(store, shards):
        for row in rows:
            for what in identifiers(row.source_id, row.subject) if row.status == "ok" else ():
                if mark(*what) in suspects:
                    homes.setdefault(what, {}).setdefault(row.split, row.sample_id)
    both = sorted((what, samples) for what, samples in homes.items() if len(samples) > 1)
    if not both:
        return ""
    shown = "; ".join(f"{kind} {value} in {' and '.join(samples.values())}" for (kind, value), samples in both[:NAMED])
    return (
        f"{len(both):,} of the pictures, volumes and subjects stand in two splits: {shown}"
        f"{'; ...' * (len(both) > NAMED)}. The sources have them under two names: take one away, or say whose they are "
        "(option subject), and make the dataset anew"
    )
