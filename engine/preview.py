"""The preview: chosen samples as pictures, the distributions of all, and the quarantine, as one page in the dataset."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from engine import document
from engine.document import Document
from engine.finalise import make_generator, shortfall
from engine.plan import SPLITS
from generators.types import Panel
from sinks import dataset
from sinks.card import human_bytes
from sinks.dataset import Totals
from sinks.gallery import distributions, gallery, panel_data
from sinks.index import Row
from sinks.pictures import readable
from sinks.store import Store

PAGE = "preview/index.html"
ROWS = 20_000  # index rows that distributions are drawn from
QUARANTINED = 1_000  # quarantined samples listed one by one
EDGES = (512, 384, 256)  # longest edge of a picture in pixels: the first with which all fit into
BUDGET = 12_000_000  # characters of pictures
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")  # what differs among reasons of one kind
ORDER: tuple[str, ...] = SPLITS


def preview(store: Store, samples: int = 48) -> str:
    """Make the gallery of a dataset, finished or growing, and store it beside the shards.

    Args:
        store: where the dataset lies.
        samples: how many are shown as pictures, spread evenly over splits and classes.

    Returns:
        Where the page is.

    Raises:
        DatasetError: where there is no dataset.
    """
    doc = document.read(store)
    survey = Survey(samples)
    survey.read(store)
    generator = make_generator(doc)
    shown = list(dataset.parallel(lambda item: _read(store, generator, *item), survey.chosen()))
    cards = [{**told, "panels": panels} for (told, _), panels in zip(shown, _pictures(shown), strict=True)]
    rows = [
        {"labels": json.loads(labels), "measured": measured, "redraws": redraws}
        for _, (labels, measured, redraws) in survey.rows.sorted()
    ]
    told = [card[part] for card in cards for part in ("labels", "measured", "drawn")]
    data = {
        **_facts(doc, survey.totals),
        "counts": [[*group, n] for group, n in sorted(survey.totals.per_class.items(), key=_group)],
        "distributions": {**distributions(rows), "rows": len(rows)},
        "names": {key: readable(key) for key in sorted(set(_keys(told)))},
        "samples": cards,
        "quarantine": {
            "total": survey.totals.quarantined,
            "reasons": [
                {"count": r.count, "text": str(r)}
                for r in sorted(survey.reasons.values(), key=lambda r: (-r.count, str(r)))
            ],
            "rows": [item for _, item in survey.quarantined.sorted()],
        },
    }
    store.put(PAGE, gallery(data))
    return store.url(PAGE)


def _pictures(shown: Sequence[tuple[dict[str, Any], Sequence[Panel]]]) -> list[list[dict[str, Any]]]:
    """Panels of all samples, encoded as large as the budget allows."""
    for edge in EDGES:
        encode = partial(panel_data, edge=edge)
        out = list(dataset.parallel(lambda item: [encode(panel) for panel in item[1]], shown))  # noqa: B023
        if sum(len(layer["png"]) for panels in out for panel in panels for layer in panel["layers"]) <= BUDGET:
            break
    return out


class Lot:
    """At most so many items of a stream, chosen by a hash of their names: evenly, whatever the order.

    A fixed stride would not do: where each subject has two cases, every second row is always the same one.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._heap: list[tuple[int, str, Any]] = []

    def add(self, name: str, item: Any) -> None:
        """Offer an item under its unique name."""
        rank = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, (-rank, name, item))
        elif self._heap and -rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (-rank, name, item))

    def __len__(self) -> int:
        return len(self._heap)

    def sorted(self, most: int | None = None) -> list[tuple[str, Any]]:
        """The first ``most`` by hash, in the order of their names."""
        first = sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))[:most]
        return sorted(((name, item) for _, name, item in first), key=lambda entry: entry[0])


@dataclass
class Reason:
    """Why samples are in quarantine; reasons that differ in numbers only are one."""

    words: list[str]
    numbers: list[str]  # between the words; an ellipsis where they differ among samples
    count: int = 0

    def __str__(self) -> str:
        return "".join(part for pair in zip(self.words, [*self.numbers, ""], strict=True) for part in pair)


