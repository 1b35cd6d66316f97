"""The end of a commit record, read alone: what a shard holds and where, whatever number of rows it has."""

from __future__ import annotations

from lesionforge.sinks import index
from lesionforge.sinks.index import Record
from lesionforge.sinks.spans import Spans
from lesionforge.sinks.summary import Summary


def footer_size(tail: bytes) -> int:
    """How many bytes from its end hold the totals and the summary of a commit record, told by its last ones.

    Raises:
        ValueError: where they are not a Parquet file's.
    """
    if len(tail) < 8 or tail[-4:] != b"PAR1":
        raise ValueError("no commit record of a shard: it does not end as one")
    return int.from_bytes(tail[-8:-4], "little") + 8


def read_footer(tail: bytes) -> tuple[Record, Summary]:
    """Totals and summary, out of the last ``footer_size`` bytes, or more, of a commit record.

    Raises:
        ValueError: for bytes that are none of a commit record of this layout.
    """
    try:
        footer = tail[-footer_size(tail) :]
        return _record(footer), Summary.read(_value(footer, index.SUMMARY))
    except index.NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {index.first_line(error)}") from None


def read_spans(tail: bytes) -> tuple[Record, Spans | None]:
    """The same of totals, and where the samples lie; ``None`` where it does not tell."""
    try:
        footer = tail[-footer_size(tail) :]
        record = _record(footer)
        if _mark(index.SPANS) not in footer:
            return record, None
        spans = Spans.read(_value(footer, index.SPANS))
        spans.check(record.samples, record.tar_bytes)
        return record, spans
    except index.NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {index.first_line(error)}") from None


def _record(footer: bytes) -> Record:
    return index.record_of({index.TOTALS: _value(footer, index.TOTALS)})


def _mark(key: bytes) -> bytes:
    return b"\x18" + bytes([len(key)]) + key + b"\x18"


def _value(footer: bytes, key: bytes) -> bytes:
    """What stands under a key in the metadata of a Parquet file's footer.

    All stand there as they are, each after the mark of a string and its length (Thrift's compact protocol). Arrow's
    reader takes the whole footer apart: eight times as long, and the end of a dataset reads one of every shard.
    """
    marked = _mark(key)
    at, size, shift = footer.rindex(marked) + len(marked), 0, 0
    while True:
        byte = footer[at]
        size, shift, at = size | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80 or shift > 28:
            break
    if at + size > len(footer):
        raise ValueError("its footer is cut short")
    return footer[at : at + size]
