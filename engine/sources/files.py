"""Files of a source: listed once, read when their case is wanted, from a disk or any fsspec place.

A file's digest is the SHA-256 of its content, wherever it lies (promise P1). Once it is known, here or from the driver,
every read is held against it: what was replaced meanwhile is no other picture but an error.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from lesionforge.engine.faults import Fault, find
from lesionforge.engine.sources import cache
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.places import told
from lesionforge.generators.types import BadCase

MAX_BYTES = 2**30  # of a file that is read whole
MAX_STREAM = 2**33  # of one that is read in pieces: more than any volume that is taken holds
THREADS = 16  # that hash: hashing leaves the interpreter, and a network answers late
WHOLE = 2**26  # bytes of a file elsewhere up to which one request fetches all of it
SETTLED_NS = 2 * 10**9  # a file changed later than this may change again under the same time stamp
TAGGED = "etag "  # before the mark of a file whose server tells one
STATE_BYTES = 8
CONTENT_BYTES = 32 + STATE_BYTES
UNREADABLE = bytes(32)  # digest of what every reading refuses, such as a link out of the folder


@dataclass
class Content:
    """What is known of a file's content: its SHA-256, and the file's state when it had that; empty where unknown."""

    digest: bytes = b""
    state: bytes = b""

    def packed(self) -> bytes:
        """Digest and state, ``CONTENT_BYTES`` of them."""
        return self.digest + self.state.ljust(STATE_BYTES, b"\0")

    @classmethod
    def unpacked(cls, data: bytes) -> Content:
        """The inverse."""
        return cls(data[:-STATE_BYTES], data[-STATE_BYTES:].rstrip(b"\0") and data[-STATE_BYTES:])


@dataclass(frozen=True)
class File:
    """One file: its name inside the source, and what tells whether it changed."""

    name: str
    path: str
    size: int
    mark: str  # size and what the file system knows of the last change
    fs: Any = field(repr=False, compare=False)
    content: Content = field(default_factory=Content, repr=False, compare=False)

    def read(self) -> bytes:
        """All of it.

        Raises:
            BadCase: where it is too large.
            Fault: where it is not what it was when its digest was taken.
            Exception: what its place raises where it cannot be read, which is no fault of the case (``engine.faults``).
        """
        if self.size > MAX_BYTES:
            raise BadCase(f"has {self.size} bytes; at most {MAX_BYTES} are read")
        before = self._state()
        data = bytes(self.fs.cat_file(self.path))
        if self.content.digest and not (self._on_disk and self._unchanged(before)):
            self._hold(hashlib.sha256(data).digest(), before)
        return data

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """It as a stream, for what is too large to be held.

        Raises:
            BadCase: where it is too large.
            Fault: in the end, as ``read``, whatever else was raised inside.
            Exception: as ``read``.
        """
        if self.size > MAX_STREAM:
            raise BadCase(f"has {self.size} bytes; at most {MAX_STREAM} are read")
        before = self._state()
        try:
            with self.fs.open(self.path, "rb") as stream:
                yield stream
        finally:
            self.check(before)

    def check(self, before: bytes | None = None) -> None:
        """Hold it against its digest, hashed again where its state does not tell: for what was read of it earlier.

        Args:
            before: its state before it was read, where it was just now.

        Raises:
            Fault: as ``read``.
        """
        if self.size > MAX_STREAM:
            return  # nobody reads it
        before = self._state() if before is None else before
        if self.content.digest and not self._unchanged(before):
            self._hold(self._hash(), before)

    def digest(self) -> bytes:
        """SHA-256 of its content: taken once, and remembered on this machine for as long as the file stays as it is.

        Raises:
            SourceError: where it cannot be read, or changes meanwhile.
        """
        return next(iter(digests([self])))

    def take_digest(self) -> None:
        """Hash it; see ``digest``. What every reading refuses is said then, to everybody."""
        if self.size > MAX_STREAM:
            self.content.digest = UNREADABLE
            return
        before = self._state()
        try:
            digest = self._hash()
        except (BadCase, PermissionError):
            self.content.digest = UNREADABLE
            return
        except FileNotFoundError:
            raise SourceError("a file in it is gone since it was listed") from None
        except Exception as error:  # a network's are of many kinds
            raise SourceError(f"a file in it cannot be read: {told(error)}") from None
        if self._state(fresh=True) != before:
            raise SourceError("a file in it changes while it is read: is it still being copied?")
        self.content.digest = digest
        self.content.state = before if self._settled() else b""

    @property
    def _on_disk(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.fs, LocalFileSystem)

    def _hash(self) -> bytes:
        if not self._on_disk and self.size <= WHOLE:
            return hashlib.sha256(self.fs.cat_file(self.path)).digest()
        with open(self.path, "rb", 0) if self._on_disk else self.fs.open(self.path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()

    def _state(self, fresh: bool = False) -> bytes:
        """What changes with the content, without the path: it is equal on every machine that mounts a share.

        Asked for, but of an object with an ETag as it was listed, unless it is to be fresh.
        """
        mark = self.mark
        try:
            if self._on_disk:
                s = os.stat(self.path)
                mark = f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}"
            elif (fresh or not mark.startswith(TAGGED)) and hasattr(self.fs, "info"):
                self.fs.invalidate_cache(self.path)
                mark = _mark(self.fs.info(self.path))
        except Exception:  # gone, or out of reach: reading it says so
            return b""
        return hashlib.blake2b(mark.encode(errors="surrogateescape"), digest_size=STATE_BYTES).digest()

    def _settled(self) -> bool:
        return not self._on_disk or time.time_ns() - os.stat(self.path).st_ctime_ns > SETTLED_NS

    def _unchanged(self, before: bytes) -> bool:
        """Whether it is, before reading and now, in the state that its digest was taken in."""
        return bool(self.content.state) and before == self.content.state == self._state(fresh=True)

    def _hold(self, found: bytes, before: bytes) -> None:
        """Hold the digest of what was just read against the known one."""
        if found != self.content.digest:
            raise Fault("place", "a file is not what it was when the run began: put it back, or begin another dataset")
        if self._on_disk and before == self._state() and self._settled():
            self.content.state = before


def digests(files: Iterable[File], told: Callable[[int], None] = lambda size: None) -> list[bytes]:
    """The digests of files, hashed in parallel where this machine does not know them yet.

    Args:
        told: called with the bytes of each file that is done.

    Raises:
        SourceError: where one cannot be read, or changes meanwhile.
    """
    files = list(files)
    left = list({id(f.content): f for f in files if not f.content.digest}.values())
    states = [file._state() for file in left]
    keys = [_key(file, state) for file, state in zip(left, states, strict=True)]
    known = cache.digests(keys)
    for file, key, state in zip(left, keys, states, strict=True):
        if key in known:
            file.content.digest, file.content.state = known[key], state
            told(file.size)
    unknown = [(file, key) for file, key in zip(left, keys, strict=True) if key not in known]
    if unknown:
        with ThreadPoolExecutor(THREADS) as pool:
            for (file, _), _ in zip(unknown, pool.map(lambda item: item[0].take_digest(), unknown), strict=True):
                told(file.size)
        cache.keep_digests({key: file.content.digest for file, key in unknown if file.content.state})
    return [file.content.digest for file in files]


def _key(file: File, state: bytes) -> bytes:
    """What the digest is remembered by: the place, and the state."""
    place = f"{getattr(file.fs, 'protocol', '')} {file.path}".encode(errors="surrogateescape")
    return hashlib.blake2b(place, key=state, digest_size=16).digest()


def texts(files: Iterable[File]) -> list[bytes]:
    """Label files whole.

    Raises:
        SourceError: where one cannot be read: without it nobody knows which data these are.
    """
    out = []
    for number, file in enumerate(files, 1):
        try:
            out.append(file.read())
        except Exception as error:  # a place raises what it likes
            said = str(error) if isinstance(error, BadCase) else f"cannot be read: {find(error) or told(error)}"
            raise SourceError(f"label file {number}: {said}") from None
    return out


def refuse_passing(error: Exception) -> None:
    """Nothing for what a file is to blame for; what its place is to blame for must not decide how files are grouped.

    Raises:
        SourceError: for the latter.
    """
    fault = find(error)
    if fault and not fault.own:
        raise SourceError(f"a file in it cannot be read: {fault}") from None


def listed(fs: Any, info: Mapping[str, Any], sub: str = "") -> File:
    """A file of a file system's listing; one that is named by itself, not by its folder, may lie behind a link."""
    base = str(info["name"]).rsplit("/", 1)[-1]
    return File(f"{sub}/{base}" if sub else base, str(info["name"]), int(info["size"] or 0), _mark(info), fs)


def _mark(info: Mapping[str, Any]) -> str:
    """Where a server gives a hash of what it holds, that and the size alone: it says the time in several ways."""
    if tag := info.get("ETag") or info.get("etag"):
        return f"{TAGGED}{tag} {info.get('size')}"
    known = (info.get(key) for key in ("size", "LastModified", "mtime", "created", "ino"))
    return " ".join(str(value) for value in known if value is not None)


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorting key that puts 2.png before 10.png, and 01.png before 1.png wherever they are listed."""
    parts = re.findall(r"[0-9]+|[^0-9]", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name


def stem(name: str) -> str:
    """A file's name without folder and ending."""
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
