"""Finishing a dataset: manifest, indexes for other readers, card, contact sheets, and ``_SUCCESS`` last.

Nothing is taken on trust: what is there is what one listing says, each shard what its own record says, and its tar must
have the size that was committed. As others may be at work in the place, it is looked at again in the end; where it is
another by then, all is written anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lesionforge.engine import trust
from lesionforge.engine.dataset import DatasetDescription, DatasetError, standing
from lesionforge.generators.base import Generator
from lesionforge.sinks import dataset, layout
from lesionforge.sinks.apart import Apart, overlap
from lesionforge.sinks.card import card, counted
from lesionforge.sinks.commit import own
from lesionforge.sinks.dali import dali
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.limits import DOCUMENT
from lesionforge.sinks.listing import Listing, entries, look
from lesionforge.sinks.manifest import Contents
from lesionforge.sinks.pictures.names import caption
from lesionforge.sinks.pictures.sheet import Shown, contact_sheet
from lesionforge.sinks.reservoir import Choice
from lesionforge.sinks.store import Store
from lesionforge.sinks.summary import SHOWN, Summary

LOOKS = 5  # times that a place may be found changed
NAMED = 3  # strays told by name


@dataclass
class Ending:
    """How a dataset ended.

    Attributes:
        manifest: as it was written, parsed.
        problem: why there is no ``_SUCCESS``, or an empty string.
        broken: shards that are committed, but not whole: to be dropped and made again.
    """

    manifest: dict[str, Any]
    problem: str
    broken: list[str]


def finalise(store: Store, doc: DatasetDescription) -> Ending:
    """Write everything that describes the committed shards; ``_SUCCESS`` only where nothing is amiss.

    Raises:
        ForeignShard: where a shard is of another dataset, or cannot be read.
        DatasetError: where the place has become another dataset's.
    """
    generator = trust.generator(doc, trust=True)  # it is that of the recipe that the run was given
    doc = standing(store, doc)
    listing = look(store, doc.plan)
    for _ in range(LOOKS):
        ending = _written(store, doc, generator, listing)
        before, doc = (doc, listing), standing(store, doc)
        listing = look(store, doc.plan)
        if (doc, listing) == before:
            return ending
    store.delete(layout.SUCCESS)
    ending.problem = "other runs or gc are at work in this place: run the same generate command again at their end"
    return ending


class Account:
    """What describes a dataset, as its shards' records add up to it: to be written, or held against what is there."""

    def __init__(self, doc: DatasetDescription, put: Callable[[str, bytes], None]) -> None:
        """``put`` takes the path and the bytes of each part of the manifest."""
        self.doc, self.totals, self.contents = doc, Totals(), Contents(put)
        self._apart = Apart(sum(source.cases for source in doc.sources))
        self._choice = {split: Choice(SHOWN) for split in doc.plan.splits}

    def add(self, k: int, record: Record, summary: Summary) -> None:
        """Add shard ``k`` of the plan; in the plan's order."""
        split = self.doc.plan.shard(k).split
        self.totals.add(record, summary)
        self.contents.add(k, record)
        if len(self.doc.plan.splits) > 1:
            self._apart.add(split, summary.marks)
        for group, ids in summary.ids.items():
            for sample_id in ids:
                self._choice[split].add(group, sample_id, (record.shard, sample_id))

    def shown(self, store: Store) -> dict[str, list[tuple[str, Row]]]:
        """Of every split that has samples: those of its contact sheet, with their shards."""
        chosen = ((split, _rows(store, choice.chosen())) for split, choice in self._choice.items())
        return {split: rows for split, rows in chosen if rows}

    def overlap(self, store: Store, shards: Iterable[str]) -> str:
        """What stands in two splits, in one line; an empty string where nothing does. ``shards``: those added."""
        return overlap(store, self._apart, shards)

    def manifest(self) -> bytes:
        """``manifest.json``; its last part is put before."""
        planned = {"samples": len(self.doc.plan), "shards": self.doc.plan.shards}
        return self.contents.manifest(self.doc.recipe.name, self.doc.identity, planned, self.totals)

    def wids(self) -> list[bytes | bytearray]:
        """``wids.json``, in pieces."""
        return self.contents.wids(self.doc.recipe.name)

    def card(self, body: bytes, shown: Mapping[str, Sequence[tuple[str, Row]]], limits: Sequence[str]) -> bytes:
        """The card that goes with the manifest ``body``."""
        last = list(shown.values())[-1:]
        members = [m["name"] for rows in last for m in rows[0][1].members or ()]
        return card(json.loads(body), json.loads(self.doc.to_bytes()), members, limits)


