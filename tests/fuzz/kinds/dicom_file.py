"""DICOM files written element by element, so that lengths, VRs and fragments may be wrong one at a time."""

from __future__ import annotations

import struct
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

EDGE, FRAMES = 64, 3
EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
RLE, JPEG, LOSSLESS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
J2K, JLS, MPEG = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.102"
LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT", b"OD", b"OV", b"SV", b"UC", b"UR", b"OF", b"OL", b"UV"}
UNDEFINED = 0xFFFFFFFF
JPEG_LS = bytes.fromhex(  # 64 x 64 pixels of 150 with a line of 60, coded once: no encoder for it is installed with us
    "ffd8fff7000b080040004001011100ffda0008010100000000000001d195ff7fff7fff7fff7f3fff7ffe3c72c000006ce7a02af4177"
    + "a2f3" * 36
    + "a2fff7f80ffd9"
)
Element = tuple[int, int, bytes, Any]  # group, element, VR, value: bytes, or items of a sequence


def frames() -> np.ndarray:
    """A run of noise with a dark line in its second frame."""
    run = np.random.default_rng(0).integers(140, 160, (FRAMES, EDGE, EDGE), np.uint8)
    run[1, 10:50, 30:33] = 60
    return run


def text(value: str) -> bytes:
    """Padded to even length."""
    raw = value.encode("utf-8", "replace")
    return raw + b" " * (len(raw) % 2)


def short(value: int) -> bytes:
    """A US value."""
    return struct.pack("<H", int(value) & 0xFFFF)


def elements() -> list[Element]:
    """The data set of a sound run, its pixels excepted."""
    window = [(0x28, 0x3002, b"US", short(256) + short(0) + short(8)), (0x28, 0x3006, b"OW", bytes(range(256)) * 2)]
    return [
        (0x08, 0x60, b"CS", b"XA"),
        (0x10, 0x10, b"PN", b"DOE^JANE"),
        (0x10, 0x20, b"LO", b"12345678"),
        (0x18, 0x1110, b"DS", b"1000"),
        (0x18, 0x1111, b"DS", b"750 "),
        (0x18, 0x1164, b"DS", b"0.4\\0.4 "),
        (0x18, 0x1510, b"DS", b"-30 "),
        (0x18, 0x1511, b"DS", b"20"),
        (0x18, 0x1520, b"DS", b"0\\0\\0 "),
        (0x28, 0x02, b"US", short(1)),
        (0x28, 0x04, b"CS", b"MONOCHROME2 "),
        (0x28, 0x08, b"IS", b"3 "),
        (0x28, 0x10, b"US", short(EDGE)),
        (0x28, 0x11, b"US", short(EDGE)),
        (0x28, 0x100, b"US", short(8)),
        (0x28, 0x101, b"US", short(8)),
        (0x28, 0x102, b"US", short(7)),
        (0x28, 0x103, b"US", short(0)),
        (0x28, 0x120, b"US", short(255)),
        (0x28, 0x1050, b"DS", b"128 "),
        (0x28, 0x1051, b"DS", b"256 "),
        (0x28, 0x1052, b"DS", b"0 "),
        (0x28, 0x1053, b"DS", b"1 "),
        (0x28, 0x1056, b"CS", b"LINEAR"),
        (0x28, 0x3000, b"SQ", []),
        (0x40, 0x555, b"SQ", [window]),
        (0x2050, 0x20, b"CS", b"IDENTITY"),
    ]


class Writer:
    """Bytes of elements in one encoding; ``lie`` is asked for each length before it is written."""

    def __init__(self, syntax: str, lie: Any = None) -> None:
        self.end = ">" if syntax == BIG else "<"
        self.explicit = syntax != IMPLICIT
        self._lie = lie or (lambda size: size)

    def element(self, group: int, number: int, vr: bytes, value: Any) -> bytes:
        """One element."""
        body = b"".join(self._item(item) for item in value) if isinstance(value, list) else value
        size = self._lie(len(body))
        tag = struct.pack(self.end + "HH", group, number)
        if not self.explicit:
            return tag + struct.pack(self.end + "I", size) + body
        if vr in LONG:
            return tag + vr + b"\0\0" + struct.pack(self.end + "I", size) + body
        return tag + vr + struct.pack(self.end + "H", size & 0xFFFF) + body

    def _item(self, elements: list[Element]) -> bytes:
        body = b"".join(self.element(*e) for e in elements)
        return struct.pack(self.end + "HHI", 0xFFFE, 0xE000, self._lie(len(body))) + body

    def fragments(self, pieces: list[bytes], table: bool) -> bytes:
        """Encapsulated pixels: an offset table, a fragment a frame, the delimiter."""
        offsets, at = b"", 0
        for piece in pieces:
            offsets += struct.pack("<I", at & UNDEFINED)
            at += 8 + len(piece)
        items = [offsets if table else b"", *pieces]
        body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, self._lie(len(p))) + p for p in items)
        return (
            struct.pack("<HH", 0x7FE0, 0x10)
            + b"OB\0\0"
            + struct.pack("<I", UNDEFINED)
            + body
            + b"\xfe\xff\xdd\xe0\0\0\0\0"
        )


def rle(frame: np.ndarray) -> bytes:
    """One frame in DICOM's run-length code, one segment."""
    raw = frame.tobytes()
    rows = [bytes([len(part) - 1]) + part for part in (raw[i : i + 128] for i in range(0, len(raw), 128))]
    return struct.pack("<16I", 1, 64, *([0] * 14)) + b"".join(rows)


@lru_cache(maxsize=8)
def coded(syntax: str) -> tuple[bytes, ...]:
    """The run's frames in a compressed syntax; what has no encoder here gets JPEG bytes."""
    return tuple(code + b"\0" * (len(code) % 2) for code in (_code(syntax, frame) for frame in frames()))


def _code(syntax: str, frame: np.ndarray) -> bytes:
    if syntax == RLE:
        return rle(frame)
    if syntax == LOSSLESS:
        return lossless(frame)
    if syntax == JLS:
        return JPEG_LS
    stream = BytesIO()
    Image.fromarray(frame).save(stream, format="JPEG2000" if syntax == J2K else "JPEG", no_jp2=True)
    return stream.getvalue()


def lossless(frame: np.ndarray) -> bytes:
    """A frame in lossless JPEG (process 14, first-order prediction), with one Huffman code of four bits a category."""
    values = frame.astype(int)
    left = np.roll(values, 1, axis=1)
    left[1:, 0], left[0, 0] = values[:-1, 0], 128
    bits = []
    for step in (values - left).ravel().tolist():
        size = abs(step).bit_length()
        low = step if step >= 0 else step + 2**size - 1
        bits.append(f"{size:04b}" + (f"{low:0{size}b}" if size else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    head = b"\xff\xd8\xff\xc3\0\x0b\x08" + struct.pack(">HH", *frame.shape) + b"\1\1\x11\0"
    table = b"\xff\xc4\0\x1c\0" + bytes((0, 0, 0, 9, *[0] * 12)) + bytes(range(9))
    return head + table + b"\xff\xda\0\x08\1\1\0\1\0\0" + scan + b"\xff\xd9"
