"""Small commit records that become large."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lesionforge.sinks.index import SCHEMA, Record


def table(columns: Mapping[str, Any], rows: int, **options: Any) -> bytes:
    """A record of lost samples, with some columns of its own."""
    constant = {"split": "train", "variant": 0, "source": 0, "case": 0, "status": "quarantined", "redraws": 0}
    arrays = []
    for field in SCHEMA:
        if field.name in columns:
            arrays.append(columns[field.name])
        elif field.name == "sample_id":
            arrays.append(pa.array(range(rows)).cast(pa.string()))
        elif field.name in constant:
            arrays.append(pa.repeat(pa.scalar(constant[field.name], field.type), rows))
        else:
            arrays.append(pa.nulls(rows, field.type))
    told = json.dumps(vars(Record("train-000000", "a" * 64, "b" * 64, 2**40, 0, rows, "1")))
    made = pa.table(arrays, schema=SCHEMA).replace_schema_metadata(
        {"lesionforge": told, "lesionforge.summary": b"{}"},
    )
    out = io.BytesIO()
    pq.write_table(made, out, compression="zstd", write_statistics=False, **options)
    return out.getvalue()


def dictionary() -> bytes:
    """1,400 reasons of 100,000 letters, one text in its dictionary."""
    return table({"reason": pa.chunked_array([pa.repeat(pa.scalar("x" * 100_000), 350)] * 4)}, 1400)


def prefixes() -> bytes:
    """Reasons that are each the last one and a few letters."""
    reasons = pa.array([f"{'x' * 90_000}{n:04d}" for n in range(300)])
    return table({"reason": reasons}, 300, use_dictionary=False, column_encoding={"reason": "DELTA_BYTE_ARRAY"})


def members(many: int) -> bytes:
    """One row of so many members."""
    zeros = pa.repeat(pa.scalar(0, pa.int64()), many)
    kinds = list(SCHEMA.field("members").type.value_type)
    member = pa.StructArray.from_arrays([pa.repeat(pa.scalar("json"), many), zeros, zeros], fields=kinds)
    return table({"members": pa.ListArray.from_arrays([0, many], member)}, 1)
