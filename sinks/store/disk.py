"""A folder on a disk: unfinished files lie in its own `.tmp/`, finished ones appear whole."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path

from lesionforge.sinks.store.backend import TEMPORARY, Entry, join
from lesionforge.sinks.store.errors import StoreError

VECTOR = 1024  # chunks that the system takes in one call
AT_ONCE = 2**20  # bytes in one: of calls of 64 MiB some took ten times the CPU


class Disk:
    """A folder on a disk. `os.link` creates the final name only if it is absent, and whole."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._temporary = self._root if self._root.name == TEMPORARY else self._root / TEMPORARY

    def write(self, key: str, chunks: Sequence[memoryview], new: bool) -> bool:
        final, temporary = self._root / key, self._temporary / uuid.uuid4().hex
        temporary.parent.mkdir(parents=True, exist_ok=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileIO(temporary, "x") as file:
                _write(file.fileno(), chunks)
                os.fsync(file.fileno())
            if new and not self._link(temporary, final):
                return False
            if not new:
                os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name must survive a power cut too
        finally:
            os.close(folder)
        return True

    def _link(self, temporary: Path, final: Path) -> bool:
        try:
            os.link(temporary, final)
        except FileExistsError:
            # Over NFS a repeated request reports the link it has made itself; the count tells.
            return temporary.stat().st_nlink > 1
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK):
                raise
            raise StoreError(
                f"cannot create {final}: {os.strerror(error.errno or 0)}: the file system has no hard links, which "
                "create-only writes need; choose a folder on another file system, or s3://"
            ) from error
        return True

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        with FileIO(os.path.join(self._root, key), opener=regular) as file:
            if start:
                file.seek(start)
            if end is None:
                return file.readall()
            size = os.fstat(file.fileno()).st_size  # no room is made for a range that is not there
            return b"".join(_pieces(file, max(0, min(end, size) - (start or 0))))

    def stat(self, key: str, due: bool = False) -> Entry:
        path = self._root / key
        if path.is_dir():
            raise FileNotFoundError(path)
        found = path.stat()
        return Entry(key, found.st_size, found.st_mtime)

    def list(self, folder: str, cuts: Sequence[str] = ()) -> Iterator[Entry]:
        folders = [folder]
        while folders:
            here = folders.pop()
            # A folder that is not there is empty; one that may not be read is an error, and no empty one.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._root / here) as found:
                for entry in found:
                    key = join(here, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(key)
                    elif not entry.is_dir():
                        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                            told = entry.stat()
                            yield Entry(key, told.st_size, told.st_mtime)

    def delete(self, key: str) -> None:
        (self._root / key).unlink()

    def below(self, folder: str) -> Disk:
        return Disk(str(self._root / folder))


def _write(handle: int, chunks: Iterable[memoryview]) -> None:
    """All chunks, many in one call, none of them copied."""
    part, size = list[memoryview](), 0
    for chunk in chunks:
        part.append(chunk)
        size += len(chunk)
        if size >= AT_ONCE or len(part) == VECTOR:
            _write_part(handle, part)
            part, size = [], 0
    _write_part(handle, part)


def _write_part(handle: int, part: list[memoryview]) -> None:
    while part:
        written = os.writev(handle, part)
        while part and written >= len(part[0]):
            written -= len(part.pop(0))
        if part:  # the system took less than all
            part[0] = part[0][written:]


def _pieces(file: FileIO, size: int) -> Iterator[bytes]:
    """So many bytes, or what there is: the system gives 2 GiB at most at a time."""
    while size and (piece := file.read(size)):
        yield piece
        size -= len(piece)


def regular(path: str, flags: int) -> int:
    """A file's handle; a pipe or a device in a stranger's folder would hang, or never end."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, "is no file", path)
    return handle
