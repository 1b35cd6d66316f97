"""A node-local cache of what takes long to read, paint or hash, for the next variant and the next worker of a machine.

An ImageCAS label takes seconds to unpack and is a thousand times smaller as a list of voxels; a phantom takes as long
to paint; a folder takes as long to hash as to read. The cache is only ever a copy: an entry's name hashes what it is
made of, its content is held against a checksum, and losing it costs time alone. What others could have written there
would decide splits, so nothing of theirs is read.

It holds ``LESIONFORGE_CACHE_SIZE`` bytes of entries. What was not used for longest goes first, but nothing that was
within the hour: who walks in a circle through more than there is room for wants next what was not used for longest.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lesionforge.engine.recipe import in_bytes
from lesionforge.engine.sources import entry
from lesionforge.generators.types import UserError

Arrays = dict[str, NDArray[Any]]
DIGESTS = "digests.sqlite"
AT_ONCE = 500  # keys in one question
SIZE = "LESIONFORGE_CACHE_SIZE"
MOST = 8 * 2**30  # bytes, where nobody says how many; but a tenth of what is free at most
IDLE = 3600  # seconds without use, before which no entry makes room for another
SHARERS = 16  # workers that may write side by side between two looks without taking more than there is
PAUSE = 60  # seconds until a full cache is looked at again
ENTRY = re.compile(r"[0-9a-f]{64}\.(?:kept|npz|\w+\.tmp(?:\.npz)?)")  # npz: what versions before wrote


def cache_folder() -> Path | None:
    """LESIONFORGE_CACHE, or a private folder among the temporary files; ``None`` where that variable is empty."""
    given = os.environ.get("LESIONFORGE_CACHE")
    if given is not None:
        return Path(given) if given else None
    return Path(tempfile.gettempdir()) / f"lesionforge-cache-{os.getuid()}"


def distrust(folder: Path) -> str:
    """Why a cache folder is not used: somebody else made it, or may write or, named by nobody, read there."""
    named = bool(os.environ.get("LESIONFORGE_CACHE"))  # by the user, who may have put a link there
    try:
        found = folder.stat() if named else folder.lstat()
    except OSError:
        return ""  # not there yet, or it cannot be made either
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder"
    if found.st_uid != os.getuid():
        return "it belongs to somebody else"
    if found.st_mode & (0o022 if named else 0o077):
        return f"others may {'write' if found.st_mode & 0o022 else 'look'} there (mode {found.st_mode & 0o777:o})"
    return ""


def usable() -> Path | None:
    """The cache folder, made where it was not there; ``None`` where there is none to be used."""
    folder = cache_folder()
    if folder is None:
        return None
    try:  # a full or read-only disk costs the copy, not the job
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _tell(error.strerror or type(error).__name__)
    if why := distrust(folder):
        _tell(why)
        return None
    return folder


@functools.cache  # once a process
def _tell(why: str) -> None:
    logging.getLogger("lesionforge").warning("cache not used", extra={"fields": {"reason": why}})


def size() -> int | None:
    """Bytes of entries that the environment allows; ``None`` where it does not say.

    Raises:
        UserError: where it says no size.
    """
    given = os.environ.get(SIZE, "")
    try:
        return in_bytes(given) if given else None
    except ValueError as error:
        raise UserError(f"{SIZE}={given}: {error}") from None


def entries(folder: Path) -> list[tuple[float, int, str]]:
    """When each entry of a folder was used last, its bytes and its path; of a folder that is not there none."""
    out = list[tuple[float, int, str]]()
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        for one in found:
            with contextlib.suppress(FileNotFoundError):  # another worker's eviction
                if ENTRY.fullmatch(one.name):
                    out.append(((s := one.stat(follow_symlinks=False)).st_mtime, s.st_size, one.path))
    return out


def bound(folder: Path, held: int) -> int:
    """Bytes that the entries of a folder may take.

    Args:
        held: what they take now.

    Raises:
        UserError: as ``size``.
    """
    if (most := size()) is not None:
        return most
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return min(MOST, (shutil.disk_usage(there).free + held) // 10)


def recall(mark: str) -> Arrays | None:
    """What is kept under a mark; ``None`` where nothing is, or it is damaged."""
    if (place := usable()) is None:
        return None
    path = place / _name(mark)
    if (arrays := entry.read(path)) is not None:
        with contextlib.suppress(OSError):
            os.utime(path)  # used just now
    return arrays


def keep(mark: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays under a mark, where there is room and nothing hinders."""
    if (place := usable()) is None:
        return
    try:
        parts = entry.pieces(arrays)
        if _room(place).take(sum(map(len, parts))):
            entry.write(place / _name(mark), parts)
    except ValueError:  # arrays that no entry holds are made again
        return
    except OSError as error:
        _tell(error.strerror or type(error).__name__)


