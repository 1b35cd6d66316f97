"""A node-local cache of what was read from large files, for the next variant and the next worker of this machine.

An ImageCAS label takes seconds to unpack and is a thousand times smaller as a list of voxels; a folder takes as long
to hash as to read. The cache is only ever a copy: an entry's name hashes the file's place, size and change mark, and
losing it costs time alone. What others could have written there would decide splits, so nothing of theirs is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
DIGESTS = "digests.sqlite"
AT_ONCE = 500  # keys in one question


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


def _usable() -> Path | None:
    """The cache folder, made where it was not there; ``None`` where there is none to be used."""
    folder = cache_folder()
    if folder is None:
        return None
    with contextlib.suppress(OSError):  # a full or read-only disk costs the copy, not the job
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return None if distrust(folder) else folder


def remembered(mark: str, names: tuple[str, ...], make: Callable[[], Arrays]) -> Arrays:
    """The arrays of these names that ``mark`` stands for, from the cache or made anew.

    Args:
        mark: what they are made of: place, size and change mark of each file, or nothing shorter.
        names: of the arrays.
        make: makes them; what it raises is not remembered.
    """
    place = _usable()
    if place is None:
        return make()
    name = hashlib.sha256(mark.encode(errors="surrogateescape")).hexdigest()  # a path may be no text
    path = place / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as entry:
            return {name: entry[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or broken: made anew
    arrays = make()
    with contextlib.suppress(OSError):
        temporary = place / f"{path.stem}.{os.getpid()}.tmp.npz"
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)
    return arrays


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
    place = _usable()
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
