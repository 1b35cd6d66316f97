"""Whether the rows of an index can be those of a shard: looked at before anything believes them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lesionforge.generators.types import SPLITS
from lesionforge.sinks import tar


def check_rows(table: pa.Table, tar_bytes: int) -> None:
    """Whether rows can be a shard's: an id names a file, so it may lead nowhere else; a range lies inside the tar.

    Raises:
        ValueError: saying what cannot be.
    """
    ids = table["sample_id"]
    if not (_all(pc.match_substring_regex(ids, f"^{tar.KEY}$")) and _all(pc.less(pc.utf8_length(ids), tar.MAX_NAME))):
        raise ValueError("an id is no sample's")
    if pc.count_distinct(ids).as_py() < len(table):
        raise ValueError("a sample stands in it twice")
    kept = table.filter(pc.equal(table["status"], "ok"))
    if not _all(pc.is_in(table["status"], pa.array(["ok", "quarantined"]))):
        raise ValueError("a row is neither ok nor quarantined")
    if not _all(pc.is_in(table["split"], pa.array(SPLITS))):
        raise ValueError("a row is of no split")
    if "labels" in kept.column_names and kept["labels"].null_count:
        raise ValueError("a sample has no labels")
    if kept["members"].null_count or pc.any(pc.equal(pc.list_value_length(kept["members"]), 0)).as_py():
        raise ValueError("a sample has no members")
    members = pc.list_flatten(kept["members"]).combine_chunks()
    if members.null_count or not _all(pc.match_substring_regex(members.field("name"), f"^{tar.FIELD}$")):
        raise ValueError("a member has a name that no tar here has")
    spans = [members] + ([kept] if "offset" in table.column_names else [])
    for span in spans:
        offset, size = (span.field(n) if span is members else span[n] for n in ("offset", "size"))
        if offset.null_count or size.null_count:
            raise ValueError("a sample has no place in the tar")
        inside = pc.and_(pc.greater_equal(offset, 0), pc.greater_equal(size, 0))
        inside = pc.and_(inside, pc.less_equal(size, tar_bytes))
        if not (_all(inside) and _all(pc.less_equal(pc.add(offset, size), tar_bytes))):
            raise ValueError(f"a sample lies outside the {tar_bytes} bytes of the tar")


def _all(truths: Any) -> bool:
    return bool(pc.all(truths, skip_nulls=False, min_count=0).as_py())
