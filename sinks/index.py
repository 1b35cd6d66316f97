"""The commit record of a shard: a small Parquet file, one row per sample, quarantined ones included.

It is at once what makes a shard count and the dataset's index. Shard totals and checksums stand in the file's
key-value metadata under ``lesionforge``, a summary of the rows under ``lesionforge.summary``, where the samples lie
under ``lesionforge.spans``: the end of a dataset and its readers read these of every shard (`sinks.footer`), and no
rows.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lesionforge.sinks import limits, parquet, tar
from lesionforge.sinks.rows import check_rows
from lesionforge.sinks.spans import MOST, Spans
from lesionforge.sinks.summary import Summary, identifiers, mark

# What bytes of another kind raise.
NOT_OURS = (
    pa.ArrowException, OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
_SHARD = re.compile(r"[A-Za-z0-9_]+-[0-9]{6,}")
TOTALS, SUMMARY, SPANS = b"lesionforge", b"lesionforge.summary", b"lesionforge.spans"
_SHA = re.compile(r"[0-9a-f]{64}")
_PART = 1000  # rows made Python's at a time
ROW_KEYS = ("sample_id", "split", "variant", "source", "case", "target", "redraws", "subject", "source_id")
RESERVED = (*ROW_KEYS, "generator", "recipe", "drawn", "measured")  # of a ``json`` member; every other key is a label
_MEMBER = pa.struct([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])
SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("variant", pa.int32(), nullable=False),
        pa.field("source", pa.int32(), nullable=False),  # index into the recipe's sources
        pa.field("case", pa.int64(), nullable=False),  # index inside that source
        pa.field("target", pa.string()),  # class asked for
        pa.field("status", pa.string(), nullable=False),  # ok | quarantined
        pa.field("reason", pa.string()),  # why quarantined
        pa.field("redraws", pa.int32(), nullable=False),
        pa.field("subject", pa.string()),  # keyed hash
        pa.field("source_id", pa.string()),  # hash of the source's voxels or pixels
        pa.field("offset", pa.int64()),  # of the sample's bytes in the tar
        pa.field("size", pa.int64()),
        pa.field("members", pa.list_(_MEMBER)),
        pa.field("labels", pa.string()),  # JSON
        pa.field("measured", pa.map_(pa.string(), pa.float64())),
    ]
)


@dataclass
class Row:
    """One sample as the index tells it; ``None`` where a quarantined sample has nothing to tell."""

    sample_id: str
    split: str
    variant: int
    source: int
    case: int
    target: str | None = None
    status: Literal["ok", "quarantined"] = "ok"
    reason: str | None = None
    redraws: int = 0
    subject: str | None = None
    source_id: str | None = None
    offset: int | None = None
    size: int | None = None
    members: list[dict[str, Any]] | None = None
    labels: str | None = None
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A shard's totals, as its commit record states them."""

    shard: str
    recipe: str  # the dataset's identity, see Recipe.identity
    tar_sha256: str
    tar_bytes: int
    samples: int
    quarantined: int
    version: str  # of lesionforge


def write(rows: Iterable[Row], record: Record) -> bytes:
    """The bytes of a commit record; the same rows give the same bytes."""
    rows = list(rows)
    values = sum(len(SCHEMA) + 2 * len(row.members or ()) + len(row.measured) for row in rows)
    if len(rows) > limits.ROWS or values > limits.VALUES:
        raise ValueError(
            f"a shard of {len(rows)} samples and {values} values is too large to be read: see shard.samples"
        )
    table = pa.Table.from_pylist([_arrow(row) for row in rows], schema=SCHEMA)
    head = {TOTALS: json.dumps(asdict(record), sort_keys=True), SUMMARY: summarise(rows).to_bytes()}
    if (spans := _spans(rows, record)) and len(told := spans.to_bytes()) <= MOST:
        head[SPANS] = told
    out = io.BytesIO()
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(head)  # a schema's own stand in the footer twice
    return out.getvalue()


def _spans(rows: Iterable[Row], record: Record) -> Spans | None:
    placed = ((row.sample_id, row.target, row.members or []) for row in rows if row.status == "ok")
    return Spans.of(placed, record.tar_bytes)


def summarise(rows: Iterable[Row]) -> Summary:
    """What rows add up to."""
    out, marks = Summary(), set[int]()
    for row in rows:
        if row.status == "ok":
            burned_in = row.measured.get("burned_in_text", 0) > 0
            out.add(row.sample_id, (row.split, row.target or "all"), burned_in)
            marks.update(mark(*what) for what in identifiers(row.source_id, row.subject))
        else:
            out.reasons.add(row.reason or "unknown")
    out.marks = b"".join(number.to_bytes(8, "little") for number in sorted(marks))
    return out


def _arrow(row: Row) -> dict[str, Any]:
    return {**vars(row), "measured": sorted(row.measured.items())}


