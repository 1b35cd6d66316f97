"""Every byte of every output: files as they are, and all that is packed in them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from tests.privacy.canaries import Canaries

_EMBEDDED = re.compile(rb"base64,([A-Za-z0-9+/=]{16,})")


@dataclass
class Searched:
    """What was looked through, and what was found: (place, canary) -> times."""

    files: int = 0
    bytes: int = 0  # unpacked ones included
    leaks: Counter[tuple[str, str]] = field(default_factory=Counter)

    def look(self, place: str, data: bytes, canaries: Canaries) -> None:
        """Search some bytes and what is packed in them, and their own name."""
        self.files += 1
        for part in (place.encode(), *unpacked(data)):
            self.bytes += len(part)
            self.leaks.update({(place, value): n for value, n in canaries.found(part).items()})

    def walk(self, folder: Path, canaries: Canaries, name: str = "") -> None:
        """Search a folder: every file, link and name."""
        for path in sorted(folder.rglob("*")):
            place = f"{name or folder.name}/{path.relative_to(folder)}"
            if path.is_symlink():
                self.look(place, str(path.readlink()).encode(), canaries)
            elif path.is_file():
                self.look(place, path.read_bytes(), canaries)
            elif path.is_dir():
                self.leaks.update({(place, value): n for value, n in canaries.found(path.name.encode()).items()})


def unpacked(data: bytes, depth: int = 4) -> Iterator[bytes]:
    """The bytes, and those of everything in them: tars, zips, gzip, Parquet, pictures with their texts, data URLs."""
    yield data
    if depth == 0:
        return
    with contextlib.suppress(OSError, EOFError, SyntaxError):  # a broken file has been searched as it is
        for part in _inside(data):
            yield from unpacked(part, depth - 1)


def _inside(data: bytes) -> Iterable[bytes]:
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    elif data[:4] == b"PAR1":
        file = pq.ParquetFile(io.BytesIO(data))
        yield repr(file.metadata).encode() + repr(file.schema_arrow.metadata).encode()
        yield json.dumps(file.read().to_pylist(), default=repr).encode()
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                yield repr(member.get_info()).encode() + repr(member.pax_headers).encode()
                if member.isfile():
                    yield tar.extractfile(member).read()
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()  # reads the chunks after the pixels too
            yield repr(picture.info).encode() + repr(dict(picture.getexif())).encode()
            yield picture.tobytes()
    elif b"base64," in data:
        for text in _EMBEDDED.findall(data):
            yield base64.b64decode(text[: len(text) // 4 * 4])
    elif data[:1] == b"\x78":
        yield _inflated(data)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""
