"""Lines of a legacy VTK file (``.vtk``, POLYDATA), as vtkPolyDataWriter writes centrelines: ASCII or binary.

Read here because the library that does is 100 MB for this one kind of file. Only points, lines and whole numbers at the
points are kept; every count is held against what is left of the file before room is made for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import BadCase

MAX_BYTES = 2**26
TYPES = {
    **{"float": ">f4", "double": ">f8", "char": ">i1", "unsigned_char": ">u1", "short": ">i2", "unsigned_short": ">u2"},
    **{"int": ">i4", "unsigned_int": ">u4", "long": ">i8", "unsigned_long": ">u8", "vtkIdType": ">i4"},
    **{"vtktypeint64": ">i8", "vtktypeint32": ">i4", "vtktypeuint8": ">u1", "vtktypeint8": ">i1"},
}
CELLS = ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")
ATTRIBUTES = {"NORMALS": 3, "VECTORS": 3, "TENSORS": 9}


@dataclass(frozen=True)
class PolyLines:
    """``points`` (n, 3), the numbers of each line's points in order, and the arrays of whole numbers at the points."""

    points: NDArray[np.float64]
    lines: list[NDArray[np.int64]]
    marks: dict[str, NDArray[np.int64]]

    @classmethod
    def read(cls, data: bytes) -> PolyLines:
        """From a file's bytes.

        Raises:
            BadCase: for what is no legacy VTK file of lines, a broken one, or one with numbers that are none.
        """
        if len(data) > MAX_BYTES:
            raise BadCase(f"has {len(data)} bytes; at most {MAX_BYTES} are read of a centreline")
        if not data.startswith(b"# vtk DataFile"):
            raise BadCase("is no legacy VTK file (.vtk); XML ones are not read")
        try:
            return _parse(_Text(data))
        except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError):  # whose text may be the file's
            raise BadCase("is no VTK polydata that can be understood, or ends too early") from None


class _Text:
    """A file's bytes, word by word, line by line, or array by array."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.line()
        self.line()  # version and title
        self.binary = {"BINARY": True, "ASCII": False}[self.line().strip().upper()]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        end = len(self.data) if end < 0 else end
        text, self.at = self.data[self.at : end].decode("ascii"), end + 1
        return text

    def words(self) -> list[str]:
        """Of the next line that is not empty; none at the end."""
        while self.at < len(self.data):
            if words := self.line().split():
                return words
        return []

    def array(self, kind: str, count: int) -> NDArray[Any]:
        """``count`` numbers."""
        if kind == "string":
            return self._skip_strings(count)
        dtype = np.dtype(TYPES[kind])
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError("more than there is")
        if self.binary:
            out = np.frombuffer(self.data, dtype, count, self.at)
            self.at += out.nbytes
            return out
        values: list[str] = []
        while len(values) < count:
            if not (words := self.words()):
                raise ValueError("ends early")
            values += words
        if len(values) > count:
            raise ValueError("more than was said")
        return np.array(values, np.float64).astype(dtype)

    def _skip_strings(self, count: int) -> NDArray[Any]:
        for _ in range(count):
            if not self.binary:
                self.line()
                continue
            width = {3: 1, 2: 2, 1: 4, 0: 8}[self.data[self.at] >> 6]
            length = int.from_bytes(self.data[self.at : self.at + width], "big") & (2 ** (8 * width - 2) - 1)
            self.at += width + length
        return np.empty(0)


def _parse(text: _Text) -> PolyLines:
    if text.words() != ["DATASET", "POLYDATA"]:
        raise ValueError("another data set")
    points = np.empty((0, 3))
    lines: list[NDArray[np.int64]] = []
    marks: dict[str, NDArray[np.int64]] = {}
    at_points, tuples = False, 0
    while words := text.words():
        match words:
            case ["POINTS", count, kind]:
                points = text.array(kind, 3 * int(count)).reshape(-1, 3).astype(np.float64)
            case [cells, first, second] if cells in CELLS:
                found = _cells(text, int(first), int(second))
                lines = found if cells == "LINES" else lines
            case ["POINT_DATA" | "CELL_DATA" as where, count]:
                at_points, tuples = where == "POINT_DATA", int(count)
            case ["SCALARS", name, kind, *width]:
                text.words()  # LOOKUP_TABLE
                _keep(marks, at_points, name, text.array(kind, int(width[0] if width else 1) * tuples), points)
            case ["FIELD", _, count]:
                for _ in range(int(count)):
                    name, size, kind = _next_array(text)
                    _keep(marks, at_points, name, text.array(kind, size), points)
            case ["METADATA"]:
                while text.line().strip():
                    pass
            case [name, _, kind] if name in ATTRIBUTES:
                text.array(kind, ATTRIBUTES[name] * tuples)
            case _:
                raise ValueError("another section")
    if not np.isfinite(points).all() or any(((line < 0) | (line >= len(points))).any() for line in lines):
        raise ValueError("points that are none")
    return PolyLines(points, lines, marks)


def _next_array(text: _Text) -> tuple[str, int, str]:
    """Name, number of values and type."""
    words = text.words()
    while words and words[0] == "METADATA":
        while text.line().strip():
            pass
        words = text.words()
    name, width, tuples, kind = words
    return name, int(tuples) * (1 if kind == "string" else int(width)), kind


def _keep(
    marks: dict[str, NDArray[np.int64]], at_points: bool, name: str, values: NDArray[Any], points: NDArray[np.float64]
) -> None:
    if at_points and len(values) == len(points) and np.array_equal(values, np.rint(values)):
        marks[name] = values.astype(np.int64)


def _cells(text: _Text, first: int, second: int) -> list[NDArray[np.int64]]:
    """The point numbers of each cell, as version 5 writes them (OFFSETS, CONNECTIVITY) or those before."""
    start = text.at
    words = text.words()
    if words and words[0] == "OFFSETS":
        offsets = text.array(words[1], first).astype(np.int64)
        links = text.array(text.words()[1], second).astype(np.int64)
        if len(offsets) and (offsets[0] != 0 or offsets[-1] != len(links) or (np.diff(offsets) < 0).any()):
            raise ValueError("offsets that are none")
        return [links[a:b] for a, b in pairwise(offsets)]
    text.at = start
    flat, out, at = text.array("int", second).astype(np.int64), [], 0
    for _ in range(first):
        out.append(flat[at + 1 : at + 1 + int(flat[at])])
        at += 1 + int(flat[at])
    if at != second or any(len(cell) == 0 for cell in out):
        raise ValueError("cells that are none")
    return out
