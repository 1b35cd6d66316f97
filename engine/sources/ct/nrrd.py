"""Reading a binary mask from an NRRD file, as 3D Slicer and ITK write it (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import math
import re
import sys
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import BadCase

MAX_VOXELS = 2**28
MAX_HEADER = 2**16
TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "uint8_t": "u1", "short": "i2", "short int": "i2", "signed short": "i2", "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "uint16": "u2", "uint16_t": "u2", "int": "i4", "signed int": "i4",
    "int32": "i4", "int32_t": "i4", "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "float": "f4", "double": "f8",
}  # fmt: skip
TO_LPS = {  # what the axes of a named space are worth along LPS
    "left-posterior-superior": (1.0, 1.0, 1.0), "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0), "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0), "las": (1.0, -1.0, 1.0),
}  # fmt: skip


def read_mask(data: bytes) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """A mask (n0, n1, n2) and its affine (4, 4) from index to LPS mm.

    Raises:
        BadCase: for what is no three-dimensional binary mask with a place in the patient.
    """
    fields, start = _header(data)
    try:
        kind = np.dtype(TYPES[fields["type"].lower()])
        shape = tuple(int(n) for n in fields["sizes"].split())
        turn = TO_LPS[fields["space"].lower()]
        columns = [_vector(part) for part in re.findall(r"\([^)]*\)|none", fields["space directions"])]
        affine = np.eye(4)
        affine[:3, :3] = np.array(columns).T * np.array(turn)[:, None]
        affine[:3, 3] = np.array(_vector(fields["space origin"])) * turn
        encoding = fields["encoding"].lower()
    except (KeyError, ValueError):  # whose text may be the header's
        raise BadCase("is no mask in NRRD with a place in the patient: a field is missing or unknown") from None
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        raise BadCase(f"has sizes {shape[:4]}; a mask is a volume of at most {MAX_VOXELS} voxels")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadCase("its space directions are singular or not finite")
    need = math.prod(shape) * kind.itemsize
    values = np.frombuffer(_unpacked(data[start:], encoding, need), kind)
    swapped = kind.itemsize > 1 and fields.get("endian", sys.byteorder).lower() != sys.byteorder
    values = values.byteswap() if swapped else values
    found = np.unique(values)
    if len(found) > 2 or (len(found) == 2 and found[0] != 0):
        raise BadCase(f"is not binary: it holds {', '.join(f'{v:g}' for v in found[:4])}; store a structure a file")
    return (values != 0).reshape(shape, order="F"), affine


def _header(data: bytes) -> tuple[dict[str, str], int]:
    if not data.startswith(b"NRRD"):
        raise BadCase("is no NRRD file")
    end = re.search(rb"\r?\n\r?\n", data[:MAX_HEADER])
    if end is None:
        raise BadCase("has no NRRD header with its voxels behind it (detached data files are not read)")
    fields = {}
    for line in data[: end.start()].decode("latin-1").splitlines()[1:]:
        key, mark, value = line.partition(": ")
        if mark and not line.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields, end.end()


def _unpacked(packed: bytes, encoding: str, need: int) -> bytes:
    if encoding in ("gzip", "gz"):
        try:
            packed = zlib.decompressobj(wbits=31).decompress(packed, need)
        except zlib.error:
            raise BadCase("its gzip stream is broken") from None
    elif encoding != "raw":
        raise BadCase("is encoded otherwise than raw or gzip")
    if len(packed) < need:
        raise BadCase(f"holds {len(packed)} bytes of voxels; {need} are needed")
    return packed[:need]


def _vector(text: str) -> tuple[Any, ...]:
    values = tuple(float(v) for v in text.strip("() ").split(","))
    if len(values) != 3:
        raise ValueError("not three numbers")
    return values
