"""Parquet files of strangers: read only where their own pages say how much they become.

A column of a million rows may be one text and a dictionary's number for it, twenty bytes a page; the totals in the
footer are anybody's claim. So the header of every page is read before Arrow makes room for the first, and only pages
as they are written here are read at all: other encodings (prefix lengths, deltas) make much of little, too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lesionforge.sinks.limits import FOOTER, INDEX, TEXT, VALUES

CHUNKS = 1024  # pieces of columns: one index has 19, and more from a million rows on
WRITER = b"parquet-cpp-arrow"  # of other writers' chunks Arrow reads more than they claim
_TEXT = 6  # kind of a column
_DATA, _DICTIONARY = 0, 2  # kinds of pages
_PLAIN, _PLAIN_DICTIONARY, _LEVELS, _CODED = 0, 2, 3, 8  # encodings


def opened(data: bytes) -> pq.ParquetFile:
    """A file whose footer alone is read.

    Raises:
        ValueError, LookupError, TypeError, pa.ArrowException, OSError: for one that is none, or a footer too large.
    """
    if len(list(_chunks(data))) > CHUNKS:
        raise ValueError(f"it has more than {CHUNKS} pieces of columns")
    return pq.ParquetFile(io.BytesIO(data))


def read(data: bytes, file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Columns as a table, where all columns together become no more than `limits` allows.

    Raises:
        ValueError, LookupError, TypeError, pa.ArrowException, OSError: for more than that, or pages that are not
            written here.
    """
    values, texts, coded, names = 0, 0, 0, set[str]()
    for chunk in _chunks(data):
        count, plain, dictionary = _sizes(data, chunk)
        values, texts = values + count, texts + plain + dictionary
        if chunk[1] == _TEXT:
            coded += count * dictionary
            names.add(b".".join(chunk[3]).decode())
        if values > VALUES or texts > TEXT:
            raise ValueError(f"it becomes more than {VALUES} values, or {TEXT} bytes of texts")
    if coded > TEXT:  # as if every text were as long as all together
        table = pq.ParquetFile(io.BytesIO(data), read_dictionary=sorted(names)).read(use_threads=False)
        for column in table.columns:
            texts += sum(map(_unfolded, (leaf for part in column.chunks for leaf in _texts(part))))
        if texts > TEXT:
            raise ValueError(f"its texts become {texts} bytes; at most {TEXT} are read")
        del table
    return file.read(list(columns), use_threads=False)


def _chunks(data: bytes) -> Iterator[dict[int, Any]]:
    """What the footer tells of each piece of a column. Arrow ends the process where some of that is damaged."""
    size = int.from_bytes(data[-8:-4], "little")
    if len(data) > INDEX or size > min(FOOTER, len(data) - 8):
        raise ValueError(f"it has {len(data)} bytes, of which a footer: at most {INDEX} and {FOOTER} are read")
    footer, _ = _struct(data, len(data) - 8 - size)
    if not footer[6].startswith(WRITER):
        raise ValueError("it was not written here")
    for group in footer[4]:
        for chunk in group[1]:
            if 1 in chunk:
                raise ValueError("a column is said to lie in another file")
            yield chunk[3]


def _sizes(data: bytes, chunk: dict[int, Any]) -> tuple[int, int, int]:
    """Values of a column's piece, and bytes of its pages and of its dictionary, by its pages' own headers."""
    at = min(chunk[9], chunk.get(11) or chunk[9])
    end = at + chunk[7]
    if not 0 < at < end <= len(data):
        raise ValueError("a column lies outside of the file")
    values = plain = dictionary = 0
    while at < end:
        header, at = _struct(data, at)
        kind, unpacked, packed = (header[n] for n in (1, 2, 3))
        own = header[5 if kind == _DATA else 7]
        levels = {own.get(3, _LEVELS), own.get(4, _LEVELS)} if kind == _DATA else {_LEVELS}
        known = kind in (_DATA, _DICTIONARY) and own[2] in (_PLAIN, _PLAIN_DICTIONARY, _CODED)
        if not known or levels != {_LEVELS} or min(unpacked, packed, own[1]) < 0:
            raise ValueError("a page is not of the kind that is written here")
        if kind == _DATA:
            values, plain = values + own[1], plain + unpacked
        else:
            dictionary += unpacked
        at += packed
    if at != end or values != chunk[5]:
        raise ValueError("a column's pages are not those that its footer tells of")
    return values, plain, dictionary


def _texts(array: Any) -> Iterator[Any]:
    """The texts in a column, at any depth, as dictionaries and numbers."""
    if isinstance(array, pa.DictionaryArray):
        yield array
    elif isinstance(array, pa.MapArray):
        yield from _texts(array.keys)
    elif isinstance(array, pa.ListArray):
        yield from _texts(array.values)
    elif isinstance(array, pa.StructArray):
        for n in range(array.type.num_fields):
            yield from _texts(array.field(n))


def _unfolded(array: Any) -> int:
    return pc.sum(pc.binary_length(array.dictionary).cast(pa.int64()).take(array.indices)).as_py() or 0


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol by its fields' numbers, and where it ends."""
    out, field = dict[int, Any](), 0
    while byte := data[at]:
        at += 1
        if byte >> 4:
            field += byte >> 4
        else:
            field, at = _integer(data, at)
        out[field], at = (byte & 15 == 1, at) if byte & 15 in (1, 2) else _value(data, at, byte & 15)
    return out, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):  # a truth in a list, or a byte
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _integer(data, at)
    if kind == 7:
        return data[at : at + 8], at + 8
    if kind == 8:
        size, at = _varint(data, at)
        return data[at : at + size], at + size
    if kind == 12:
        return _struct(data, at)
    if kind != 9:
        raise ValueError("a header is none that is written here")
    size, kind, at = data[at] >> 4, data[at] & 15, at + 1
    if size == 15:
        size, at = _varint(data, at)
    if size > CHUNKS:
        raise ValueError(f"a header has a list of {size} items; at most {CHUNKS} are read")
    items = list[Any]()
    for _ in range(size):
        item, at = _value(data, at, kind)
        items.append(item)
    return items, at


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a page's header has a number of too many bytes")
