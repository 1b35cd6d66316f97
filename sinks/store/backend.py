"""What every kind of storage must be able to do, what it keeps, and how its keys are put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, Self

#: Folder of unfinished local files and probe objects: never listed, never a dataset's own.
TEMPORARY = ".tmp"


class Entry(NamedTuple):
    """One stored object."""

    name: str  # relative to the store, with forward slashes
    size: int  # bytes
    mtime: float  # seconds since 1970


class Backend(Protocol):
    """What a kind of storage must be able to do. Keys are relative; `write` gets flat, non-empty views.

    `stat` of what is `due` asks again where a server may not know yet what was just written. `list` may list the
    stretches between `cuts`, sorted keys, side by side, and in any order.
    """

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool: ...
    def read(self, key: str, start: int | None, end: int | None) -> bytes: ...
    def stat(self, key: str, due: bool = False) -> Entry: ...
    def list(self, folder: str, cuts: Sequence[str] = ()) -> Iterator[Entry]: ...
    def delete(self, key: str) -> None: ...
    def below(self, folder: str) -> Self: ...  # the same connection, further down


def join(root: str, path: str) -> str:
    """A key, or URL, below `root`; both may be empty."""
    slash = "" if not root or root.endswith("/") else "/"
    return f"{root}{slash}{path}" if path else root