def _name(mark: str) -> str:
    return hashlib.sha256(mark.encode(errors="surrogateescape")).hexdigest() + ".kept"  # a path may be no text


def remembered(mark: str, names: tuple[str, ...], make: Callable[[], Arrays]) -> Arrays:
    """The arrays of these names that ``mark`` stands for, from the cache or made anew.

    Args:
        mark: what they are made of: place, size and change mark of each file, or nothing shorter.
        names: of the arrays.
        make: makes them; what it raises is not remembered.
    """
    found = recall(mark)
    if found is None or not found.keys() >= set(names):
        found = make()
        keep(mark, found)
    return found


class _Room:
    """How much this process may add to a folder: an entry a worker beyond the bound at most, however many add to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spare, self.full_until = folder, 0, 0.0

    def take(self, nbytes: int) -> bool:
        """Whether there is room for so many bytes, which are then taken."""
        if nbytes > self.spare and time.monotonic() >= self.full_until:
            self._look(nbytes)
        if nbytes > self.spare:
            return False
        self.spare -= nbytes
        return True

    def _look(self, nbytes: int) -> None:
        """Count what is there, and remove what lies idle where it is too much."""
        there = entries(self.folder)
        held = sum(nbytes for _, nbytes, _ in there)
        most = bound(self.folder, held)
        aim = most - nbytes if held + nbytes <= most else most * 7 // 8 - nbytes  # not for every entry again
        for used, freed, path in sorted(there):
            if held <= aim or used > time.time() - IDLE or nbytes > most:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            held -= freed
        left = most - held
        self.spare = max(nbytes, left // SHARERS) if nbytes <= left else 0
        if not self.spare and nbytes <= most:
            self.full_until = time.monotonic() + PAUSE


_room = functools.cache(_Room)


def digests(keys: Iterable[bytes]) -> dict[bytes, bytes]:
    """Those of the digests of these keys that this machine knows."""
    keys, out = list(keys), dict[bytes, bytes]()
    with _database() as rows:
        for at in range(0, len(keys), AT_ONCE):
            if rows is None:
                break
            part = keys[at : at + AT_ONCE]
            marks = ",".join("?" * len(part))
            out.update(rows.execute(f"SELECT key, digest FROM digests WHERE key IN ({marks})", part))
    return {key: digest for key, digest in out.items() if len(digest) == hashlib.sha256().digest_size}


def keep_digests(found: Mapping[bytes, bytes]) -> None:
    """Remember digests by their keys, whole or not at all."""
    with _database() as rows:
        if rows and found:
            rows.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?)", found.items())


@contextlib.contextmanager
def _database() -> Iterator[sqlite3.Connection | None]:
    """The table of digests; ``None`` where it cannot be had, and what goes wrong in it costs the copy alone."""
    place = usable()
    rows = None
    if place is not None:
        try:
            rows = sqlite3.connect(place / DIGESTS, timeout=10)
            rows.execute("CREATE TABLE IF NOT EXISTS digests (key BLOB PRIMARY KEY, digest BLOB) WITHOUT ROWID")
        except sqlite3.OperationalError:  # locked, a full or read-only disk
            rows = None
        except sqlite3.DatabaseError:  # broken: begun anew
            rows = None
            (place / DIGESTS).unlink(missing_ok=True)
    if rows is None:
        yield None
        return
    with contextlib.closing(rows), contextlib.suppress(sqlite3.Error), rows:
        yield rows