@dataclass
class Survey:
    """What one pass over the indexes leaves: exact counts, and lots of rows."""

    samples: int
    totals: Totals = field(default_factory=Totals)
    rows: Lot = field(default_factory=lambda: Lot(ROWS))  # (labels as JSON, measured, redraws)
    groups: dict[tuple[str, str], Lot] = field(default_factory=dict)  # (split, class) -> (shard, row)
    quarantined: Lot = field(default_factory=lambda: Lot(QUARANTINED))
    reasons: dict[str, Reason] = field(default_factory=dict)

    def read(self, store: Store) -> None:
        """Read all indexes of a dataset."""
        for record, rows in dataset.indexes(store, dataset.committed(store)):
            self.totals.add(record, rows)
            for row in rows:
                if row.status == "ok":
                    group = (row.split, row.target or "all")
                    self.groups.setdefault(group, Lot(self.samples)).add(row.sample_id, (record.shard, row))
                    self.rows.add(row.sample_id, (row.labels or "{}", row.measured, row.redraws))
                else:
                    self._set_aside(row)

    def _set_aside(self, row: Row) -> None:
        reason = row.reason or "unknown"
        words, numbers = NUMBER.split(reason), NUMBER.findall(reason)
        group = self.reasons.setdefault("…".join(words), Reason(words, numbers))
        group.count += 1
        group.numbers = [old if old == new else "…" for old, new in zip(group.numbers, numbers, strict=True)]
        item = {"id": row.sample_id, "split": row.split, "class": row.target, "redraws": row.redraws, "reason": reason}
        self.quarantined.add(row.sample_id, item)

    def chosen(self) -> list[tuple[str, Row]]:
        """Shards and rows of the samples to show: as many of each split and class, as far as there are."""
        shares = dict.fromkeys(sorted(self.groups), 0)
        left = self.samples
        while left > 0 and (wanting := [group for group in shares if shares[group] < len(self.groups[group])]):
            for group in wanting[:left]:
                shares[group] += 1
            left -= len(wanting)
        lots = (self.groups[group].sorted(share) for group, share in shares.items())
        return [item for _, item in sorted((entry for lot in lots for entry in lot), key=_place)]


def _group(entry: tuple[tuple[str, str], int]) -> tuple[int, str]:
    (split, name), _ = entry
    return ORDER.index(split), name


def _place(entry: tuple[str, Any]) -> tuple[int, str]:
    return ORDER.index(entry[1][1].split), entry[0]


def _read(store: Store, generator: Any, shard: str, row: Row) -> tuple[dict[str, Any], list[Panel]]:
    """What the page tells of a sample, and its pictures. A sample that cannot be read must not cost the page."""
    told = {"id": row.sample_id, "split": row.split, "class": row.target or "all", "redraws": row.redraws}
    told |= {"shard": shard, "labels": json.loads(row.labels or "{}"), "measured": row.measured, "drawn": {}}
    try:
        fields = dataset.decoded(dataset.sample(store, shard, row))
        told["drawn"] = fields["json"]["drawn"]
        return told, generator.panels(fields, fields["json"])
    except Exception as error:  # storage, decoders and other people's generators raise anything
        # The message may hold the place's address, which has no business in a page that is passed on.
        return {**told, "fault": f"no pictures: {type(error).__name__}; see lesionforge verify"}, []


def _facts(doc: Document, totals: Totals) -> dict[str, Any]:
    missing = shortfall(doc, totals)
    return {
        "name": doc.recipe.name,
        "complete": not missing,
        "state": missing or "complete",
        "facts": [
            ["Samples", totals.samples],
            ["Planned", len(doc.plan)],
            ["Quarantined", totals.quarantined],
            ["Shards", totals.shards],
            ["Size", human_bytes(totals.bytes)],
            ["Generator", doc.recipe.generator.name],
            ["Multiply", f"×{doc.recipe.multiply}"],
            ["Seed", str(doc.recipe.seed)],
            ["Recipe", doc.identity[:12]],
            ["Made with", f"lesionforge {doc.versions['lesionforge']}"],
        ],
        "sources": [
            {"scheme": s.scheme, "subjects": s.subjects, "cases": s.subjects * s.cases_per_subject, "terms": s.licence}
            for s in doc.sources
        ],
    }


def _keys(value: Any) -> Iterator[str]:
    """Names of all values a page may show, at any depth."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        yield key
        yield from _keys(item)
    for item in value if isinstance(value, list) else ():
        yield from _keys(item)
