"""Byte ranges of a dataset's shards: pread of local files, ranged requests of remote ones, a cache between."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.store.disk import regular

Range = tuple[int, int, int]  # number of a shard, offset, size in bytes

OPEN_FILES = 256  # local shards kept open
GAP = 64 * 1024  # bytes of no interest that are cheaper to read along than to ask a server twice
CHECKERS = 64  # shards that threads of a process may check at once
PAGE = 4096  # bytes that a disk gives at least


class Ranges:
    """Reads ranges of the shards of one dataset; safe to use from several threads and after a fork.

    Args:
        store: where they lie.
        paths: of the shards in it.
        hashes: SHA-256 of each shard, under which a cache keeps it.
        cache: folder of the cache; a local store needs none and has none.
        check: read every shard as a whole before its first range, and hold it against its hash.
    """

    def __init__(
        self,
        store: Store,
        paths: Sequence[str],
        hashes: Sequence[str],
        cache: str | Path | None,
        check: bool = False,
    ) -> None:
        self._store, self._paths = store, list(paths)
        self._hashes = list(hashes) if check else []
        self._sound: set[int] = set()  # shards that were checked in this process, or before it was forked
        self._cache = Cache(Path(cache), hashes) if cache is not None and not store.is_local else None
        self._remember()

    def _remember(self) -> None:
        self._checking = [threading.Lock() for _ in range(CHECKERS)]
        # A file that falls out is closed once no thread reads it any more.
        self._open = lru_cache(OPEN_FILES)(
            lambda shard: FileIO(self._store.local_path(self._paths[shard]), opener=regular)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_open", "_checking")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._remember()

    def read(self, wanted: Sequence[Range]) -> Iterator[bytes]:
        """The bytes of every range, in order; local ones are read as they are asked for.

        Raises:
            StoreError: a shard cannot be read, or ends before a range does, or is not what was committed.
        """
        if self._hashes and self._store.is_local:
            return map(self._checked, wanted)
        return map(self._local, wanted) if self._store.is_local else iter(self._remote(wanted))

    def expect(self, wanted: Sequence[Range]) -> None:
        """Tell the system which ranges are read next: it fetches them from a local disk meanwhile.

        Where the last of them is in memory already, the others are taken to be as well.
        """
        if not (self._store.is_local and wanted and hasattr(os, "posix_fadvise")) or self._in_memory(wanted[-1]):
            return
        for (shard, offset, size), _ in merged(wanted, PAGE):
            with contextlib.suppress(OSError):  # reading will tell
                file = self._open(shard)
                os.posix_fadvise(file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)

    def _in_memory(self, item: Range) -> bool:
        shard, offset, _ = item
        try:
            file = self._open(shard)
            return bool(os.preadv(file.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT))
        except (OSError, AttributeError):  # it is not; or a system that cannot tell
            return False

    def _local(self, item: Range) -> bytes:
        shard, offset, size = item
        try:
            file = self._open(shard)  # held while it is read: another thread may push it out of the memory
            whole = os.fstat(file.fileno()).st_size >= offset + size  # no room is made for a range that is not
            data = os.pread(file.fileno(), size, offset) if whole else b""
        except OSError as error:
            raise StoreError(f"cannot read {self._store.url(self._paths[shard])}: {error.strerror}") from error
        if len(data) != size:
            return self._store.get_range(self._paths[shard], offset, size)  # cut: it says so
        return data

    def _checked(self, item: Range) -> bytes:
        if item[0] not in self._sound:
            self._check(item[0])
        return self._local(item)

    def _check(self, shard: int, data: bytes | None = None) -> None:
        """Hold a shard against its hash, once a process.

        Args:
            data: its bytes, where they are at hand.

        Raises:
            StoreError: it is not what was committed.
        """
        with self._checking[shard % CHECKERS]:  # threads that meet here would each read it
            if shard in self._sound:
                return
            path = self._paths[shard]
            if data is not None:
                sha = hashlib.sha256(data).hexdigest()
            else:
                try:
                    with self._store.local_path(path).open("rb", buffering=0) as file:
                        sha = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    raise StoreError(f"cannot read {self._store.url(path)}: {error.strerror}") from error
            if sha != self._hashes[shard]:
                raise StoreError(
                    f"{self._store.url(path)} is not what was committed (its SHA-256 is {sha[:12]}, not "
                    f"{self._hashes[shard][:12]}): lesionforge verify {self._store.url()} --repair makes it again"
                )
            self._sound.add(shard)

    def _remote(self, wanted: Sequence[Range]) -> list[bytes]:
        kept = [self._cache.read(item) if self._cache else None for item in wanted]
        missing = [item for item, data in zip(wanted, kept, strict=True) if data is None]
        fetched = dict[Range, bytes]()
        for (shard, start, length), parts in merged(missing, GAP):
            if self._hashes and shard not in self._sound:
                start, data = 0, self._store.get(self._paths[shard])
                self._check(shard, data)
            else:
                data = self._store.get_range(self._paths[shard], start, length)
            for part in parts:
                _, offset, size = part
                fetched[part] = data[offset - start : offset - start + size]
                if self._cache:
                    self._cache.write(part, fetched[part])
        return [fetched[item] if data is None else data for item, data in zip(wanted, kept, strict=True)]


class Cache:
    """Ranges under their shard's checksum, so that no other dataset's bytes can be taken for them.

    ``SHA.part`` holds each range at its own offset; ``SHA.have`` has a byte of 1 at the range's first 512-byte block
    once its data are written (members begin at blocks of their own). Processes may share the folder: they write the
    same bytes. It holds at most what was read, and may be deleted at any time between jobs; do so after a power cut.
    """

    def __init__(self, folder: Path, hashes: Sequence[str]) -> None:
        self._folder, self._hashes = folder, list(hashes)
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, item: Range) -> bytes | None:
        """A range's bytes, or None where it is not kept."""
        shard, offset, size = item
        try:
            if not size or self._pread(shard, "have", offset // 512, 1) != b"\1":
                return None
            data = self._pread(shard, "part", offset, size)
        except FileNotFoundError:
            return None
        return data if len(data) == size else None

    def write(self, item: Range, data: bytes) -> None:
        """Keep a range."""
        shard, offset, _ = item
        self._pwrite(shard, "part", offset, data)
        self._pwrite(shard, "have", offset // 512, b"\1")

    def _path(self, shard: int, kind: str) -> Path:
        return self._folder / f"{self._hashes[shard]}.{kind}"

    def _pread(self, shard: int, kind: str, offset: int, size: int) -> bytes:
        with self._path(shard, kind).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def _pwrite(self, shard: int, kind: str, offset: int, data: bytes) -> None:
        handle = os.open(self._path(shard, kind), os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.pwrite(handle, data, offset)
        finally:
            os.close(handle)


def merged(wanted: Sequence[Range], gap: int) -> list[tuple[Range, list[Range]]]:
    """Ranges put together where at most ``gap`` bytes lie between them: each span, and what it holds."""
    out: list[tuple[Range, list[Range]]] = []
    for item in sorted(set(wanted)):
        shard, offset, size = item
        if out and out[-1][0][0] == shard:
            (_, start, length), parts = out[-1]
            if offset <= start + length + gap:
                out[-1] = (shard, start, max(length, offset + size - start)), [*parts, item]
                continue
        out.append((item, [item]))
    return out
