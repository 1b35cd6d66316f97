"""The commit protocol (promise P3): a shard is visible whole or not at all, exactly once.

1. The tar is put at its final name, create-only. If one is there already, from an attempt that died or is still
   running, it is read back. It may lack other samples than ours, which time and memory decide: then it is adopted, and
   what it holds is what gets committed, since another writer may be about to commit it. Where it holds other bytes of
   a sample that we made, too, it has rotted or another kind of machine has made it: it is dropped, unless its index is
   there by now or the manifest knows its hash.
2. DALI's index of that tar is put, the same whoever puts it.
3. The index is put create-only. Whoever creates it has committed the shard; the loser's work changes nothing.
4. The tar is looked at once more: ``gc`` takes one that lay without an index for long, and whoever slept between 1 and
   3 would have committed nothing. Then the shard is dropped and committed anew.

A shard is committed where index and tar both stand. One that is broken, or shall be made again, is dropped (`drop`):
the tar goes first, the index last, so that wherever that is cut short an index without a tar is left, which counts for
nothing and is dropped by the next run. A writer of that shard meanwhile loses at most its commit.

Where the place does not refuse the second of two creators, only one process ever writes final names (`stage`,
`publish`).
The worker stages its tar and its index under names of its own attempt. The driver, whose lease is the only run's
(`sinks.store.lease`), publishes them by two copies inside the server: the tar first, the index last, which commits.

- A worker that wakes up late, or a request of it that lands late, writes a name that nobody looks at.
- A copy repeated or landing late writes the same bytes once more.
- A driver that has failed, or is taken for dead, has lost its lease and then its stages before its successor begins.
  It looks for its lease before each shard, and a copy that it has under way fails, as its source is gone.

What is asked of the place: what was written is read and listed at once, and PUT and COPY are atomic. Not covered is a
server that executes two requests of one dead driver, a PUT and then a COPY, after its successor has begun.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from lesionforge.generators.types import UserError
from lesionforge.sinks import index, layout
from lesionforge.sinks.dali import dali
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.limits import INDEX
from lesionforge.sinks.store import Store, StoreError
from lesionforge.sinks.tar import Tar


class ForeignShard(UserError):
    """Something else lies where a shard should go."""


def commit(
    store: Store,
    shard: str,
    recipe: str,
    version: str,
    rows: Sequence[Row],
    body: Tar,
    known: Callable[[], str | None] = lambda: None,
) -> Record:
    """Commit a shard, or find it committed.

    Args:
        shard: its name.
        recipe: the dataset's identity.
        rows: one per planned sample, in order, the quarantined ones included.
        body: the shard's tar.
        known: looks up the SHA-256 that the shard's tar has by the dataset's manifest; asked where another tar lies
            there, which is then that one or is removed.

    Returns:
        The record that stands: ours, or that of the writer who was first.

    Raises:
        ForeignShard: where a tar of that name is there whose samples are not this shard's.
        StoreError: where the place cannot be written.
    """
    body.end()
    planned = rows
    created = store.put_new(layout.tar(shard), body.chunks)
    sha, size = body.close(), body.size  # the hash is made beside the writing; here it is needed
    if not created:
        data = store.get(layout.tar(shard))
        if (found := index.sha256(data)) != sha:
            free = not store.exists(layout.index(shard))  # else the record that came meanwhile decides
            wanted = known() if free else None
            rotten = wanted is not None and wanted != found  # whatever it holds
            if not rotten:
                rows = _adopt(store, shard, data, rows, recipe)
                sha, size = found, len(data)
                rotten = free and wanted is None and _differ(data, rows, body, planned)
            if rotten:
                remove(store, shard)
                return commit(store, shard, recipe, version, planned, body, known)
    lost = sum(row.status == "quarantined" for row in rows)
    record = Record(shard, recipe, sha, size, len(rows) - lost, lost, version)
    spans = dali(rows)
    if not store.put_new(layout.dali(shard), [spans]) and store.get(layout.dali(shard)) != spans:
        store.put(layout.dali(shard), spans)  # of an attempt whose tar was collected
    if not store.put_new(layout.index(shard), [index.write(rows, record)]):
        record = committed(store, shard, recipe)
    if record.tar_sha256 == sha and stands(store, shard, size):
        return record
    # The tar was collected before its index came, ours or that of the writer whose index this is.
    drop(store, shard, recipe)
    return commit(store, shard, recipe, version, planned, body, known)


def stands(store: Store, shard: str, size: int) -> bool:
    """Whether a shard's tar lies there, in that size (bytes)."""
    try:
        return store.size(layout.tar(shard)) == size
    except FileNotFoundError:
        return False


