"""Committing where the place does not refuse the second of two creators: only one process ever writes final names.

The worker stages its tar and its index under names of its own attempt. The driver, whose mark is the only run's
(`sinks.store.lease`), publishes them by two copies inside the server: the tar first, the index last, which commits.

- A worker that wakes up late, or a request of it that lands late, writes a name that nobody looks at.
- A copy repeated or landing late writes the same bytes once more.
- A driver that has failed, or is taken for dead, has lost its mark and then its stages before its successor begins.
  It looks for its mark before each shard, and a copy that it has under way fails, as its source is gone.

What is asked of the place: what was written is read and listed at once, and PUT and COPY are atomic. Not covered is a
server that executes two requests of one dead driver, a PUT and then a COPY, after its successor has begun.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence

from lesionforge.sinks import index, layout
from lesionforge.sinks.commit import committed
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.store.errors import StoreError
from lesionforge.sinks.store.store import Store
from lesionforge.sinks.tar import Tar


def stage(store: Store, shard: str, recipe: str, version: str, rows: Sequence[Row], body: Tar) -> tuple[Record, str]:
    """Leave a shard for the driver to publish; arguments as of `sinks.commit.commit`.

    Returns:
        Its record, and the attempt's name.
    """
    attempt, hidden = f"{store.lease}/{uuid.uuid4().hex}", store.hidden()
    body.end()
    hidden.put(f"{attempt}.tar", body.chunks)
    sha = body.close()
    lost = sum(row.status == "quarantined" for row in rows)
    record = Record(shard, recipe, sha, body.size, len(rows) - lost, lost, version)
    hidden.put(f"{attempt}.parquet", index.write(rows, record))
    return record, attempt


def publish(store: Store, shard: str, recipe: str, attempt: str) -> Record:
    """Commit a staged shard, or find it committed. Only for the process whose mark is there, checked just before.

    Raises:
        ForeignShard: where it was committed under another recipe.
        StoreError: where the place cannot be written, or the stage was taken away.
    """
    if not store.exists(layout.index(shard)):
        try:
            store.publish(f"{attempt}.tar", layout.tar(shard))
            store.publish(f"{attempt}.parquet", layout.index(shard))
        except FileNotFoundError:
            raise StoreError(
                f"what was staged for {store.url(layout.tar(shard))} is gone: another run has taken this place over"
            ) from None
    for suffix in ("tar", "parquet"):
        with contextlib.suppress(StoreError):  # it is committed; gc finds what stays
            store.hidden().delete(f"{attempt}.{suffix}")
    return committed(store, shard, recipe)
