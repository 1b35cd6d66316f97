"""Any file system fsspec knows that has no place of its own here."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import fsspec

from lesionforge.sinks.store.backend import Entry, join


class FileSystem:
    """Any other fsspec file system, `memory://` among them."""

    _memory = threading.Lock()

    def __init__(self, protocol: str, url: str, options: Mapping[str, Any]) -> None:
        # Own instance, no listings cache: others' writes must be seen at once.
        quiet = {"skip_instance_cache": True, "use_listings_cache": False}
        self._fs, self._root = fsspec.core.url_to_fs(url, **{**quiet, **options})
        self._lock = self._memory if protocol == "memory" else contextlib.nullcontext()

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool:
        path, data = join(self._root, key), b"".join(chunks)
        with self._lock:
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            try:
                self._fs.pipe_file(path, data, mode="create" if new else "overwrite")
            except FileExistsError:
                return False
        return True

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        return bytes(self._fs.cat_file(join(self._root, key), start=start, end=end))

    def stat(self, key: str, due: bool = False) -> Entry:
        found = self._fs.info(join(self._root, key))
        if found["type"] != "file":
            raise FileNotFoundError(key)
        return self._entry(key, found)

    def list(self, folder: str, cuts: Sequence[str] = ()) -> Iterator[Entry]:
        root = self._fs._strip_protocol(self._root)
        with contextlib.suppress(FileNotFoundError):
            for path, found in self._fs.find(join(self._root, folder), detail=True).items():
                yield self._entry(path[len(root) :].lstrip("/"), found)

    def delete(self, key: str) -> None:
        self._fs.rm_file(join(self._root, key))

    def below(self, folder: str) -> FileSystem:
        lower = copy.copy(self)
        lower._root = join(self._root, folder)
        return lower

    @staticmethod
    def _entry(key: str, found: Mapping[str, Any]) -> Entry:
        times = (found.get(name) for name in ("mtime", "LastModified", "last_modified", "updated", "created"))
        when = next((value for value in times if value), 0.0)
        return Entry(key, int(found["size"]), when.timestamp() if isinstance(when, datetime) else float(when))