def drop(store: Store, shard: str, recipe: str) -> None:
    """Take a shard out of a dataset, so that it can be made again; the dataset is not finished from then on.

    Safe beside readers, who meet a missing tar, and writers; may be cut short anywhere and repeated.

    Raises:
        ForeignShard: where it was committed under another recipe, or something else lies there: it stays.
    """
    with contextlib.suppress(FileNotFoundError):
        committed(store, shard, recipe)
    remove(store, shard)


def remove(store: Store, shard: str) -> None:
    """The same for a shard that is known to be the dataset's, though its index may not be readable."""
    # _SUCCESS once more when the tar is gone: a run that ends right now has seen it, and finds it gone from then on.
    for path in (layout.SUCCESS, layout.tar(shard), layout.SUCCESS, layout.dali(shard), layout.index(shard)):
        store.delete(path)


def committed(store: Store, shard: str, recipe: str) -> Record:
    """The commit record of a shard.

    Raises:
        FileNotFoundError: where the shard is not committed.
        ForeignShard: where it was committed under another recipe, or something else lies there.
    """
    try:
        record = index.read_record(store.get(layout.index(shard), INDEX))
    except ValueError as error:
        raise ForeignShard(f"{store.url(layout.index(shard))}: {error}; remove it and run again") from None
    own(store, shard, record, recipe)
    return record


def own(store: Store, shard: str, record: Record, recipe: str) -> None:
    """Whether a shard was committed under a recipe; ForeignShard where it was not."""
    if record.recipe != recipe:
        raise ForeignShard(
            f"{store.url(layout.index(shard))} belongs to recipe {record.recipe[:12]}, not {recipe[:12]}; "
            "choose another output place"
        )


def stage(store: Store, shard: str, recipe: str, version: str, rows: Sequence[Row], body: Tar) -> tuple[Record, str]:
    """Leave a shard for the driver to publish; arguments as of `commit`.

    Returns:
        Its record, and the attempt's name.
    """
    attempt, hidden = f"{store.lease}/{uuid.uuid4().hex}", store.hidden()
    body.end()
    hidden.put(f"{attempt}.tar", body.chunks)
    sha = body.close()
    lost = sum(row.status == "quarantined" for row in rows)
    record = Record(shard, recipe, sha, body.size, len(rows) - lost, lost, version)
    hidden.put(f"{attempt}.idx", dali(rows))
    hidden.put(f"{attempt}.parquet", index.write(rows, record))
    return record, attempt


def publish(store: Store, shard: str, recipe: str, attempt: str) -> Record:
    """Commit a staged shard, or find it committed. Only for the process whose lease is there, checked just before.

    Raises:
        ForeignShard: where it was committed under another recipe.
        StoreError: where the place cannot be written, or the stage was taken away.
    """
    if not store.exists(layout.index(shard)):
        try:
            store.publish(f"{attempt}.tar", layout.tar(shard))
            store.publish(f"{attempt}.idx", layout.dali(shard))
            store.publish(f"{attempt}.parquet", layout.index(shard))
        except FileNotFoundError:
            raise StoreError(
                f"what was staged for {store.url(layout.tar(shard))} is gone: another run has taken this place over"
            ) from None
    for suffix in ("tar", "idx", "parquet"):
        with contextlib.suppress(StoreError):  # it is committed; gc finds what stays
            store.hidden().delete(f"{attempt}.{suffix}")
    return committed(store, shard, recipe)


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


def _differ(data: bytes, rows: Sequence[Row], body: Tar, ours: Sequence[Row]) -> bool:
    """Whether a tar holds other bytes of a sample than our own does; the rows of both, in the plan's order."""
    spans = ((row.offset, row.size, our.offset, our.size) for row, our in zip(rows, ours, strict=True))
    return any(
        a is not None and b is not None and c is not None and d is not None and data[a : a + b] != body.span(c, d)
        for a, b, c, d in spans
    )


def _adopt(store: Store, shard: str, data: bytes, rows: Sequence[Row], recipe: str) -> list[Row]:
    try:
        return rebuilt_rows(data, rows, "quarantined by the attempt that wrote this shard's tar", recipe)
    except (ValueError, KeyError, TypeError) as error:
        where = store.url(layout.tar(shard))
        raise ForeignShard(f"{where} is no shard of this dataset ({error}); remove it and run again") from None
