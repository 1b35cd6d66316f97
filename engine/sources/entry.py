"""One entry of the cache: arrays in a file, raw, so that it loads as fast as a disk reads, and never as a pickle.

``MAGIC``, CRC-32 of all that follows (uint32), length of the head (uint32), head (JSON: name, dtype, shape, order of
the axes in memory, writeable, offset of each array), then the arrays. An array comes back with its axes in memory as
they were: sums over it run in another order else, and their last bits differ.
"""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks import limits

Arrays = Mapping[str, NDArray[Any]]
MAGIC = b"LFKEPT1\n"
_SUMS = struct.Struct("<II")
_ALIGNED = 64  # bytes, as numpy's own memory
_KINDS = "biufc"
MAX_BYTES = 2**30  # of an entry: more than any volume that is taken


def pieces(arrays: Arrays) -> list[bytes | memoryview]:
    """What a file holds for arrays, without a copy of them.

    Raises:
        ValueError: for arrays that it cannot hold: of objects, with gaps or backwards in memory, or too large.
    """
    head, body, at = list[list[Any]](), list[memoryview | bytes](), 0
    for name, array in arrays.items():
        order = sorted(range(array.ndim), key=lambda axis, array=array: -array.strides[axis])  # type: ignore[misc]
        stored = array.transpose(order)
        if array.dtype.kind not in _KINDS or not stored.flags.c_contiguous:
            raise ValueError(f"{name} lies in memory as no file of ours holds it")
        head.append([name, array.dtype.str, list(stored.shape), order, bool(array.flags.writeable), at])
        body += [stored.reshape(-1).view(np.uint8).data, bytes(-array.nbytes % _ALIGNED)]
        at += array.nbytes + -array.nbytes % _ALIGNED
    text = json.dumps(head).encode()
    text += b" " * (-(len(MAGIC) + _SUMS.size + len(text)) % _ALIGNED)
    if at + len(text) > MAX_BYTES - _ALIGNED:
        raise ValueError(f"{at} bytes; at most {MAX_BYTES} are kept")
    crc = zlib.crc32(text, zlib.crc32(_SUMS.pack(0, len(text))))
    for part in body:
        crc = zlib.crc32(part, crc)
    return [MAGIC, _SUMS.pack(crc, len(text)), text, *body]


def write(path: Path, parts: list[bytes | memoryview]) -> None:
    """Whole under its name, or not at all.

    Raises:
        OSError: for a full disk, a folder without permission.
    """
    handle, temporary = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "wb", 0) as file:
            for part in parts:
                left = memoryview(part)
                while left:
                    left = left[file.write(left) :]
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file; ``None`` where it is not there, or is not what was written, to the last bit."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        raw = np.fromfile(path, np.uint8)  # not mapped: a file cut short meanwhile would end the process
        start = len(MAGIC) + _SUMS.size
        if raw[: len(MAGIC)].tobytes() != MAGIC:
            return None
        crc, length = _SUMS.unpack(raw[len(MAGIC) : start].tobytes())
        if zlib.crc32(raw[start:].data, zlib.crc32(_SUMS.pack(0, length))) != crc:
            return None
        head = limits.parsed(raw[start : start + length].tobytes())
        return {name: _array(raw[start + length :], *rest) for name, *rest in head}
    except (OSError, ValueError, TypeError, IndexError, struct.error):
        return None


def _array(
    body: NDArray[np.uint8], kind: str, shape: list[int], order: list[int], writeable: bool, at: int
) -> NDArray[Any]:
    dtype = np.dtype(kind)
    if dtype.kind not in _KINDS or min(shape, default=0) < 0 or at < 0:
        raise ValueError("no array of ours")
    stored = body[at : at + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
    array = stored.transpose([order.index(axis) for axis in range(len(order))])  # quicker than argsort
    array.setflags(write=writeable)
    return array
