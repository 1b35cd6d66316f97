"""Removing what nobody refers to: what interrupted and lost attempts have left in a dataset's place.

Leftovers are known by their names: unfinished files, probes, stages and leases in ``.tmp/``; a tar, or DALI's index of
one, without a commit record. Nothing else is touched, nor a tar that the manifest names: its index was lost later and
can be rebuilt. There are no unfinished multipart uploads to look for, as every object is sent in one PUT.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lesionforge.sinks import layout, manifest
from lesionforge.sinks.store import Store, StoreError, lease
from lesionforge.sinks.store.backend import TEMPORARY, Entry

YOUNG = 3600.0  # seconds for which an object is left alone, whoever made it
_HIDDEN = re.compile(
    rf"(probe-)?[0-9a-f]{{32}}|{lease.NAME.pattern}|[0-9a-f]{{32}}/[0-9a-f]{{32}}(\.tar|\.idx|\.parquet)?"
)


@dataclass
class Collected:
    """What was removed, or would be; names relative to the place."""

    removed: list[Entry] = field(default_factory=list)
    young: list[Entry] = field(default_factory=list)  # left alone for their age
    kept: list[Entry] = field(default_factory=list)  # tars of a finished dataset without their index


def collect(
    store: Store, dry_run: bool = False, young: float = YOUNG, notify: Callable[[str], None] = lambda line: None
) -> Collected:
    """Remove the leftovers of a place, with no run at work there.

    Args:
        dry_run: only look; ages go by this machine's clock then, else by the place's.
        young: seconds; what is younger stays.
        notify: called with one line if it has to be waited until a lease is known to be a dead run's.

    Raises:
        StoreError: a run is at work there, or the place cannot be read or written.
    """
    found = Collected()
    if not store.exists(layout.RECIPE) and not store.hidden().list():
        raise StoreError(f"{store.url()} holds no dataset, nor leftovers of one: correct the place")
    if dry_run:
        found.removed += _old(store, time.time() - young, found)
        return found
    store.probe()
    with lease.hold(store, "gc", notify) as held:
        for entry in _old(store, held.entered - young, found, held.name):
            held.check()
            if entry.name.startswith(f"{TEMPORARY}/"):
                store.hidden().delete(entry.name.removeprefix(f"{TEMPORARY}/"))
            elif store.exists(layout.index(_shard(entry.name))):
                continue  # looked at anew, right before: a worker whose driver is dead has committed it
            else:
                store.delete(entry.name)
                if store.exists(layout.index(_shard(entry.name))):  # and it has, at this very moment
                    store.delete(layout.SUCCESS)
            found.removed.append(entry)
    return found


def _old(store: Store, before: float, found: Collected, own: str = "") -> Iterator[Entry]:
    """Leftovers that are known to be as old as ``before``; the others are put into ``found``."""
    for entry in _leftovers(store, found, own):
        if 0 < entry.mtime <= before:
            yield entry
        else:
            found.young.append(entry)


def _leftovers(store: Store, found: Collected, own: str) -> list[Entry]:
    hidden = [entry for entry in store.hidden().list() if _HIDDEN.fullmatch(entry.name) and entry.name != own]
    out = [entry._replace(name=f"{TEMPORARY}/{entry.name}") for entry in hidden]
    if not store.exists(layout.RECIPE):
        return out  # no dataset of ours
    data = [*store.list(layout.SHARDS), *store.list(layout.DALI)]
    committed = {entry.name for entry in store.scan(layout.INDEX)}  # listed last: a tar is there before its index
    lost = [
        entry
        for entry in data
        if re.fullmatch(rf"{layout.SHARDS}/[^/]+\.tar|{layout.DALI}/[^/]+\.idx", entry.name)
        and layout.index(_shard(entry.name)) not in committed
    ]
    finished = _finished(store) if lost else set()
    for entry in lost:
        (found.kept if _shard(entry.name) in finished else out).append(entry)
    return out


def _finished(store: Store) -> set[str]:
    """Shards that the manifest names."""
    try:
        return {shard["name"] for shard in manifest.shards(store)}
    except FileNotFoundError:
        return set()


def _shard(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
