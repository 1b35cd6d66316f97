"""A node-local cache of what was read from large files, for the next variant and the next worker of this machine.

An ImageCAS label takes seconds to unpack and is a thousand times smaller as a list of voxels. The cache is only ever
a copy: an entry's name hashes the file's place, size and change mark, and losing it costs time alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path | None:
    """LESIONFORGE_CACHE, or a private folder among the temporary files; ``None`` where that variable is empty."""
    given = os.environ.get("LESIONFORGE_CACHE")
    if given is not None:
        return Path(given) if given else None
    return Path(tempfile.gettempdir()) / f"lesionforge-cache-{os.getuid()}"


def remembered(mark: str, names: tuple[str, ...], make: Callable[[], Arrays]) -> Arrays:
    """The arrays of these names that ``mark`` stands for, from the cache or made anew.

    Args:
        mark: what they are made of: place, size and change mark of each file, or nothing shorter.
        names: of the arrays.
        make: makes them; what it raises is not remembered.
    """
    place = cache_folder()
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
    with contextlib.suppress(OSError):  # a full or read-only disk costs the copy, not the job
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = place / f"{path.stem}.{os.getpid()}.tmp.npz"
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)
    return arrays