def read(data: bytes) -> tuple[Record, list[Row]]:
    """Read a commit record back.

    Raises:
        ValueError: for bytes that are no commit record of this layout, or whose rows cannot be true.
    """
    record, table = read_table(data)
    try:
        head = parquet.opened(data).metadata.metadata
        told = (row for part in table.to_batches(_PART) for row in part.to_pylist())
        rows = [Row(**{**row, "measured": dict(row["measured"] or [])}) for row in told]
        for row in rows:
            _check_labels(row)
        if summarise(rows).to_bytes() != head[SUMMARY]:
            raise ValueError("its summary is not that of its rows")
        if SPANS in head and Spans.read(head[SPANS]) != _spans(rows, record):  # an older index has none
            raise ValueError("its spans are not those of its rows")
    except NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {first_line(error)}") from None
    return record, rows


def read_table(data: bytes, columns: Sequence[str] | None = None) -> tuple[Record, pa.Table]:
    """The totals of a commit record and its rows as a table, all of them believable: ids, offsets, sizes, names.

    Args:
        columns: names of the columns to read; None reads all.

    Raises:
        ValueError: for bytes that are no commit record of this layout, or whose rows cannot be true.
    """
    try:
        file = parquet.opened(data)
        record = record_of(file.metadata.metadata)
        if not file.schema_arrow.remove_metadata().equals(SCHEMA):
            raise ValueError("its columns are not those of an index")
        if not record.samples + record.quarantined == file.metadata.num_rows <= limits.ROWS:
            told = f"it claims {file.metadata.num_rows} rows, its totals {record.samples + record.quarantined}"
            raise ValueError(f"{told}; a shard has at most {limits.ROWS}")
        if record.samples * 2 * tar.BLOCK > record.tar_bytes:
            raise ValueError(f"a tar of {record.tar_bytes} bytes has no room for {record.samples} samples")
        table = parquet.read(data, file, SCHEMA.names if columns is None else columns)
        table.validate(full=True)
        check_rows(table, record.tar_bytes)
    except NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {first_line(error)}") from None
    return record, table


def _check_labels(row: Row) -> None:
    if row.labels is not None and not isinstance(limits.parsed(row.labels), dict):
        raise ValueError(f"sample {row.sample_id}: its labels are no JSON object")


def record_of(metadata: Mapping[bytes, bytes] | None) -> Record:
    record = Record(**limits.parsed((metadata or {})[TOTALS]))
    texts = (record.shard, record.recipe, record.tar_sha256, record.version)
    counts = (record.tar_bytes, record.samples, record.quarantined)
    if not (
        all(isinstance(text, str) for text in texts)
        and all(type(count) is int and 0 <= count < 2**62 for count in counts)
        and _SHARD.fullmatch(record.shard)
        and _SHA.fullmatch(record.tar_sha256)
    ):
        raise ValueError("its totals are not those of a shard")
    return record


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_record(data: bytes) -> Record:
    """Only the totals of a commit record.

    Raises:
        ValueError: for bytes that are no commit record of this layout.
    """
    try:
        return record_of(parquet.opened(data).metadata.metadata)
    except NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {first_line(error)}") from None


def place(row: Row, entry: tar.Entry) -> Row:
    """Write into a row where its sample lies in the tar."""
    row.offset, row.size = entry.offset, entry.size
    row.members = [dict(vars(member)) for member in entry.members]  # asdict takes ten times as long
    return row


def from_tar(data: bytes, recipe: str) -> list[Row]:
    """Rebuild the rows of the samples that lie in a tar, from its ``json`` members.

    Args:
        data: the tar.
        recipe: identity of the dataset they must belong to.

    Raises:
        ValueError: where the bytes are no shard, a ``json`` member does not tell of its sample, or tells of another
            dataset's.
    """
    rows = []
    for entry in tar.read(data):
        spot = next((m for m in entry.members if m.name == "json"), None)
        if spot is None:
            raise ValueError(f"sample {entry.key} has no json member")
        try:
            meta = limits.parsed(data[spot.offset : spot.offset + spot.size])
            row, recipe_of = row_of(meta), str(meta["recipe"])
            pa.Table.from_pylist([_arrow(row)], schema=SCHEMA)
        except NOT_OURS as error:
            raise ValueError(
                f"the json member of sample {entry.key} does not describe a sample: {type(error).__name__}"
            ) from None
        if row.sample_id != entry.key:
            raise ValueError(f"the json member of sample {entry.key} describes {row.sample_id}")
        if recipe_of != recipe:
            raise ValueError(f"sample {entry.key} belongs to recipe {recipe_of[:12]}, not {recipe[:12]}")
        rows.append(place(row, entry))
    return rows


def row_of(meta: dict[str, Any]) -> Row:
    """The row that a sample's ``json`` member describes."""
    labels = {name: value for name, value in meta.items() if name not in RESERVED}
    text = json.dumps(labels, sort_keys=True, separators=(",", ":"))
    return Row(**{name: meta[name] for name in ROW_KEYS}, labels=text, measured=meta["measured"])


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()
