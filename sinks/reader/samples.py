"""A dataset as a map: number -> sample, from the index and ranged reads."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lesionforge.generators.types import SPLITS
from lesionforge.sinks import dataset, index, layout
from lesionforge.sinks.card import counted
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Row
from lesionforge.sinks.limits import INDEX
from lesionforge.sinks.reader.errors import ReaderError, shown, texts
from lesionforge.sinks.reader.ranges import Range, Ranges
from lesionforge.sinks.store import Store

Sample = dict[str, Any]

_COLUMNS = ["sample_id", "split", "target", "status", "source", "subject", "labels", "members"]


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
        tables, hashes = list[pa.Table](), list[str]()
        for table, sha in dataset.parallel(lambda name: _index(self.store, name, where), shards):
            tables.append(table)
            hashes.append(sha)
        rows = pa.concat_tables(tables) if tables else index.SCHEMA.empty_table().select(_COLUMNS)
        if not len(rows):
            chosen = f" of split {split!r}" if split else ""
            raise ReaderError(
                f"{self.store.url()} has no committed samples{chosen}{' that `where` keeps' * bool(where)}"
            )
        self.members, self._offsets, self._sizes = _members(rows, members, self.store.url())
        self._shard = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        self._keys = np.array(rows["sample_id"].to_pylist(), dtype=np.bytes_)
        self._columns = {name: rows[name] for name in ("target", "split", "subject", "source", "labels")}
        self.fingerprint = hashlib.blake2b(b"".join([*self._keys, *map(str.encode, hashes)])).digest()
        self._ranges = Ranges(self.store, [layout.tar(name) for name in shards], hashes, cache, check)

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

    @property
    def remote(self) -> bool:
        """Whether reads go over a network, where many at once are faster."""
        return not self.store.is_local

    @property
    def keys(self) -> list[str]:
        """Sample ids by number."""
        return [key.decode() for key in self._keys]

    def column(self, name: str) -> list[Any]:
        """A value of every sample: ``target``, ``split``, ``subject``, ``source``, or ``labels.PATH``, a label.

        Raises:
            ReaderError: for a name that is none of these, or a label that no sample has.
        """
        if isinstance(name, str) and name in self._columns and name != "labels":
            values: list[Any] = self._columns[name].to_pylist()
            return values
        if not isinstance(name, str) or not name.startswith("labels."):
            raise ReaderError(f"no column {shown(name)}: use target, split, subject, source or labels.PATH")
        texts = zip(self._keys.tolist(), self._columns["labels"].to_pylist(), strict=True)
        found = [_at(self._decode(key, "json", text.encode()), name.split(".")[1:]) for key, text in texts]
        if all(value is None for value in found):
            raise ReaderError(f"no sample of {self.store.url()} has a label {name.removeprefix('labels.')!r}")
        return found

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


def _shards(store: Store, split: str | None) -> list[str]:
    """Committed shards, of one split or of all.

    Raises:
        ReaderError: where there is no such place or split; which splits there are.
    """
    shards = dataset.committed(store)
    if not shards and store.is_local and not store.local_path().is_dir():
        raise ReaderError(f"{store.url()}: no such folder; give the one that a dataset was generated into")
    found = {name.rsplit("-", 1)[0] for name in shards}
    if shards and split is not None and split not in found:
        there = ", ".join(name for name in SPLITS if name in found)
        raise ReaderError(f"{store.url()} has no split {shown(split)}; it has {there}")
    return [name for name in shards if split in (None, name.rsplit("-", 1)[0])]


def _index(store: Store, shard: str, where: Callable[[Row], bool] | None) -> tuple[pa.Table, str]:
    """The chosen rows of a shard's index, and the checksum of its tar."""
    data = store.get(layout.index(shard), INDEX)
    try:
        if where is None:
            record, table = index.read_table(data, _COLUMNS)
            table = table.filter(pc.equal(table["status"], "ok"))
        else:
            record, rows = index.read(data)
            kept = [row for row in rows if row.status == "ok" and where(row)]
            table = pa.Table.from_pylist([vars(row) | {"measured": None} for row in kept], schema=index.SCHEMA)
            table = table.select(_COLUMNS)
    except (pa.ArrowException, ValueError) as error:
        raise ReaderError(f"{store.url(layout.index(shard))}: {error}; see lesionforge verify --repair") from None
    return table.replace_schema_metadata(None), record.tar_sha256


def _members(
    rows: pa.Table, requested: Iterable[str] | None, url: str
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Names, and by sample and name where the data begin in the tar (-1: no such member) and how long they are."""
    lists = rows["members"].combine_chunks()
    owner, flat = pc.list_parent_indices(lists), pc.list_flatten(lists)
    present = flat.field("name")
    names = sorted(pc.unique(present).to_pylist()) if requested is None else list(requested)
    offsets, sizes = np.full((len(rows), len(names)), -1, np.int64), np.zeros((len(rows), len(names)), np.int64)
    for column, name in enumerate(names):
        hit = pc.equal(present, name)
        having = owner.filter(hit).to_numpy()
        offsets[having, column] = flat.field("offset").filter(hit).to_numpy()
        sizes[having, column] = flat.field("size").filter(hit).to_numpy()
        if requested is not None and (offsets[:, column] < 0).any():
            key = rows["sample_id"][int(np.argmin(offsets[:, column]))].as_py()
            names_text = ", ".join(sorted(pc.unique(present).to_pylist()))
            raise ReaderError(f"sample {key} of {url} has no member {name!r}; the dataset's members are {names_text}")
    return names, offsets, sizes


def _at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path, None where a sample has none."""
    for part in path:
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value
