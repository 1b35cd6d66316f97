"""Whether the splits are apart: no picture or volume, and no subject, stands in two of them (promise P7)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from lesionforge.sinks import dataset
from lesionforge.sinks.store import Store
from lesionforge.sinks.summary import identifiers, mark

MOST = 2**20  # cases of a dataset that is looked at: more have only sources whose subjects differ by their numbers
NAMED = 3  # told by name


class Apart:
    """What is in each split: some 150 bytes a case, however many samples are made of it."""

    def __init__(self, cases: int) -> None:
        """``cases``: of all sources; nothing is held where they are more than ``MOST``."""
        self._held = cases <= MOST
        self._seen: dict[str, set[int]] = {}

    def add(self, split: str, marks: bytes) -> None:
        """Add a shard's ``Summary.marks``."""
        if self._held:
            self._seen.setdefault(split, set()).update(np.frombuffer(marks, "<u8").tolist())

    def shared(self) -> set[int]:
        """The marks that are in more than one split."""
        pairs = itertools.combinations(self._seen.values(), 2)
        return set[int]().union(*(one & other for one, other in pairs))


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
