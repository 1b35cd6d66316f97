"""What a compressed frame says of itself, read before a decoder makes room for it.

Decoders believe the code stream, not the data set: one of 65,535 x 65,535 pixels takes gigabytes, and GDCM ends the
process where the stream's tables are damaged. Formats: ITU-T T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from lesionforge.generators.types import BadCase

_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF of every JPEG process; F7 is JPEG-LS
_TABLES = {0xC4, 0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}  # DHT, DQT, DRI, LSE, COM, APPn
_HUFFMAN, _SCAN, _LOSSLESS, _LS = 0xC4, 0xDA, 0xC3, 0xF7
_MARKER = re.compile(rb"\xff[\x01-\xff]")  # inside a scan of JPEG; a stuffed zero follows every other FF
_LS_MARKER = re.compile(rb"\xff[\x80-\xff]")  # JPEG-LS stuffs a single bit
_RESTART = range(0xD0, 0xD8)


class Claim(NamedTuple):
    """A frame as its code stream describes it."""

    rows: int
    cols: int
    components: int
    bits: int  # of a component


def claim(data: bytes) -> Claim:
    """What a JPEG, JPEG-LS or JPEG 2000 stream claims.

    Raises:
        BadCase: where its segments do not follow each other, or its tables cannot be.
    """
    try:
        if data[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SOC, SIZ
            right, bottom, left, top = struct.unpack_from(">4I", data, 8)
            (components, depth) = struct.unpack_from(">HB", data, 40)
            return Claim(bottom - top, right - left, components, (depth & 0x7F) + 1)
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
    except (IndexError, struct.error):
        pass
    raise BadCase("a frame of its pixels is no JPEG stream")


def _jpeg(data: bytes) -> Claim:
    found, process, at = None, 0, 2
    while data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # filled up
            at += 1
            continue
        marker, size = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        segment = data[at + 4 : at + 2 + size]
        if size < 2 or len(segment) != size - 2:
            break
        at += 2 + size
        if marker in _FRAME and found is None:
            bits, rows, cols, components = struct.unpack_from(">BHHB", segment)
            found, process = Claim(rows, cols, components, bits), marker
            if len(segment) != 6 + 3 * components:
                break
        elif marker == _HUFFMAN:
            _check_codes(segment)
        elif marker == _SCAN:
            if found is None or len(segment) != 4 + 2 * segment[0]:
                break
            if process in (_LOSSLESS, _LS):
                _check_scan(data, at, process)
            return found
        elif marker not in _TABLES:
            break
    raise BadCase("a frame of its pixels is no sound JPEG stream")


def _check_codes(segment: bytes) -> None:
    """Huffman tables: their lengths add up, and no code is used twice."""
    while segment:
        counts = segment[1:17]
        room = sum(count << (15 - n) for n, count in enumerate(counts))
        if len(counts) < 16 or room > 1 << 16 or len(segment) < 17 + sum(counts):
            raise BadCase("a frame of its pixels has a Huffman table that cannot be")
        segment = segment[17 + sum(counts) :]


def _check_scan(data: bytes, at: int, process: int) -> None:
    """The one scan of a lossless frame: nothing but its end may follow."""
    pattern = _MARKER if process == _LOSSLESS else _LS_MARKER
    marker = next((m[0][1] for m in pattern.finditer(data, at) if m[0][1] not in _RESTART), None)
    if marker != 0xD9:
        raise BadCase("a frame of its pixels does not end where its scan does")
