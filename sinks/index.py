"""The commit record of a shard: a small Parquet file, one row per sample, quarantined ones included.

It is at once what makes a shard count and the dataset's index. Shard totals and checksums stand in the file's
key-value metadata under ``lesionforge``.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from sinks import tar

_NOT_OURS = (pa.ArrowException, OSError, KeyError, TypeError, ValueError)  # what bytes of another kind raise
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
    table = pa.Table.from_pylist([_arrow(row) for row in rows], schema=SCHEMA)
    table = table.replace_schema_metadata({"lesionforge": json.dumps(asdict(record), sort_keys=True)})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _arrow(row: Row) -> dict[str, Any]:
    return {**vars(row), "measured": sorted(row.measured.items())}


def read(data: bytes) -> tuple[Record, list[Row]]:
    """Read a commit record back.

    Raises:
        ValueError: for bytes that are no commit record of this layout.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        record = Record(**json.loads(file.schema_arrow.metadata[b"lesionforge"]))
        rows = [Row(**{**row, "measured": dict(row["measured"] or [])}) for row in file.read().to_pylist()]
    except _NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {error}") from None
    return record, rows


def read_record(data: bytes) -> Record:
    """Only the totals of a commit record.

    Raises:
        ValueError: for bytes that are no commit record of this layout.
    """
    try:
        metadata = pq.read_schema(io.BytesIO(data)).metadata or {}
        return Record(**json.loads(metadata[b"lesionforge"]))
    except _NOT_OURS as error:
        raise ValueError(f"no commit record of a shard: {error}") from None


def place(row: Row, entry: tar.Entry) -> Row:
    """Write into a row where its sample lies in the tar."""
    row.offset, row.size = entry.offset, entry.size
    row.members = [asdict(member) for member in entry.members]
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
            meta = json.loads(data[spot.offset : spot.offset + spot.size])
            row, made_by = row_of(meta), str(meta["recipe"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the json member of sample {entry.key} does not describe a sample: {error!r}") from None
        if row.sample_id != entry.key:
            raise ValueError(f"the json member of sample {entry.key} describes {row.sample_id}")
        if made_by != recipe:
            raise ValueError(f"sample {entry.key} belongs to recipe {made_by[:12]}, not {recipe[:12]}")
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
