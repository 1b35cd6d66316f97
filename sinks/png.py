"""PNG in a third of Pillow's time, about as small: runs alone, one table of codes for the whole picture.

An angiogram's noise repeats nothing, so that a search for matches is vain, and Paeth's filter serves nearly every row
of it best, so that trying five is. A mask is all runs, which it breaks. The bytes hang on no version of zlib.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from heapq import heapify, heappop, heapreplace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Deflate, RFC 1951. A token is a byte, END, or RUN + length for 3 ... 258 times the byte before it.
END = RUN = 256
LONGEST = 15  # bits of a code
_FIRST = np.array([3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163])
_FIRST = np.append(_FIRST, [195, 227, 258])  # length that each symbol of lengths begins with
_MORE = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0])  # bits that follow it
_OF = np.searchsorted(_FIRST, np.arange(3, 259), "right") - 1
SYMBOLS = 286
SYMBOL = np.concatenate([np.arange(257), [0, 0], 257 + _OF])  # of each token; no run has 1 or 2
OFFSET = np.concatenate([np.zeros(259, np.int64), np.arange(3, 259) - _FIRST[_OF]])
OFFSET_BITS = np.concatenate([np.zeros(259, np.int64), _MORE[_OF] + 1])  # and the one of a distance: always 1 back
# Codes of the lengths of codes: 0 ... 15 have four bits each, 16 ... 18 (repeats) none.
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


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
    packed = b"\x78\x01" + _deflated(lines.reshape(-1)) + struct.pack(">I", zlib.adler32(lines.data))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *size)), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))
        for kind, data in chunks
    )


def _deflated(data: Bytes) -> bytes:
    """One block of deflate."""
    tokens, counts = _compiled(_tokens)(data)
    depth = np.zeros(SYMBOLS, np.int64)
    for symbol, length in _depths(np.bincount(SYMBOL, counts, SYMBOLS).astype(int).tolist()).items():
        depth[symbol] = length
    width = depth[SYMBOL] + OFFSET_BITS
    word = _codes(depth)[SYMBOL] | OFFSET << depth[SYMBOL]
    # Last block, of codes of its own: 286 lengths, one distance, all 19 lengths of lengths; then these.
    head, at = 1 | 2 << 1 | 29 << 3 | 15 << 13, 17
    for length in _ORDER:
        head |= (4 if length < 16 else 0) << at
        at += 3
    for length in (*depth.tolist(), 1):
        head |= int(f"{length:04b}"[::-1], 2) << at
        at += 4
    begun = head.to_bytes(at // 32 * 4 + 4, "little")
    size = at + int(counts @ width)
    out = np.empty(size // 32 + 1, "<u4")
    out[: at // 32 + 1] = np.frombuffer(begun, "<u4")
    _compiled(_write)(tokens, word.astype(np.uint64), width.astype(np.uint64), out, at)
    return out.tobytes()[: -(-size // 8)]


def _depths(counts: Sequence[int]) -> dict[int, int]:
    """Length of each symbol's code, Huffman's, of symbols that occur: two or more."""
    while True:
        trees = [(count, symbol) for symbol, count in enumerate(counts) if count]
        heapify(trees)
        parent = dict[int, int]()
        for node in range(len(counts), len(counts) + len(trees) - 1):
            least, one = heappop(trees)
            more, two = trees[0]
            parent[one] = parent[two] = node
            heapreplace(trees, (least + more, node))
        depth = {trees[0][1]: 0}
        for node in reversed(parent):  # from the root
            depth[node] = depth[parent[node]] + 1
        if max(depth.values()) <= LONGEST:
            return {symbol: length for symbol, length in depth.items() if symbol < len(counts)}
        counts = [(count + 1) // 2 for count in counts]  # flatter


def _codes(depth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The canonical code of each symbol, its first bit lowest."""
    codes, code, before = np.zeros(SYMBOLS, np.int64), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(depth.tolist()) if length):
        code <<= length - before
        codes[symbol] = int(f"{code:0{length}b}"[::-1], 2)
        code, before = code + 1, length
    return codes


@cache
def _compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    import numba  # not with the module: whoever reads shards needs none

    options = {"nogil": True, "cache": True, "boundscheck": False, "no_cfunc_wrapper": True}
    compiled: Callable[..., Any] = numba.njit(**options)(kernel)
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
            line[:] = own
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


def _tokens(data: Bytes) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Tokens, and how often each occurs."""
    out, counts = np.empty(data.shape[0] + 1, np.uint16), np.zeros(515, np.int64)
    i, found, last = 0, 0, -1
    while i < data.shape[0]:
        run = 1
        token: Any = np.int64(data[i])
        if token == last:
            while run < 258 and i + run < data.shape[0] and data[i + run] == last:
                run += 1
        last = token
        if run >= 3:
            token = RUN + run
        else:
            run = 1
        out[found] = token
        counts[token] += 1
        found += 1
        i += run
    out[found] = END
    counts[END] = 1
    return out[: found + 1], counts


def _write(
    tokens: NDArray[np.uint16], word: NDArray[np.uint64], width: NDArray[np.uint64], out: NDArray[np.uint32], at: int
) -> None:
    """Put each token's bits behind the first ``at`` of ``out``."""
    place, held = at // 32, np.uint64(at % 32)
    bits = np.uint64(out[place])
    for token in tokens:
        bits |= word[token] << held
        held += width[token]
        if held >= np.uint64(32):
            out[place] = np.uint32(bits & np.uint64(0xFFFFFFFF))
            place += 1
            bits >>= np.uint64(32)
            held -= np.uint64(32)
    out[place] = np.uint32(bits)
