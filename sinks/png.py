"""PNG with one filter a picture, in half of Pillow's time: trying five on every row is what takes it.

Paeth's serves nearly every row of an angiogram best. A mask is all runs, which it breaks: there a row stays as it is,
or is its difference to the one above. Noise repeats nothing, so that zlib looks for runs alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def png(value: NDArray[Any]) -> bytes:
    """A picture as PNG.

    Args:
        value: uint8 or uint16 (H, W), or uint8 (H, W, 3).

    Raises:
        ValueError: for a picture without pixels.
    """
    if not value.size:
        raise ValueError(f"{value.shape} has no pixels")
    rows = value.astype(value.dtype.newbyteorder(">"), order="C").view(np.uint8).reshape(len(value), -1)
    pixel = rows.shape[1] // value.shape[1]  # bytes
    if 2 * np.count_nonzero(rows[:, pixel:] == rows[:, :-pixel]) > rows.size:
        lines = _compiled(_runs)(rows)
    else:
        lines = _compiled(_paeth)(rows, pixel)
    size = value.shape[1], value.shape[0], 8 * value.dtype.itemsize, 2 if value.ndim == 3 else 0, 0, 0, 0
    deflate = zlib.compressobj(level=1, memLevel=9, strategy=zlib.Z_RLE)
    packed = deflate.compress(lines.data) + deflate.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *size)), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))
        for kind, data in chunks
    )


@cache
def _compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    import numba  # not with the module: whoever reads shards needs none

    options = {"nogil": True, "boundscheck": False, "no_cfunc_wrapper": True}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(kernel)
    except (RuntimeError, OSError):  # no folder to keep it in, as in a read-only image without a home
        compiled = numba.njit(**options)(kernel)
    return compiled


def _runs(rows: Bytes) -> Bytes:
    """Each row as it is, or its difference to the one above: whichever changes less often along it."""
    height, width = rows.shape
    out = np.empty((height, width + 1), np.uint8)
    above = np.zeros(width, np.uint8)
    for y in range(height):
        own, line, changes, others = rows[y], out[y, 1:], 0, 0
        for x in range(width):
            line[x] = own[x] - above[x]
        for x in range(width - 1):
            changes += own[x + 1] != own[x]
            others += line[x + 1] != line[x]
        out[y, 0] = 2 if others < changes else 0
        if others >= changes:
            for x in range(width):  # not line[:] = own: how shapes are written in its error takes 4 s to compile
                line[x] = own[x]
        above = own
    return out


def _paeth(rows: Bytes, pixel: int) -> Bytes:
    """Differences to the neighbour (left, above, above left) that is nearest to left + above - above left."""
    height, width = rows.shape
    out = np.empty((height, width + 1), np.uint8)
    above = np.zeros(width, np.uint8)
    for y in range(height):
        out[y, 0] = 4
        for x in range(pixel):
            out[y, x + 1] = rows[y, x] - above[x]
        # Views that begin alike: an index less than zero would have to be looked for, and no loop be vectorised.
        own, line, up = rows[y, pixel:], out[y, 1 + pixel :], above[pixel:]
        for x in range(width - pixel):
            a, b, c = np.float32(rows[y, x]), np.float32(up[x]), np.float32(above[x])
            to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - c - c)
            best = b if to_b <= to_c else c
            best = a if (to_a <= to_b) & (to_a <= to_c) else best
            line[x] = own[x] - np.uint8(best)
        above = rows[y]
    return out
