"""DICOM runs: values, VRs, lengths, sequences, transfer syntaxes and compressed fragments."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from tests.fuzz.kinds import source
from tests.fuzz.kinds.dicom_file import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    J2K,
    JLS,
    JPEG,
    LOSSLESS,
    MPEG,
    RLE,
    UNDEFINED,
    Element,
    Writer,
    coded,
    elements,
    frames,
    short,
    text,
)
from tests.fuzz.mutate import Rng, number, some_bytes, word

told = source.told
SYNTAXES = (EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE, JPEG, LOSSLESS, J2K, JLS, MPEG)
SYNTAXES = (*SYNTAXES, "1.2.3.4", "1.2.840.10008.1.1", "", "x")
VRS = tuple(
    vr.encode()
    for vr in ["AE", "AS", "AT", "CS", "DA", "DS", "FD", "FL", "IS", "LO", "OB", "OW", "SQ", "UI", "UL", "UN", "US"]
)
VRS = (*VRS, b"SS", b"SL", b"UT", b"PN", b"TM", b"OD", b"OV", b"SV", b"UC", b"UR", b"ZZ", b"\0\0")
LENGTHS = (0, 1, 2, 3, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, UNDEFINED)


def build(rng: Rng, folder: Path) -> None:
    """One or two runs."""
    for n in range(rng.pick(1, 1, 2)):
        path = folder / rng.pick(f"{n}.dcm", f"{n}.dcm", f"IM{n}", f"sub/{n}.dcm", f"XA.1.2.{n}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(run_file(rng))
        source.odd_files(rng, folder, f"{n}.dcm")
        source.odd_files(rng, folder, f"IM{n}")


def run_file(rng: Rng) -> bytes:
    """A file, sound or not."""
    syntax = rng.pick(EXPLICIT, EXPLICIT, IMPLICIT, RLE, JPEG, J2K, LOSSLESS, LOSSLESS, JLS, JLS, *SYNTAXES)
    kept = elements()
    lie = None
    if not rng.sound:
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            spoil(rng, kept)
        if rng.random() < 0.15:
            lie = lambda size: rng.choice(LENGTHS) if rng.random() < 0.1 else size  # noqa: E731
    writer = Writer(syntax, lie)
    body = b"".join(writer.element(*e) for e in kept)
    if syntax.startswith("1.2.840.10008.1.2.4") or syntax == RLE:
        pieces = list(coded(syntax))
        if rng.chance(0.6):
            pieces = fragments(rng, pieces)
        body += writer.fragments(pieces, table=not rng.chance(0.3))
    elif not rng.chance(0.03):
        pixels = frames().tobytes()
        body += writer.element(0x7FE0, 0x10, b"OW", pixels if not rng.chance(0.1) else some_bytes(rng, pixels))
    if syntax == DEFLATED:
        body = deflated(rng, body)
    meta = Writer(EXPLICIT)
    told = text(syntax if not rng.chance(0.03) else rng.choice(SYNTAXES)).replace(b" ", b"\0")
    head = meta.element(2, 0x10, b"UI", told)
    data = bytes(128) + b"DICM" + meta.element(2, 0, b"UL", struct.pack("<I", len(head))) + head + body
    return some_bytes(rng, data) if rng.chance(0.15) else data


def deflated(rng: Rng, body: bytes) -> bytes:
    """A deflated data set; sometimes one of half a gigabyte in half a megabyte."""
    packer = zlib.compressobj(9, wbits=-15)
    if rng.chance(0.3):
        tail = struct.pack("<HH", 0x7FE1, 0x10) + b"OB\0\0" + struct.pack("<I", 2**29)
        return packer.compress(body + tail) + _zeros(packer, 2**29)
    return packer.compress(body) + packer.flush()


def _zeros(packer: Any, nbytes: int) -> bytes:
    return b"".join(packer.compress(bytes(2**20)) for _ in range(nbytes >> 20)) + packer.flush()


def fragments(rng: Rng, pieces: list[bytes]) -> list[bytes]:
    """Fragments cut, doubled, lost, split, spoiled; headers inside them that claim another size."""
    at = rng.randrange(len(pieces))
    match rng.randrange(7):
        case 0:
            pieces[at] = some_bytes(rng, pieces[at])
        case 1:
            pieces.pop(at)
        case 2:
            pieces *= rng.choice((2, 100))
        case 3:
            pieces[at : at + 1] = [pieces[at][:40], pieces[at][40:]]
        case 4:
            pieces[at] = b""
        case 5:  # the code stream's own header: JPEG's SOF0, JPEG 2000's SIZ, RLE's segment table
            data = bytearray(pieces[at])
            for mark, offset, width in (
                (b"\xff\xc0", 5, 2),
                (b"\xff\xc3", 5, 2),
                (b"\xff\xf7", 5, 2),
                (b"\xff\x51", 6, 4),
            ):
                if (found := data.find(mark)) >= 0:
                    big = rng.choice((0, 1, 63, 65, 4096, 65500, 65535)) << (0 if width == 2 else rng.choice((0, 12)))
                    spot = found + offset + width * rng.randrange(2)
                    data[spot : spot + width] = (big % 2 ** (8 * width)).to_bytes(width, "big")
            if data[:4] == b"\1\0\0\0":
                struct.pack_into("<I", data, 4 * rng.randrange(16), rng.choice(LENGTHS))
            pieces[at] = bytes(data)
        case 6:
            pieces[at] = some_bytes(rng, pieces[at][:64]) + pieces[at][64:]
    return pieces


def spoil(rng: Rng, kept: list[Element]) -> None:
    """One fault in the data set."""
    at = rng.randrange(len(kept))
    group, number_, vr, value = kept[at]
    match rng.randrange(8):
        case 0:
            kept.pop(at)
        case 1:
            kept[at] = (group, number_, rng.choice(VRS), value)
        case 2 | 3:
            kept[at] = (group, number_, vr, wrong(rng, vr, value))
        case 4:  # sizes and counts
            big = rng.choice((0, 1, 63, 64, 65, 4096, 4097, 65535))
            key = rng.choice((0x10, 0x11, 0x02, 0x100, 0x101, 0x102, 0x103))
            kept[:] = [(g, n, v, short(big)) if (g, n) == (0x28, key) else (g, n, v, x) for g, n, v, x in kept]
        case 5:
            count = text(str(rng.choice((0, -1, 1, 2, 4, 2000, 2001, 10**9, "1e3", "3\\3", ""))))
            kept[:] = [(g, n, v, count) if (g, n) == (0x28, 0x08) else (g, n, v, x) for g, n, v, x in kept]
        case 6:  # sequences inside sequences, where one is looked for or anywhere
            inside: list[Element] = [(0x28, 0x3002, b"US", short(rng.choice((0, 256, 65535))) * rng.choice((1, 3)))]
            for _ in range(rng.choice((0, 3, 60))):
                inside = [(0x28, 0x3010, b"SQ", [inside])]
            inside += [(0x28, 0x3006, rng.choice((b"US", b"OW", b"LO")), rng.randbytes(rng.choice((0, 6, 512))))]
            kept.append((0x28, rng.choice((0x3000, 0x3010)), b"SQ", [inside] * rng.choice((1, 3))))
            kept.sort(key=lambda e: e[:2])
        case 7:
            rng.choice((kept.reverse, lambda: kept.append(kept[at]), lambda: rng.shuffle(kept)))()


def wrong(rng: Rng, vr: bytes, value: Any) -> Any:
    """A value that its VR does not allow, or that no C-arm has."""
    if isinstance(value, list):
        return value * 2
    if vr == b"US":
        return rng.choice((short(rng.randrange(65536)), value * 2, value[:1], b""))
    return text("\\".join(str(rng.choice((number(rng, 1), word(rng)))) for _ in range(rng.choice((1, 1, 2, 5)))))[
        :60000
    ]


def run(rng: Rng, folder: Path) -> list[str]:
    """Read the runs, the best frame of each or one by number."""
    frame = rng.pick("best", "best", 1, 3)
    return source.read(rng, folder, f"dicom:{folder}", frame=frame, subject=rng.pick("patient", "file"))
