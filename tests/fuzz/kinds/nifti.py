"""NIfTI labels: every field of the header that decides how the rest is read, and the bytes."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.kinds import source
from tests.fuzz.mutate import Rng, number, some_bytes

told = source.told

#: Offset and struct format of the fields of a NIfTI-1 header (nifti1.h).
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "intent_code": (68, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "slice_start": (74, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "slice_end": (120, "h"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "6f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
}
TYPES = (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280, 1, 0, 32, 128, 1536, 1792, 2048, 2304, -1, 9999)
SHAPE = (24, 20, 16)


def label(rng: Rng, order: str = "<") -> bytes:
    """A sound file: two blobs far enough apart for two trees."""
    voxels = np.zeros(SHAPE, np.uint8, order="F")
    voxels[14:20, 8:12, 4:9] = 1
    voxels[2:7, 8:12, 4:8] = 1
    if rng.chance(0.1):
        voxels = np.asfortranarray(np.random.default_rng(rng.randrange(2**32)).integers(0, rng.choice((2, 3)), SHAPE))
    head = bytearray(352)
    spacing = 1.5
    write(head, order, "sizeof_hdr", 348)
    write(head, order, "dim", 3, *SHAPE, 1, 1, 1, 1)
    write(head, order, "datatype", 2)
    write(head, order, "bitpix", 8)
    write(head, order, "pixdim", 1.0, spacing, spacing, spacing, 0, 0, 0, 0)
    write(head, order, "vox_offset", 352.0)
    write(head, order, "scl_slope", 1.0)
    write(head, order, "sform_code", 1)
    write(head, order, "srow", spacing, 0, 0, -20, 0, spacing, 0, -20, 0, 0, spacing, -20)
    write(head, order, "magic", b"n+1\0")
    return bytes(head) + voxels.astype(np.uint8).tobytes(order="F")


def write(head: bytearray, order: str, name: str, *values: Any) -> None:
    """Set a field; numbers that do not fit are cut to what its bytes can hold."""
    at, form = FIELDS[name]
    kind, width = form[-1], struct.calcsize("=" + form[-1])
    fitted = values
    if kind in "hiB":
        low, high = (0, 2 ** (8 * width) - 1) if kind == "B" else (-(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1)
        fitted = tuple(int(min(max(v, low), high)) if v == v else low for v in values)
    elif kind == "f":
        fitted = tuple(float(np.float32(v)) for v in values)
    struct.pack_into(order + form, head, at, *fitted)


def spoil(rng: Rng, data: bytes, order: str) -> bytes:
    """Change header fields with a mind, bytes without one."""
    head = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        name = rng.choice(tuple(FIELDS))
        at, form = FIELDS[name]
        if name == "magic":
            write(head, order, name, rng.choice((b"ni1\0", b"n+2\0", b"\0\0\0\0", b"n+1a")))
            continue
        values = list(struct.unpack_from(order + form, head, at))
        for _ in range(rng.choice((1, 1, 3))):
            i = rng.randrange(len(values))
            values[i] = rng.choice(TYPES) if name == "datatype" else number(rng, values[i])
        if name == "dim" and rng.random() < 0.3:
            values = [rng.choice((3, 4, 7)), *(rng.choice((1, 2, 64, 1000, 4096, 32767)) for _ in range(7))]
        with np.errstate(all="ignore"):
            write(head, order, name, *values)
    return some_bytes(rng, bytes(head)) if rng.random() < 0.25 else bytes(head)


def build(rng: Rng, folder: Path) -> None:
    """One to three labels, plain or with a sound gzip stream around."""
    for n in range(rng.pick(1, 1, 3)):
        order = rng.pick("<", "<", ">")
        data = label(rng, order)
        if not rng.sound:
            data = spoil(rng, data, order)
        packed = rng.chance(0.3)
        name = f"{n + 1}.label.nii" + ".gz" * packed
        (folder / name).write_bytes(gzip.compress(data, 1, mtime=0) if packed else data)
        source.odd_files(rng, folder, name)


def run(rng: Rng, folder: Path) -> list[str]:
    """As ``imagecas:`` or ``nifti:``, a folder or one file."""
    scheme = rng.pick("imagecas", "nifti")
    sides = {} if rng.pick(True, True, False) else {"sides": ["left"]}
    place = folder / "1.label.nii" if rng.chance(0.05) else folder
    return source.read(rng, folder, f"{scheme}:{place}", "biplane", **sides)
