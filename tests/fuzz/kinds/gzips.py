"""Gzip streams around a sound label: cut, corrupt, several members, and bombs."""

from __future__ import annotations

import gzip
import io
import zlib
from functools import lru_cache
from pathlib import Path

from tests.fuzz.kinds import nifti, source
from tests.fuzz.mutate import Rng, some_bytes

told = source.told
run = nifti.run
BOMB = 2**29  # bytes that a bomb unpacks to, at most


def build(rng: Rng, folder: Path) -> None:
    """One file."""
    sound = nifti.label(rng)
    data = gzip.compress(sound, rng.pick(1, 9, 0), mtime=0)
    if not rng.sound:
        match rng.randrange(9):
            case 0 | 1 | 2:
                data = some_bytes(rng, data)
            case 3:
                data = data[: rng.randrange(len(data))]
            case 4:  # checksum and length are wrong
                data = data[:-8] + rng.randbytes(8)
            case 5:  # several members, the later ones broken or empty
                data += rng.choice((data, gzip.compress(b""), b"\x1f\x8b", b"rubbish", bytes(1000)))
            case 6:  # header flags: names, comments, extra fields that never end
                data = data[:3] + bytes([rng.randrange(256)]) + data[4:10] + rng.randbytes(20) + data[10:]
            case 7:  # packed twice, or not at all
                data = rng.choice((gzip.compress(data), sound, b"", b"\x1f", zlib.compress(sound)))
            case 8:
                data = bomb(rng.choice((0, 1)), rng.choice((1, 3)))
    (folder / "1.label.nii.gz").write_bytes(data)


@lru_cache(maxsize=4)
def bomb(fill: int, shapes: int) -> bytes:
    """A small file that claims to be a large volume, and is: zeros alone, or a label without an end."""
    head = bytearray(nifti.label(Rng("bomb/-1"))[:352])
    dims = {1: (1024, 1024, BOMB >> 20), 3: (32767, 16384, 1)}[shapes]
    nifti.write(head, "<", "dim", 3, *dims, 1, 1, 1, 1)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(head)
        for _ in range(BOMB >> 20):
            file.write(bytes([fill]) * 2**20)
    return out.getvalue()
