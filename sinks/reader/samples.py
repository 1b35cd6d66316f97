"""A dataset as a map: number -> sample, from the index and ranged reads."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lesionforge.generators.types import SPLITS
from lesionforge.sinks import dataset, footer, index, layout
from lesionforge.sinks.card import counted
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.limits import INDEX
from lesionforge.sinks.reader.errors import ReaderError, shown, texts
from lesionforge.sinks.reader.members import Shard, places
from lesionforge.sinks.reader.ranges import Range, Ranges
from lesionforge.sinks.spans import Spans
from lesionforge.sinks.store import Store

Sample = dict[str, Any]

A = TypeVar("A")
_COLUMNS = ["sample_id", "subject", "source", "source_id", "labels"]


class Samples:
    """The committed samples of a dataset that were chosen, in the order of its shards. Quarantined ones never appear.

    A sample is a dict of its members by name (``image.png``: array, ``json``: dict), and ``__key__``, its id. Only
    the members asked for are read. ``samples[i]`` is one, ``samples[i:j]`` a list. Safe to share between threads and
    to send to other processes.

    Args:
        place: where the dataset lies, or a store.
        split: only of this one; None takes all.
        members: names of the members to read; None reads all.
        where: keeps a sample if it says so of its index row (labels are JSON text there).
        decoded: False gives the members' bytes.
        cache: a local folder that keeps what was read from a remote store, for the next epoch and the next job.
        check: hold every shard against the SHA-256 of its commit before the first of its samples is read in a process,
            which takes reading it as a whole; a bit that has flipped since is a StoreError then.

    Raises:
        ReaderError: where nothing is left, or a sample lacks a member asked for.
        StoreError: where the place cannot be read.
    """

    def __init__(
        self,
        place: str | Path | Store,
        split: str | None = None,
        members: Sequence[str] | None = None,
        where: Callable[[Row], bool] | None = None,
        decoded: bool = True,
        cache: str | Path | None = None,
        check: bool = False,
    ) -> None:
        if where is not None and not callable(where):
            raise ReaderError(f"where is {shown(where)}: give a function of an index row")
        if members is not None:
            members = texts("members", members, 'members=["image.png", "json"]')
        self.store = place if isinstance(place, Store) else Store(str(place))
        self.split, self.decoded = split, decoded
        shards = _shards(self.store, split)
        opened = list(dataset.of_each(self.store, partial(_opened, self.store, where), shards))
        self._shards, hashes = [name for name, _ in shards], [one.sha256 for one in opened]
        keys = [key for one in opened for key in one.spans.keys]
        if not keys:
            chosen = f" of split {split!r}" if split else ""
            raise ReaderError(
                f"{self.store.url()} has no committed samples{chosen}{' that `where` keeps' * bool(where)}"
            )
        self.members, self._offsets, self._sizes = places(opened, members, keys, self.store.url())
        self._shard = np.repeat(np.arange(len(opened)), [len(one.spans.keys) for one in opened])
        self._keys = np.array(keys, dtype=np.bytes_)
        self._targets = pa.array((target for one in opened for target in one.spans.targets), pa.string())
        self.fingerprint = hashlib.blake2b(b"".join([*self._keys, *map(str.encode, hashes)])).digest()
        self._ranges = Ranges(self.store, list(map(layout.tar, self._shards)), hashes, cache, check)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        what = f", split {self.split}" if self.split else ""
        members = ", ".join(self.members) or "none"
        return f"<Samples of {self.store.url()}{what}: {counted(len(self), 'sample')}, members {members}>"

    @overload
    def __getitem__(self, i: int) -> Sample: ...
    @overload
    def __getitem__(self, i: slice) -> list[Sample]: ...
    def __getitem__(self, i: int | slice) -> Sample | list[Sample]:
        if isinstance(i, slice):
            return list(self.read(np.arange(len(self))[i]))
        try:
            number = operator.index(i)
        except TypeError:
            raise ReaderError(
                f"samples[{shown(i)}]: give a number or a slice; that of an id is samples.keys.index(ID)"
            ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} is outside the {len(self)} of {self.store.url()}")
        return next(self.read([number % len(self)]))

    def names(self, i: int) -> list[str]:
        """The members that a sample has, of those asked for: a film's frames are as many as it is long."""
        return [name for name, offset in zip(self.members, self._offsets[i].tolist(), strict=True) if offset >= 0]

    def member(self, i: int, name: str) -> Any:
        """One member of a sample, decoded if samples are; the others are not read.

        Raises:
            ReaderError: it has none of that name.
        """
        column = self.members.index(name) if name in self.members else None
        if column is None or self._offsets[i, column] < 0:
            raise ReaderError(f"sample {self.keys[i]} has no member {shown(name)}; it has {', '.join(self.names(i))}")
        where = int(self._shard[i]), int(self._offsets[i, column]), int(self._sizes[i, column])
        data = next(iter(self._ranges.read([where])))
        return self._decode(self._keys[i], name, data) if self.decoded else data

    @property
    def remote(self) -> bool:
        """Whether reads go over a network, where many at once are faster."""
        return not self.store.is_local

    @property
    def keys(self) -> list[str]:
        """Sample ids by number."""
        return [key.decode() for key in self._keys]

    def column(self, name: str) -> list[Any]:
        """A value of every sample: ``target``, ``split``, ``subject``, ``source``, ``source_id`` or ``labels.PATH``.

        Raises:
            ReaderError: for a name that is none of these, or a label that no sample has.
        """
        if name == "target":
            return list(self._targets.to_pylist())
        if name == "split":
            return [self._shards[shard].rsplit("-", 1)[0] for shard in self._shard.tolist()]
        if name in ("subject", "source", "source_id"):
            return list(self._rows[name].to_pylist())
        if not isinstance(name, str) or not name.startswith("labels."):
            raise ReaderError(f"no column {shown(name)}: use target, split, subject, source, source_id or labels.PATH")
        texts = zip(self._keys.tolist(), self._rows["labels"].to_pylist(), strict=True)
        found = [_at(self._decode(key, "json", text.encode()), name.split(".")[1:]) for key, text in texts]
        if all(value is None for value in found):
            raise ReaderError(f"no sample of {self.store.url()} has a label {name.removeprefix('labels.')!r}")
        return found

    @cached_property
    def _rows(self) -> pa.Table:
        """The columns that no footer tells, of every sample: all indexes are read, when one is first asked for."""
        rows = pa.concat_tables(dataset.parallel(partial(_index, self.store, _COLUMNS), self._shards))
        if len(rows) > len(self):
            rows = rows.filter(pc.is_in(rows["sample_id"], pa.array(self.keys)))
        if rows["sample_id"].to_pylist() != self.keys:
            raise ReaderError(f"{self.store.url()} has changed since it was opened: open it again")
        return rows

    def sizes(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes that are read for samples."""
        total: NDArray[np.int64] = self._sizes[numbers].sum(axis=1)
        return total

    def read(self, numbers: Sequence[int] | NDArray[np.int64]) -> Iterator[Sample]:
        """Samples by number; ranges that lie close together in a remote shard are asked for as one."""
        offsets = self._offsets[numbers].tolist()
        found = self._ranges.read(self._wanted(numbers))
        for key, row in zip(self._keys[numbers].tolist(), offsets, strict=True):
            sample: Sample = {"__key__": key.decode()}
            for name, offset in zip(self.members, row, strict=True):
                if offset >= 0:
                    data = next(found)
                    sample[name] = self._decode(key, name, data) if self.decoded else data
            yield sample

    def _decode(self, key: bytes, name: str, data: bytes) -> Any:
        try:
            return decode(name, data)
        except ValueError as error:
            raise ReaderError(f"sample {key.decode()} of {self.store.url()}: {error}; see lesionforge verify") from None

    def expect(self, numbers: Sequence[int] | NDArray[np.int64]) -> None:
        """Tell the system that these samples are read next."""
        self._ranges.expect(self._wanted(numbers))

    def _wanted(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[Range]:
        columns = (column[numbers].tolist() for column in (self._shard, self._offsets, self._sizes))
        return [
            (shard, offset, size)
            for shard, row, sizes in zip(*columns, strict=True)
            for offset, size in zip(row, sizes, strict=True)
            if offset >= 0
        ]


def _shards(store: Store, split: str | None) -> list[tuple[str, int]]:
    """Committed shards and the sizes of their indexes, of one split or of all.

    Raises:
        ReaderError: where there is no such place or split; which splits there are.
    """
    shards = sorted(dataset.sizes(store))
    if not shards and store.is_local and not store.local_path().is_dir():
        raise ReaderError(f"{store.url()}: no such folder; give the one that a dataset was generated into")
    found = {name.rsplit("-", 1)[0] for name, _ in shards}
    if shards and split is not None and split not in found:
        there = ", ".join(name for name in SPLITS if name in found)
        raise ReaderError(f"{store.url()} has no split {shown(split)}; it has {there}")
    return [(name, size) for name, size in shards if split in (None, name.rsplit("-", 1)[0])]


def _opened(store: Store, where: Callable[[Row], bool] | None, listed: tuple[str, int]) -> Shard:
    """What a shard's footer tells of its samples; of older indexes, and to choose, the rows are read."""
    shard, size = listed
    if where is not None:
        record, rows = _told(store, shard, lambda: index.read(store.get(layout.index(shard), INDEX)))
        kept = ((row.sample_id, row.target, row.members or ()) for row in rows if row.status == "ok" and where(row))
        return Shard(record.tar_sha256, *Spans.gather(kept))
    record, found = _told(store, shard, lambda: footer.read_spans(dataset.ending(store, shard, size)))
    if found is not None:
        return Shard(record.tar_sha256, found)
    table = _index(store, ["sample_id", "target", "members"], shard)
    samples = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return Shard(record.tar_sha256, *Spans.gather(samples))


def _index(store: Store, columns: Sequence[str], shard: str) -> pa.Table:
    """The rows of a shard's index that are no quarantined samples."""
    needed = list(dict.fromkeys([*columns, "sample_id", "split", "status", "members"]))
    _, table = _told(store, shard, lambda: index.read_table(store.get(layout.index(shard), INDEX), needed))
    return table.filter(pc.equal(table["status"], "ok")).select(columns).replace_schema_metadata(None)


def _told(store: Store, shard: str, read: Callable[[], tuple[Record, A]]) -> tuple[Record, A]:
    name = store.url(layout.index(shard))
    try:
        found = read()
    except ValueError as error:
        raise ReaderError(f"{name}: {error}; see lesionforge verify --repair") from None
    if found[0].shard != shard:
        raise ReaderError(f"{name} is about shard {found[0].shard}; see lesionforge verify --repair")
    return found


def _at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path, None where a sample has none."""
    for part in path:
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value
