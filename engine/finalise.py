"""Finishing a dataset: manifest, indexes for other readers, card, contact sheets, and ``_SUCCESS`` last."""

from __future__ import annotations

import json
from typing import Any

from lesionforge.engine import plugins
from lesionforge.engine.dataset import DatasetDescription, DatasetError
from lesionforge.generators.base import Generator
from lesionforge.sinks import dataset, layout, manifest
from lesionforge.sinks.card import card, counted
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.pictures.names import caption
from lesionforge.sinks.pictures.sheet import Shown, contact_sheet
from lesionforge.sinks.store import Store
from lesionforge.sinks.survey import Survey

SHEET_SAMPLES = 12


def finalise(store: Store, doc: DatasetDescription) -> dict[str, Any]:
    """Write everything that describes the committed shards.

    Returns:
        The manifest, parsed. ``_SUCCESS`` is written only where ``shortfall`` finds none.
    """
    plan = doc.plan
    survey, records = Survey(SHEET_SAMPLES), list[Record]()
    existing = {entry.name for entry in store.list(layout.INDEX)}
    for record, rows in survey.read(store):
        records.append(record)
        if layout.dali(record.shard) not in existing:
            store.put(layout.dali(record.shard), manifest.dali(rows))
    totals = survey.totals
    planned = {"samples": len(plan), "shards": plan.shards}
    body = manifest.manifest(doc.recipe.name, doc.identity, planned, totals, records)
    generator = make_generator(doc)
    members: list[str] = []
    for split in plan.splits:
        chosen = survey.chosen(split)
        if chosen:
            members = [m["name"] for m in chosen[0][1].members or ()]
            shown = [show(store, generator, shard, row) for shard, row in chosen]
            title = f"{doc.recipe.name}: {split}, {totals.per_split[split]} samples"
            store.put(f"{layout.PICTURES}/{split}.png", contact_sheet(title, shown))
    store.put(layout.WIDS, manifest.wids(doc.recipe.name, records))
    parsed: dict[str, Any] = json.loads(body)
    store.put(layout.CARD, card(parsed, json.loads(doc.to_bytes()), members, generator.limits))
    store.put(layout.MANIFEST, body)
    if not shortfall(doc, totals):
        store.put(layout.SUCCESS, b"")
    return parsed


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


def make_generator(doc: DatasetDescription) -> Generator:
    """The generator of a dataset, for its pictures and statements.

    Raises:
        DatasetError: where the generator that the dataset names is not installed, or takes other parameters.
    """
    try:
        return plugins.generator(doc.recipe.generator.name, doc.recipe.generator.params)
    except plugins.PluginError as error:
        raise DatasetError(f"{layout.RECIPE}: {error}") from None


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
