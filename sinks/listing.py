"""What lies in a dataset's place, held against its plan: names and sizes, from one look at its folders.

From it alone a run knows what is left to make, and the end of a dataset that everything is there. A shard is committed
where both its index and its tar lie there; whether the tar has the size that the index states, the end finds out, as it
reads that of every shard.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from lesionforge.sinks import layout
from lesionforge.sinks.store import Entry, Store

STRETCH = 10_000  # shards listed by one thread, where a place lists several stretches at once
STRETCHES = 10_000  # at most, of a place
NAMED = 1_000  # foreign names that are kept


class Named(Protocol):
    """A shard of a plan."""

    @property
    def name(self) -> str: ...


class Planned(Protocol):
    """What must be known of a plan."""

    @property
    def shards(self) -> int: ...
    def shard(self, k: int) -> Named: ...
    def number(self, name: str) -> int | None: ...


@dataclass
class Listing:
    """Sizes in bytes by shard number, -1 for what is not there: 16 bytes a planned shard, however many objects."""

    tars: array[int]
    indexes: array[int]
    foreign: list[str] = field(default_factory=list)  # tars and indexes that the plan has not

    def committed(self) -> Iterator[int]:
        """Numbers of the shards whose index and tar are both there."""
        return (k for k, (tar, index) in enumerate(zip(self.tars, self.indexes, strict=True)) if min(tar, index) >= 0)

    def torn(self) -> Iterator[int]:
        """Numbers of the shards whose index is there, but not their tar: it was lost after the commit."""
        return (k for k, (tar, index) in enumerate(zip(self.tars, self.indexes, strict=True)) if tar < 0 <= index)


def look(store: Store, plan: Planned) -> Listing:
    """List a dataset's indexes, then its tars: of a shard that is committed meanwhile the tar was there before."""
    found = Listing(array("q", [-1]) * plan.shards, array("q", [-1]) * plan.shards)
    for folder, ending, sizes in ((layout.INDEX, "parquet", found.indexes), (layout.SHARDS, "tar", found.tars)):
        for k, entry in entries(store, plan, folder, ending):
            if k is not None:
                sizes[k] = entry.size
            elif len(found.foreign) < NAMED:
                found.foreign.append(entry.name)
    found.foreign.sort()
    return found


def entries(store: Store, plan: Planned, folder: str, ending: str) -> Iterator[tuple[int | None, Entry]]:
    """The files of one kind, in any order, each with its shard's number: None where the plan has no such shard."""
    step = max(STRETCH, plan.shards // STRETCHES)  # a stranger's plan may be of any size
    cuts = sorted(f"{folder}/{plan.shard(k).name}" for k in range(step, plan.shards, step))
    number: Callable[[str], int | None] = plan.number
    start, stop = len(folder) + 1, -len(ending) - 1
    for entry in store.scan(folder, cuts):
        name = entry.name
        if name.endswith(ending) and name[stop] == "." and "/" not in name[start:] and name[start] != ".":
            yield number(name[start:stop]), entry
