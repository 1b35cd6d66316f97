"""The commit protocol (promise P3): a shard is visible whole or not at all, exactly once.

1. The tar is put at its final name, create-only. If one is there already, from an attempt that died or is still
   running, it is adopted: its bytes are read back, and what they hold is what gets committed. It is never replaced,
   since another writer may be about to commit it.
2. The index is put create-only. Whoever creates it has committed the shard; the loser's work changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lesionforge.sinks import index, layout
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.store.store import Store
from lesionforge.sinks.tar import Tar


class ForeignShard(Exception):
    """Something else lies where a shard should go."""


def commit(store: Store, shard: str, recipe: str, version: str, rows: Sequence[Row], body: Tar) -> Record:
    """Commit a shard, or find it committed.

    Args:
        shard: its name.
        recipe: the dataset's identity.
        rows: one per planned sample, in order, the quarantined ones included.
        body: the shard's tar.

    Returns:
        The record that stands: ours, or that of the writer who was first.

    Raises:
        ForeignShard: where a tar of that name is there whose samples are not this shard's.
        StoreError: where the place cannot be written.
    """
    body.end()
    mine = store.put_new(layout.tar(shard), body.chunks)
    sha, size = body.close(), body.size  # the hash is made beside the writing; here it is needed
    if not mine:
        data = store.get(layout.tar(shard))
        if index.sha256(data) != sha:
            rows = _adopt(store, shard, data, rows, recipe)
            sha, size = index.sha256(data), len(data)
    lost = sum(row.status == "quarantined" for row in rows)
    record = Record(shard, recipe, sha, size, len(rows) - lost, lost, version)
    if store.put_new(layout.index(shard), [index.write(rows, record)]):
        return record
    return committed(store, shard, recipe)


def committed(store: Store, shard: str, recipe: str) -> Record:
    """The commit record of a shard.

    Raises:
        FileNotFoundError: where the shard is not committed.
        ForeignShard: where it was committed under another recipe, or something else lies there.
    """
    try:
        record = index.read_record(store.get(layout.index(shard)))
    except ValueError as error:
        raise ForeignShard(f"{store.url(layout.index(shard))}: {error}; remove it and run again") from None
    if record.recipe != recipe:
        raise ForeignShard(
            f"{store.url(layout.index(shard))} belongs to recipe {record.recipe[:12]}, not {recipe[:12]}; "
            "choose another output place"
        )
    return record


def rebuilt_rows(data: bytes, planned: Sequence[Row], missing: str, recipe: str) -> list[Row]:
    """Rows for a tar as it stands: its samples as they are; a planned one that it lacks is quarantined.

    Args:
        data: the tar.
        planned: a row per planned sample; one that is quarantined keeps its reason.
        missing: the reason of the others that the tar lacks.
        recipe: the dataset's identity.

    Raises:
        ValueError, KeyError, TypeError: where the tar is no shard, or holds a sample that was not planned.
    """
    found = {row.sample_id: row for row in index.from_tar(data, recipe)}
    foreign = set(found) - {row.sample_id for row in planned}
    if foreign:
        raise ValueError(f"it holds sample {min(foreign)}, which is not planned here")
    return [found.get(row.sample_id) or _quarantined(row, missing) for row in planned]


def _quarantined(row: Row, missing: str) -> Row:
    if row.status == "quarantined":
        return row
    blank = Row(row.sample_id, row.split, row.variant, row.source, row.case, row.target)
    return replace(blank, status="quarantined", reason=missing)


def _adopt(store: Store, shard: str, data: bytes, rows: Sequence[Row], recipe: str) -> list[Row]:
    try:
        return rebuilt_rows(data, rows, "quarantined by the attempt that wrote this shard's tar", recipe)
    except (ValueError, KeyError, TypeError) as error:
        where = store.url(layout.tar(shard))
        raise ForeignShard(f"{where} is no shard of this dataset ({error}); remove it and run again") from None
