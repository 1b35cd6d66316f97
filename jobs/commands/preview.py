"""``lesionforge preview``: chosen samples as pictures, the distributions of all, and the quarantine, as one page."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import dataset as document
from lesionforge.engine import trust as trusted
from lesionforge.engine.dataset import DatasetDescription
from lesionforge.engine.finalise import shortfall
from lesionforge.generators.base import Generator
from lesionforge.generators.types import SPLITS, Panel
from lesionforge.jobs import console, errors
from lesionforge.sinks import dataset, index, layout
from lesionforge.sinks.card import human_bytes
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.index import Row
from lesionforge.sinks.limits import parsed
from lesionforge.sinks.pictures.gallery import distributions, gallery, panel_data
from lesionforge.sinks.pictures.names import readable
from lesionforge.sinks.reservoir import Choice, Reservoir
from lesionforge.sinks.store import Store

EDGES = (512, 384, 256)  # longest edge of a picture in pixels: the first with which all fit into
BUDGET = 12_000_000  # characters of pictures
ROWS = 20_000  # index rows that distributions are drawn from
QUARANTINED = 1_000  # quarantined samples listed one by one


@dataclass
class Survey:
    """What one pass over all rows leaves: exact counts, and even choices of them."""

    choice: Choice  # of (shard, row)
    totals: Totals = field(default_factory=Totals)
    rows: Reservoir = field(default_factory=lambda: Reservoir(ROWS))  # (labels as JSON, measured, redraws)
    quarantined: Reservoir = field(default_factory=lambda: Reservoir(QUARANTINED))

    def read(self, store: Store) -> None:
        """Read all indexes of a dataset."""
        for record, rows in dataset.indexes(store, dataset.committed(store)):
            self.totals.add(record, index.summarise(rows))
            for row in rows:
                if row.status == "ok":
                    self.choice.add((row.split, row.target or "all"), row.sample_id, (record.shard, row))
                    self.rows.add(row.sample_id, (row.labels or "{}", row.measured, row.redraws))
                else:
                    item = {"id": row.sample_id, "split": row.split, "class": row.target, "redraws": row.redraws}
                    self.quarantined.add(row.sample_id, {**item, "reason": row.reason or "unknown"})


@dataclass(repr=False)
class Preview(console.CommandResult):
    """A gallery that was written. ``page`` is the whole of it, as a notebook shows it."""

    preview: str
    page: bytes

    def body(self) -> dict[str, Any]:
        """For machines."""
        return {"preview": self.preview}

    def show(self, to: Console = console.out) -> None:
        """For people: what to open, or how to come by it where no browser reads the address."""
        if "://" in self.preview:
            to.print(
                f"written to {self.preview}, which no browser opens: add --to FOLDER for a copy here", markup=False
            )
        else:
            to.print(f"open {self.preview}", markup=False)

    def _repr_html_(self) -> str:
        page = html.escape(self.page.decode())
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="width: 100%; height: 50em; border: 0"></iframe>'


def preview(place: str | Path | Store, samples: int = 48, to: str | Path | None = None, trust: bool = False) -> Preview:
    """Make the gallery of a dataset, finished or growing, one page that needs nothing else.

    Args:
        place: where the dataset lies, or a store.
        samples: how many are shown as pictures, spread evenly over splits and classes.
        to: a folder to write the page into; ``None`` stores it beside the shards.
        trust: import the generator that the dataset names, whatever that is: see ``engine.trust``.

    Raises:
        DatasetError: where there is no dataset.
        UsageError: for less than one sample, or a folder that cannot be written.
    """
    errors.positive("samples", samples)
    store = place if isinstance(place, Store) else Store(str(place))
    doc = document.read(store)
    generator = trusted.generator(doc, trust)
    survey = Survey(Choice(samples))
    survey.read(store)
    shown = list(dataset.parallel(lambda item: _read(store, generator, *item), survey.choice.chosen()))
    cards = [{**told, "panels": panels} for (told, _), panels in zip(shown, _pictures(shown), strict=True)]
    rows = [
        {"labels": parsed(labels), "measured": measured, "redraws": redraws}
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
            "reasons": [{"count": count, "text": reason} for reason, count in survey.totals.reasons],
            "rows": [item for _, item in survey.quarantined.sorted()],
        },
    }
    page = gallery(data)
    if to is None:
        store.put(layout.PREVIEW, page)
        return Preview(store.url(layout.PREVIEW), page)
    file = Path(to).absolute() / Path(layout.PREVIEW).name
    try:  # somebody's folder, in which a store would leave its own
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(page)
    except OSError as error:
        raise errors.UsageError(f"to is {to}: cannot be written: {error.strerror}; give a folder here") from None
    return Preview(str(file), page)


def _pictures(shown: Sequence[tuple[dict[str, Any], Sequence[Panel]]]) -> list[list[dict[str, Any]]]:
    """Panels of all samples, encoded as large as the budget allows."""
    for edge in EDGES:
        encode = partial(panel_data, edge=edge)
        out = list(dataset.parallel(lambda item: [encode(panel) for panel in item[1]], shown))  # noqa: B023
        if sum(len(layer["png"]) for panels in out for panel in panels for layer in panel["layers"]) <= BUDGET:
            break
    return out


def _group(entry: tuple[tuple[str, str], int]) -> tuple[int, str]:
    (split, name), _ = entry
    return SPLITS.index(split), name


def _read(store: Store, generator: Generator, shard: str, row: Row) -> tuple[dict[str, Any], list[Panel]]:
    """What the page tells of a sample, and its pictures. A sample that cannot be read must not cost the page."""
    told = {"id": row.sample_id, "split": row.split, "class": row.target or "all", "redraws": row.redraws}
    told |= {"shard": shard, "labels": parsed(row.labels or "{}"), "measured": row.measured, "drawn": {}}
    try:
        fields = dataset.decoded(dataset.sample(store, shard, row))
        told["drawn"] = fields["json"]["drawn"]
        return told, generator.panels(fields, fields["json"])
    except Exception as error:  # storage, decoders and other people's generators raise anything
        # The message may hold the place's address, which has no business in a page that is passed on.
        return {**told, "fault": f"no pictures: {type(error).__name__}; see lesionforge verify"}, []


def _facts(doc: DatasetDescription, totals: Totals) -> dict[str, Any]:
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
            {
                "scheme": s.scheme + " (backgrounds)" * (n >= len(doc.recipe.sources)),
                "subjects": s.subjects,
                "cases": s.cases,
                "terms": s.licence,
            }
            for n, s in enumerate(doc.sources)
        ],
    }


def _keys(value: Any) -> Iterator[str]:
    """Names of all values a page may show, at any depth."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        yield key
        yield from _keys(item)
    for item in value if isinstance(value, list) else ():
        yield from _keys(item)
