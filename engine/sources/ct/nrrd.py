"""Reading a mask from an NRRD file, as 3D Slicer and ITK write it (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import math
import re
import sys
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.ct.names import altered
from lesionforge.generators.types import BadCase

MAX_VOXELS = 2**28
MAX_HEADER = 2**20  # 3D Slicer writes some 600 bytes a segment
MAX_LABELS = 128  # values of a label map; TotalSegmentator's has 118, an image of as many bits as a byte about 256
LOOKED_AT = 2**16  # values that tell an image without all being sorted
TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "uint8_t": "u1", "short": "i2", "short int": "i2", "signed short": "i2", "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "uint16": "u2", "uint16_t": "u2", "int": "i4", "signed int": "i4",
    "int32": "i4", "int32_t": "i4", "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "float": "f4", "double": "f8", "long long": "i8", "longlong": "i8", "signed long long": "i8", "int64": "i8",
    "int64_t": "i8", "unsigned long long": "u8", "ulonglong": "u8", "uint64": "u8", "uint64_t": "u8",
}  # fmt: skip
TO_LPS = {  # what the axes of a named space are worth along LPS
    "left-posterior-superior": (1.0, 1.0, 1.0), "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0), "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0), "las": (1.0, -1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Nrrd:
    """A volume as its header tells of it; ``affine`` (4, 4) from index to LPS mm."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    encoding: str
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> Nrrd:
        """From a file's bytes; no voxel is unpacked.

        Raises:
            BadCase: for what is no three-dimensional volume with a place in the patient.
        """
        fields, start = _header(data)
        try:
            dtype = np.dtype(TYPES[fields["type"].lower()])
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
        little = fields.get("endian", sys.byteorder).lower() == "little"
        return cls(shape, affine, dtype.newbyteorder("<" if little else ">"), encoding, data[start:])

    @cached_property
    def values(self) -> NDArray[Any]:
        """All of them, (n0 * n1 * n2,), the first index running fastest.

        Raises:
            BadCase: where they cannot be unpacked.
        """
        need = math.prod(self.shape) * self.dtype.itemsize
        return np.frombuffer(_unpacked(self.packed, self.encoding, need), self.dtype)

    def mask(self) -> NDArray[np.bool_]:
        """Where it is not 0, (n0, n1, n2).

        Raises:
            BadCase: for what is not binary.
        """
        found = np.unique(self.values)
        if len(found) > 2 or (len(found) == 2 and found[0] != 0):
            raise BadCase(f"is not binary: it holds {', '.join(f'{v:g}' for v in found[:4])}; store a structure a file")
        out: NDArray[np.bool_] = (self.values != 0).reshape(self.shape, order="F")
        return out

    def marked(self) -> int:
        """Voxels that it marks as a label map of any values; 0 for an image, by its many values, fractions or signs."""
        for some in (self.values[:: max(1, len(self.values) // LOOKED_AT)], self.values):
            found = np.unique(some)
            if len(found) > MAX_LABELS or found[0] < -1 or not np.array_equal(found, np.rint(found)):
                return 0
        return int(np.count_nonzero(self.values))


def sizes(data: bytes) -> list[int]:
    """Those of the axes, whatever else the header lacks; empty for what is no header."""
    found = re.search(rb"^sizes: *([\d ]{1,99})\r?$", data[:MAX_HEADER], re.MULTILINE)
    return [int(n) for n in found[1].split()] if found else []


def segment_names(data: bytes) -> list[str]:
    """What 3D Slicer's ``.seg.nrrd`` calls its segments, a lesion by its terminology also so; empty for other files."""
    start = re.split(rb"\r?\n\r?\n", data[:MAX_HEADER], maxsplit=1)[0].decode(errors="replace")
    names = dict(re.findall(r"^Segment(\d+)_Name:=(.*?)\r?$", start, re.MULTILINE))
    for number, tags in re.findall(r"^Segment(\d+)_Tags:=(.*?)\r?$", start, re.MULTILINE):
        terms = re.search(r"TerminologyEntry:[^~|]*~([^~|]*)~([^~|]*)", tags)
        codes = [[*term.split("^"), "", ""][:3] for term in terms.groups()] if terms else []
        if number in names and codes and altered(codes[0][1], codes[0][2], codes[1][1]):
            names[number] += " lesion"
    return list(names.values())


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
