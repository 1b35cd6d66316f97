"""What a compressed frame says of its own size, read before a decoder makes room for it.

Decoders believe the code stream, not the data set: one of 65,535 x 65,535 pixels takes gigabytes, and GDCM ends the
process where the two disagree.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from generators.types import BadCase

_BARE = {0x01, *range(0xD0, 0xDA)}  # markers without a length, the start and end of the stream among them
_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF of every JPEG process; F7 is JPEG-LS
_SCAN = 0xDA


class Claim(NamedTuple):
    """A frame as its code stream describes it."""

    rows: int
    cols: int
    components: int
    bits: int  # of a component


def claim(data: bytes) -> Claim:
    """What a JPEG, JPEG-LS or JPEG 2000 stream claims.

    Raises:
        BadCase: where it claims nothing before its scan begins.
    """
    try:
        if data[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000: SOC, SIZ
            right, bottom, left, top = struct.unpack_from(">4I", data, 8)
            (components, depth) = struct.unpack_from(">HB", data, 40)
            return Claim(bottom - top, right - left, components, (depth & 0x7F) + 1)
        at = 2 if data[:2] == b"\xff\xd8" else len(data)
        while data[at] == 0xFF:
            marker = data[at + 1]
            if marker in _FRAME:
                bits, rows, cols, components = struct.unpack_from(">BHHB", data, at + 4)
                return Claim(rows, cols, components, bits)
            if marker == _SCAN:
                break
            at += 1 if marker == 0xFF else 2 if marker in _BARE else 2 + struct.unpack_from(">H", data, at + 2)[0]
    except (IndexError, struct.error):
        pass
    raise BadCase("a frame of its pixels is no JPEG stream")
