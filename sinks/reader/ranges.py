"""Byte ranges of a dataset's shards: pread of local files, ranged requests of remote ones, a cache between."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from sinks.reader.cache import Cache
from sinks.store import Store, StoreError

OPEN_FILES = 256  # local shards kept open
GAP = 64 * 1024  # bytes of no interest that are cheaper to read along than to ask a server twice


class Range(NamedTuple):
    """Bytes of one shard."""

    shard: int
    offset: int
    size: int


class Ranges:
    """Reads ranges of the shards of one dataset; safe to use from several threads and after a fork.

    Args:
        store: where they lie.
        paths: of the shards in it.
        hashes: SHA-256 of each shard, under which a cache keeps it.
        cache: folder of the cache; a local store needs none and has none.
    """

    def __init__(self, store: Store, paths: Sequence[str], hashes: Sequence[str], cache: str | Path | None) -> None:
        self._store, self._paths = store, list(paths)
        self._cache = Cache(Path(cache), hashes) if cache is not None and not store.is_local else None
        self._remember()

    def _remember(self) -> None:
        # A file that falls out is closed once no thread reads it any more.
        self._open = lru_cache(OPEN_FILES)(lambda shard: FileIO(self._store.local_path(self._paths[shard])))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._remember()

    def read(self, wanted: Sequence[Range]) -> list[bytes]:
        """The bytes of every range, in order.

        Raises:
            StoreError: a shard cannot be read, or ends before a range does.
        """
        if self._store.is_local:
            return [self._local(item) for item in wanted]
        kept = [self._cache.read(item) if self._cache else None for item in wanted]
        missing = [item for item, data in zip(wanted, kept, strict=True) if data is None]
        fetched = dict[Range, bytes]()
        for span, parts in merged(missing, GAP):
            data = self._store.get_range(self._paths[span.shard], span.offset, span.size)
            for part in parts:
                fetched[part] = data[part.offset - span.offset :][: part.size]
                if self._cache:
                    self._cache.write(part, fetched[part])
        return [fetched[item] if data is None else data for item, data in zip(wanted, kept, strict=True)]

    def _local(self, item: Range) -> bytes:
        try:
            file = self._open(item.shard)  # held while it is read: another thread may push it out of the memory
            data = os.pread(file.fileno(), item.size, item.offset)
        except OSError as error:
            raise StoreError(f"cannot read {self._store.url(self._paths[item.shard])}: {error.strerror}") from error
        if len(data) != item.size:
            return self._store.get_range(self._paths[item.shard], item.offset, item.size)  # cut: it says so
        return data


def merged(wanted: Sequence[Range], gap: int) -> list[tuple[Range, list[Range]]]:
    """Ranges put together where at most ``gap`` bytes lie between them: each span, and what it holds."""
    out: list[tuple[Range, list[Range]]] = []
    for item in sorted(set(wanted)):
        if out and out[-1][0].shard == item.shard:
            span, parts = out[-1]
            end = span.offset + span.size
            if item.offset <= end + gap:
                size = max(end, item.offset + item.size) - span.offset
                out[-1] = (Range(span.shard, span.offset, size), [*parts, item])
                continue
        out.append((item, [item]))
    return out
