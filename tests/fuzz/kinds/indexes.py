"""Commit records: rows and totals that are wrong, other schemas, footers and pages that are, and absurd row counts."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lesionforge.sinks.index import SCHEMA
from tests.fuzz.kinds import datasets
from tests.fuzz.mutate import Rng, number, plain, some_bytes, value, word

NOTICED = "error"
told = datasets.told
run = datasets.consume
INDEX = "index/train-000000.parquet"
OFFSETS = (-1, 0, 1, 511, 512, 2**31, 2**40, 2**62, 2**63 - 1)


def build(rng: Rng, folder: Path) -> None:
    """A dataset whose first index is spoiled, or lies under another name."""
    if rng.sound:
        datasets.write(folder, {})
        return
    name = rng.choice(
        (INDEX, INDEX, INDEX, INDEX, "index/test-000000.parquet", "index/x.parquet", "index/a b-..parquet")
    )
    datasets.write(folder, {INDEX: None, name: spoil(rng, datasets.sound()[INDEX])})


def spoil(rng: Rng, data: bytes) -> bytes:
    """Bytes, rows, totals or schema."""
    draw = rng.random()
    if draw < 0.25:
        return some_bytes(rng, data)
    if draw < 0.4:  # the footer
        size = int.from_bytes(data[-8:-4], "little")
        at = len(data) - 8 - size
        return data[:at] + some_bytes(rng, data[at:-8]) + rng.choice((data[-8:], data[-8:], b"\xff\xff\xff\x7fPAR1"))
    if draw < 0.43:
        return many_rows(rng.choice((2_000_000, 5_000_000)))
    table = opened(data)
    metadata = dict(table.schema.metadata)
    rows = table.to_pylist()
    if draw < 0.6:
        metadata[b"lesionforge"] = totals(rng, metadata[b"lesionforge"])
    elif draw < 0.7:
        return other_schema(rng, table)
    else:
        for _ in range(rng.choice((1, 1, 2))):
            spoil_row(rng, rows)
    try:
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, AttributeError):
        return some_bytes(rng, data)
    return parquet(table.replace_schema_metadata(metadata))


def opened(data: bytes) -> pa.Table:
    """The rows, with the metadata of the footer as their schema's."""
    told = pq.read_metadata(io.BytesIO(data)).metadata
    metadata = {key: value for key, value in told.items() if key != b"ARROW:schema"}
    return pq.read_table(io.BytesIO(data)).replace_schema_metadata(metadata)


def parquet(table: pa.Table) -> bytes:
    """The file."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def totals(rng: Rng, raw: bytes) -> bytes:
    """The record of the shard's totals."""
    told: Any = json.loads(raw)
    match rng.randrange(5):
        case 0:
            told[rng.choice(tuple(told))] = value(rng)
        case 1:
            told["tar_sha256"] = rng.choice(("../../outside", "/tmp/outside", "", "0" * 64, "A" * 64))
        case 2:
            told["shard"] = rng.choice(("../../outside", "/etc/passwd", "train-000001", "x", "test-000000", "-", ""))
        case 3:
            told[rng.choice(("tar_bytes", "samples", "quarantined"))] = number(rng, 3)
        case 4:
            told = plain(rng, told)
    return rng.choice((json.dumps(told).encode("utf-8", "replace"), json.dumps(told).encode(), b"{", b"\xff", b"[]"))


def spoil_row(rng: Rng, rows: list[dict[str, Any]]) -> None:
    """One fault in one row."""
    if not rows:
        return
    row = rng.choice(rows)
    match rng.randrange(9):
        case 0:
            row["sample_id"] = rng.choice(("../../outside", "/tmp/outside", "a/b", "", "x" * 500, rows[0]["sample_id"]))
        case 1:
            row[rng.choice(("offset", "size"))] = rng.choice((*OFFSETS, None))
        case 2 if row["members"]:
            part = rng.choice(row["members"])
            part[rng.choice(("offset", "size"))] = rng.choice((*OFFSETS, None))
        case 3 if row["members"]:
            rng.choice(row["members"])["name"] = rng.choice(("../x.png", "json", "image.png", "x.pickle", "", None))
        case 4:
            row["labels"] = rng.choice(("{", "[" * 100_000, "null", '"x"', "NaN", '{"lesions": 3}', None))
        case 5:
            row["members"] = rng.choice((None, [], [None]))
        case 6:
            row[rng.choice(("split", "status", "target", "reason", "subject"))] = rng.choice((word(rng), "test", "ok"))
        case 7:
            row["measured"] = rng.choice((None, [], [("a", float("nan"))] * 3, [("", float("inf"))]))
        case _:
            rng.choice((lambda: rows.pop(), lambda: rows.append(row), rows.clear, rows.reverse))()


def other_schema(rng: Rng, table: pa.Table) -> bytes:
    """Columns lost, renamed, doubled or of another type."""
    names = table.column_names
    name = rng.choice(names)
    at = names.index(name)
    match rng.randrange(5):
        case 0:
            table = table.drop_columns([name])
        case 1:
            table = table.rename_columns([n if n != name else word(rng)[:50] for n in names])
        case 2:
            table = table.append_column(rng.choice((name, "more")), pa.array([1] * len(table)))
        case 3:
            kind = rng.choice((pa.int64(), pa.string(), pa.binary(), pa.float64(), pa.list_(pa.int8()), pa.bool_()))
            table = table.set_column(at, name, pa.nulls(len(table), kind))
        case 4:
            table = pa.table({"x": [1, 2]}).replace_schema_metadata(table.schema.metadata)
    return parquet(table)


@cache
def many_rows(count: int) -> bytes:
    """A small file of millions of rows, all alike."""
    data = datasets.sound()[INDEX]
    one = opened(data).slice(0, 1)
    chunk = pa.concat_tables([one] * 1000).combine_chunks()
    table = pa.concat_tables([chunk] * 100)
    out = io.BytesIO()
    with pq.ParquetWriter(out, table.schema, compression="zstd") as writer:
        for _ in range(count // len(table)):
            writer.write_table(table)
    return out.getvalue()
