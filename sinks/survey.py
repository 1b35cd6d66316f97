"""One pass over a dataset's indexes: exact counts, and an even choice of samples to look at."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lesionforge.generators.types import SPLITS
from lesionforge.sinks import dataset
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.store import Store

ROWS = 20_000  # index rows that distributions are drawn from
QUARANTINED = 1_000  # quarantined samples listed one by one


class Reservoir:
    """At most so many items of a stream, chosen by a hash of their names: evenly, whatever the order.

    A fixed stride would not do: where each subject has two cases, every second row is always the same one.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._heap: list[tuple[int, str, int, Any]] = []
        self._seen = 0

    def add(self, name: str, item: Any) -> None:
        """Offer an item under its unique name."""
        self._seen += 1  # parts items of one name, which a damaged index may have
        rank = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, (-rank, name, self._seen, item))
        elif self._heap and -rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-rank, name, self._seen, item))

    def __len__(self) -> int:
        return len(self._heap)

    def sorted(self, most: int | None = None) -> list[tuple[str, Any]]:
        """The first ``most`` by hash, in the order of their names."""
        first = sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))[:most]
        return sorted(((name, item) for _, name, _, item in first), key=lambda entry: entry[0])


@dataclass
class Survey:
    """What one pass over the indexes leaves: exact counts, and even choices of rows."""

    samples: int
    totals: Totals = field(default_factory=Totals)
    rows: Reservoir = field(default_factory=lambda: Reservoir(ROWS))  # (labels as JSON, measured, redraws)
    groups: dict[tuple[str, str], Reservoir] = field(default_factory=dict)  # (split, class) -> (shard, row)
    quarantined: Reservoir = field(default_factory=lambda: Reservoir(QUARANTINED))

    def read(self, store: Store) -> Iterator[tuple[Record, list[Row]]]:
        """Read all indexes of a dataset, and hand them on."""
        for record, rows in dataset.indexes(store, dataset.committed(store)):
            self.totals.add(record, rows)
            for row in rows:
                if row.status == "ok":
                    group = (row.split, row.target or "all")
                    self.groups.setdefault(group, Reservoir(self.samples)).add(row.sample_id, (record.shard, row))
                    self.rows.add(row.sample_id, (row.labels or "{}", row.measured, row.redraws))
                else:
                    item = {"id": row.sample_id, "split": row.split, "class": row.target, "redraws": row.redraws}
                    self.quarantined.add(row.sample_id, {**item, "reason": row.reason or "unknown"})
            yield record, rows

    def chosen(self, split: str | None = None) -> list[tuple[str, Row]]:
        """Shards and rows of the samples to show: as many of each split and class, as far as there are.

        Args:
            split: only of this one.
        """
        shares = dict.fromkeys(sorted(group for group in self.groups if split in (None, group[0])), 0)
        left = self.samples
        while left > 0 and (wanting := [group for group in shares if shares[group] < len(self.groups[group])]):
            for group in wanting[:left]:
                shares[group] += 1
            left -= len(wanting)
        lots = (self.groups[group].sorted(share) for group, share in shares.items())
        return [item for _, item in sorted((entry for lot in lots for entry in lot), key=_place)]


def _place(entry: tuple[str, Any]) -> tuple[int, str]:
    return SPLITS.index(entry[1][1].split), entry[0]