def _written(store: Store, doc: DatasetDescription, generator: Generator, listing: Listing) -> Ending:
    plan, account, broken = doc.plan, Account(doc, store.put), [doc.plan.shard(k).name for k in listing.torn()]
    indexed = bytearray(plan.shards)
    for k, _ in entries(store, plan, layout.DALI, "idx"):
        if k is not None:
            indexed[k] = True
    numbers = list(listing.committed())
    wanted = ((plan.shard(k).name, listing.indexes[k]) for k in numbers)
    for k, found in zip(numbers, dataset.footers(store, wanted), strict=True):
        if found is None:
            continue  # the next look finds it gone, too
        record, summary = found
        own(store, record.shard, record, doc.identity)
        if record.samples + record.quarantined != len(plan.shard(k)) or record.tar_bytes != listing.tars[k]:
            broken.append(record.shard)
            continue
        account.add(k, record, summary)
        if not indexed[k]:
            ((_, rows),) = dataset.indexes(store, [record.shard])
            store.put(layout.dali(record.shard), dali(rows))
    shown = account.shown(store)
    for split, chosen in shown.items():
        title = f"{doc.recipe.name}: {split}, {account.totals.per_split[split]} samples"
        sheet = contact_sheet(title, [show(store, generator, shard, row) for shard, row in chosen])
        store.put(layout.sheet(split), sheet)
    body = account.manifest()
    for path in account.contents.extra(store):
        store.delete(path)
    store.put(layout.WIDS, account.wids())
    store.put(layout.CARD, account.card(body, shown, generator.limits))
    problem = (
        shortfall(doc, account.totals)
        or strays(doc, listing.foreign)
        or account.overlap(store, (plan.shard(k).name for k in numbers))
    )
    if problem:
        store.delete(layout.SUCCESS)
    store.put(layout.MANIFEST, body)
    if not problem:
        store.put(layout.SUCCESS, f"{hashlib.sha256(body).hexdigest()}\n".encode())
    return Ending(json.loads(body), problem, broken)


def _rows(store: Store, chosen: list[tuple[str, str]]) -> list[tuple[str, Row]]:
    """The rows of samples, given as (shard, id), from the indexes of their shards."""
    ids = defaultdict[str, set[str]](set)
    for shard, sample_id in chosen:
        ids[shard].add(sample_id)
    found = dict[str, Row]()
    for record, rows in dataset.indexes(store, ids):
        found |= {row.sample_id: row for row in rows if row.sample_id in ids[record.shard]}
    return [(shard, found[sample_id]) for shard, sample_id in chosen]


def vouched(store: Store) -> bool:
    """Whether ``_SUCCESS`` is there and was written for the manifest that is there."""
    try:
        told = store.get(layout.SUCCESS, 1000).decode("ascii", "replace").strip()
        return told == hashlib.sha256(store.get(layout.MANIFEST, DOCUMENT)).hexdigest()
    except FileNotFoundError:
        return False


def strays(doc: DatasetDescription, names: Sequence[str]) -> str:
    """That there are shards which a dataset does not plan, in one line; an empty string where there are none."""
    if not names:
        return ""
    shown = ", ".join(map(repr, names[:NAMED])) + ", ..." * (len(names) > NAMED)
    return (
        f"there are shards that the recipe (x{doc.recipe.multiply}) does not plan: {shown}; set multiply to what they "
        "were made with, or take them away"
    )


def shortfall(doc: DatasetDescription, totals: Totals) -> str:
    """Why the recipe's quota is not met, or an empty string."""
    plan = doc.plan
    if totals.shards < plan.shards:
        return f"{plan.shards - totals.shards} of {counted(plan.shards, 'shard')} not made yet"
    allowed = doc.recipe.quality.max_quarantined
    if totals.quarantined > allowed * len(plan):
        return (
            f"quota not met: {totals.samples} of {len(plan)} samples, {totals.quarantined} quarantined; "
            f"quality.max_quarantined allows {allowed:.4g} of them"
        )
    return ""


def show(store: Store, generator: Generator, shard: str, row: Row) -> Shown:
    """One sample as people see it.

    Raises:
        DatasetError: where its members are not what its index says, or the generator cannot show them.
    """
    try:
        fields = dataset.decoded(dataset.sample(store, shard, row))
        panels = generator.panels(fields, fields["json"])
    except Exception as error:  # decoders and other people's generators raise anything
        where = f"sample {row.sample_id} in {store.url(layout.tar(shard))}"
        raise DatasetError(f"{where} cannot be shown ({type(error).__name__}); see lesionforge verify") from error
    return Shown(row.sample_id, caption(row.target, row.measured), panels)
