"""Reading a dataset's indexes and samples back from where it lies."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from lesionforge.generators.types import SPLITS, Split
from lesionforge.sinks import footer, index, layout, limits
from lesionforge.sinks.commit import ForeignShard
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.quarantine import Reasons
from lesionforge.sinks.store import Store
from lesionforge.sinks.summary import Summary

READERS = 8  # objects asked for at once: storage answers slowly, many at a time
FOOTERS = 64  # the same, of those of which only the end is read
AT_ONCE = 1e-3  # seconds a short file of a disk that answers so: a folder of a network takes more
BATCH = 16  # short files that a thread reads before it tells of them: to hand one over takes as long as to read it
TAIL = 16 * 1024  # bytes that hold the footer of most indexes

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Totals:
    """Counts over the committed shards."""

    shards: int = 0
    samples: int = 0
    quarantined: int = 0
    bytes: int = 0
    burned_in: int = 0  # samples of frames that seem to carry writing
    per_split: Counter[str] = field(default_factory=Counter)
    per_class: Counter[tuple[str, str]] = field(default_factory=Counter)  # (split, class)
    reasons: Reasons = field(default_factory=Reasons)

    def add(self, record: Record, summary: Summary) -> None:
        """Count one shard."""
        self.shards += 1
        self.samples += record.samples
        self.quarantined += record.quarantined
        self.bytes += record.tar_bytes
        self.burned_in += summary.burned_in
        for (split, target), n in summary.counts.items():
            self.per_split[split] += n
            self.per_class[split, target] += n
        self.reasons.merge(summary.reasons)


def parallel(function: Callable[[A], B], items: Iterable[A], threads: int = READERS) -> Iterator[B]:
    """``map`` with several calls under way, results in order, a bounded number ahead."""
    waiting = deque[Future[B]]()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def of_each(store: Store, function: Callable[[A], B], shards: Iterable[A]) -> Iterator[B]:
    """``parallel`` for short reads: a network is asked for many at once, a disk's threads take several in one go.

    A disk that answers at once is read by one thread: several that never wait take the interpreter from each other.
    """
    if not store.is_local:
        return parallel(function, shards, FOOTERS)
    left = iter(shards)
    begun = time.monotonic()
    first = list(map(function, islice(left, BATCH)))
    if time.monotonic() - begun < AT_ONCE * len(first):
        return chain(first, map(function, left))
    batches = iter(lambda: list(islice(left, BATCH)), [])
    return chain(first, chain.from_iterable(parallel(lambda batch: list(map(function, batch)), batches)))


def committed(store: Store) -> list[str]:
    """Names of the committed shards, sorted."""
    return sorted(names(store))


def names(store: Store) -> Iterator[str]:
    """Names of the committed shards as the store lists them, one at a time."""
    return (name for name, _ in sizes(store))


def sizes(store: Store) -> Iterator[tuple[str, int]]:
    """The same, each with the size of its index in bytes."""
    for entry in store.scan(layout.INDEX):
        name = entry.name.rsplit("/", 1)[-1]
        if name.endswith(".parquet"):
            yield name.removesuffix(".parquet"), entry.size


def splits(store: Store, wanted: Sequence[str] | None) -> list[Split]:
    """The dataset's splits, or those of them that are wanted.

    Raises:
        ValueError: where one is not there, or none.
    """
    present = {name.rsplit("-", 1)[0] for name in names(store)}
    found = [split for split in SPLITS if split in present and (wanted is None or split in wanted)]
    if missing := sorted(set(wanted or ()) - set(found)):
        raise ValueError(
            f"{store.url()} has no split {', '.join(missing)}; it has {', '.join(sorted(present)) or 'none'}"
        )
    if not found:
        raise ValueError(f"{store.url()} has no committed samples")
    return found


def indexes(store: Store, shards: Iterable[str]) -> Iterator[tuple[Record, list[Row]]]:
    """Commit records of shards, in order; ForeignShard for one that cannot be read."""
    # Fetched side by side, unpacked one after the other: each may become as much as `limits` allows.
    fetched = parallel(lambda shard: (shard, store.get(layout.index(shard), limits.INDEX)), shards)
    return (_told(store, shard, partial(index.read, data), lambda found: found[0]) for shard, data in fetched)


def footers(store: Store, sizes: Iterable[tuple[str, int]]) -> Iterator[tuple[Record, Summary] | None]:
    """Totals and summaries of shards, in order: one short ranged read each, whatever number of rows they have.

    Args:
        sizes: names of shards and the sizes of their indexes in bytes, as listed.

    Returns:
        For each shard its own, or None where its index is gone by now.

    Raises:
        ForeignShard: for one that cannot be read.
    """
    return of_each(store, lambda item: _footer(store, *item), sizes)


def _footer(store: Store, shard: str, size: int) -> tuple[Record, Summary] | None:
    try:
        return _told(store, shard, lambda: footer.read_footer(ending(store, shard, size)), lambda found: found[0])
    except FileNotFoundError:
        return None


def ending(store: Store, shard: str, size: int) -> bytes:
    """The end of a shard's index, of ``size`` bytes, with its whole footer.

    Raises:
        FileNotFoundError: where it is gone.
        ValueError: where it is no index.
    """
    data = store.get_range(layout.index(shard), max(0, size - TAIL), min(size, TAIL))
    if (needed := footer.footer_size(data)) <= len(data):
        return data
    if needed > min(size, limits.FOOTER):
        raise ValueError(f"it claims a footer of {needed} bytes")
    return store.get_range(layout.index(shard), size - needed, needed)


def _told(store: Store, shard: str, read: Callable[[], B], record: Callable[[B], Record]) -> B:
    name = layout.index(shard)
    try:
        found = read()
    except ValueError as error:
        raise ForeignShard(f"{store.url(name)}: {error}; see lesionforge verify --repair") from None
    if record(found).shard != shard:
        raise ForeignShard(f"{store.url(name)} is about shard {record(found).shard}; see lesionforge verify --repair")
    return found


def sample(store: Store, shard: str, row: Row) -> dict[str, bytes]:
    """One sample's members by name, in one ranged read.

    Raises:
        ValueError: for a quarantined sample.
    """
    if row.offset is None or row.size is None or row.members is None:
        raise ValueError(f"sample {row.sample_id} is quarantined: {row.reason}")
    data = store.get_range(layout.tar(shard), row.offset, row.size)
    at = {m["name"]: (m["offset"] - row.offset, m["size"]) for m in row.members}
    return {name: data[start : start + size] for name, (start, size) in at.items()}


def decoded(members: dict[str, bytes]) -> dict[str, Any]:
    """Members decoded by their names."""
    return {name: decode(name, data) for name, data in members.items()}
