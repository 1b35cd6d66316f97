"""Pictures and masks: PNG chunks, BMP, JPEG and TIFF headers, files of other kinds under their names, and bombs."""

from __future__ import annotations

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from tests.fuzz.kinds import source
from tests.fuzz.mutate import Rng, some_bytes

told = source.told
EDGE = 48
FORMATS = {"png": "PNG", "bmp": "BMP", "jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}
EDGES = (0, 1, 31, 33, 8192, 8193, 65535, 70000, 2**31 - 1, 2**31, 2**32 - 1)
CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"IDAT", b"IEND")
FOREIGN = (  # what Pillow would open if it were asked to open anything; the first has it start another program
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) print\n%%EOF\n",
    b"GIF89a" + struct.pack("<HH", 64, 64) + bytes(60),
    b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 1, 64, 64, 8, 1) + bytes(40),
    b"SIMPLE  =                    T" + b" " * 2850,
    b"\xd7\xcd\xc6\x9a" + bytes(40),
    b"P6 64 64 255\n" + bytes(64 * 64 * 3),
    b"P5 99999 99999 255\n",
    b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    b"II*\0\x08\0\0\0\xff\xff" + bytes(100),
)


def picture(rng: Rng, kind: str, mask: bool = False) -> bytes:
    """A sound picture of some mode."""
    noise = np.random.default_rng(rng.randrange(2**32)).integers(60, 200, (EDGE, EDGE), np.uint8)
    if mask:
        noise = np.zeros((EDGE, EDGE), np.uint8)
        noise[10:40, 20:26] = 255
        if rng.chance(0.2):
            noise[10:40, 30 : rng.choice((31, 32, 40))] = rng.randrange(256)  # a second class
    image = Image.fromarray(noise)
    if rng.chance(0.3):
        image = image.convert(rng.choice(("RGB", "L", "1", *(("P", "LA", "RGBA") if kind in ("png", "tif") else ()))))
    exif = Image.Exif()
    if rng.chance(0.05):
        exif[ExifTags.Base.Orientation] = rng.randrange(10)
    out = io.BytesIO()
    image.save(out, format=FORMATS[kind], exif=exif)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with a right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Names and data of a sound PNG's chunks."""
    at, out = 8, []
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        out.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return out


def spoiled_png(rng: Rng, data: bytes) -> bytes:
    """Chunks altered, moved, doubled, lost, made up, with right checksums: the decoder gets to see them."""
    parts = chunks(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(parts)) if parts else 0
        match rng.randrange(6):
            case 0 if parts and parts[0][0] == b"IHDR" and len(parts[0][1]) == 13:
                head = list(struct.unpack(">IIBBBBB", parts[0][1]))
                field = rng.randrange(7)
                head[field] = rng.choice(EDGES) % 2**32 if field < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
                parts[0] = (b"IHDR", struct.pack(">IIBBBBB", *head))
            case 1 if parts:
                parts[at] = (parts[at][0], some_bytes(rng, parts[at][1]))
            case 2 if parts:
                parts.pop(at)
            case 3 if parts:
                parts.insert(rng.randrange(len(parts) + 1), parts[at])
            case 4:
                body = rng.choice((rng.randbytes(30), b"a\0" + b"\0" + zlib.compress(bytes(2**22), 9), b"", b"x\0" * 9))
                parts.insert(rng.randrange(len(parts) + 1), (rng.choice(CHUNKS), body))
            case _ if parts:
                parts[at] = (rng.randbytes(4), parts[at][1])
    return data[:8] + b"".join(chunk(*part) for part in parts)


@lru_cache(maxsize=8)
def bomb(cols: int, rows: int, colour: int) -> bytes:
    """A PNG of a few hundred kilobytes that is as large as it says, in black."""
    line, packer, data = bytes(1 + cols * (3 if colour == 2 else 1)), zlib.compressobj(9), []
    for _ in range(rows):
        data.append(packer.compress(line))
    body = b"".join([*data, packer.flush()])
    head = struct.pack(">IIBBBBB", cols, rows, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def spoil(rng: Rng, data: bytes, kind: str) -> bytes:
    """One mutation of a picture's bytes."""
    draw = rng.random()
    if draw < 0.03:
        return bomb(*rng.choice(((8192, 8192, 0), (8192, 8192, 2), (8000, 4000, 3), (4096, 4096, 2), (32, 200_000, 0))))
    if draw < 0.1:
        return rng.choice(FOREIGN)
    if kind == "png" and draw < 0.7:
        return spoiled_png(rng, data)
    if draw < 0.85:  # near the front, where the headers are
        front = rng.choice((16, 64, 200))
        return some_bytes(rng, data[:front]) + data[front:]
    return some_bytes(rng, data)


def build(rng: Rng, folder: Path) -> None:
    """A ``masks:`` folder of two pictures; one file of it, or two, are spoiled."""
    for n in (1, 2):
        for name, mask in ((f"{n}", False), (f"{n}_gt", True)):
            kind = rng.pick("png", *FORMATS)
            data = picture(rng, kind, mask)
            if rng.chance(0.35):
                data = spoil(rng, data, kind)
            path = f"{name}.{rng.pick(kind, kind, 'png', 'tiff')}"
            (folder / path).write_bytes(data)
            source.odd_files(rng, folder, path)


def run(rng: Rng, folder: Path) -> list[str]:
    """Read the pairs."""
    values = {"vessel_values": rng.choice(([255], [1, 2], [65536], []))} if rng.chance(0.2) else {}
    return source.read(rng, folder, f"masks:{folder}", **values)
