"""An even choice out of a stream that nobody holds as a whole: the same whatever the order, and mergeable."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import Any

from lesionforge.generators.types import SPLITS


def _rank(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def ranked(names: Iterable[str]) -> list[str]:
    """Names in the order in which a reservoir prefers them."""
    return sorted(names, key=lambda name: (_rank(name), name))


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
        rank = _rank(name)
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


class Choice:
    """Samples to look at: as many of each split and class, as far as there are."""

    def __init__(self, samples: int) -> None:
        """``samples``: how many are wanted in all."""
        self.samples = samples
        self._groups: dict[tuple[str, str], Reservoir] = {}

    def add(self, group: tuple[str, str], sample_id: str, item: Any) -> None:
        """Offer a sample of a (split, class)."""
        self._groups.setdefault(group, Reservoir(self.samples)).add(sample_id, item)

    def chosen(self, split: str | None = None) -> list[Any]:
        """The items chosen, by split and id.

        Args:
            split: only of this one.
        """
        shares = dict.fromkeys(sorted(group for group in self._groups if split in (None, group[0])), 0)
        left = self.samples
        while left > 0 and (wanting := [group for group in shares if shares[group] < len(self._groups[group])]):
            for group in wanting[:left]:
                shares[group] += 1
            left -= len(wanting)
        lots = [
            (SPLITS.index(group[0]), name, item)
            for group, share in shares.items()
            for name, item in self._groups[group].sorted(share)
        ]
        return [item for _, _, item in sorted(lots, key=lambda entry: entry[:2])]
