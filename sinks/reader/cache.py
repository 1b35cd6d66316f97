"""A local folder that keeps the ranges read from remote shards, as sparse files of the shards' own layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

Range = tuple[int, int, int]  # number of a shard, offset, size in bytes


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
