"""``status``, ``verify`` and ``replay``: what lies in a place, whether it is right, whether it can be made again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import document
from engine import replay as replaying
from engine import verify as verifying
from engine.finalise import shortfall
from jobs import console
from sinks import dataset, layout
from sinks.card import human_bytes
from sinks.dataset import Totals
from sinks.store import Store


def status(place: str) -> dict[str, Any]:
    """How far a dataset is; reads its indexes only."""
    store = Store(place)
    doc = document.read(store)
    plan, totals = doc.plan, Totals()
    for record, rows in dataset.indexes(store, dataset.committed(store)):
        totals.add(record, rows)
    times = [entry.mtime for entry in store.list(layout.INDEX) if entry.name.endswith(".parquet")]
    finished = store.exists(layout.SUCCESS)
    return {
        "out": store.url(),
        "name": doc.recipe.name,
        "identity": doc.identity,
        "state": "complete" if finished else "short" if totals.shards == plan.shards else "incomplete",
        "problem": shortfall(doc, totals),
        "shards": totals.shards,
        "shards_planned": plan.shards,
        "samples": totals.samples,
        "samples_planned": len(plan),
        "quarantined": totals.quarantined,
        "bytes": totals.bytes,
        "splits": dict(totals.per_split),
        "reasons": dict(totals.reasons),
        "seconds_since_last_commit": round(time.time() - max(times), 1) if times else None,
    }


def show_status(body: dict[str, Any]) -> None:
    """For people."""
    done = 100 * body["shards"] / body["shards_planned"]
    console.out.print(f"{body['name']} in {body['out']}: {body['state']}, {done:.1f} % of the shards", markup=False)
    console.out.print(
        f"{body['samples']:,} of {body['samples_planned']:,} samples, {body['quarantined']:,} quarantined, "
        f"{body['shards']:,} of {body['shards_planned']:,} shards, {human_bytes(body['bytes'])}"
    )
    for reason, count in body["reasons"].items():
        console.out.print(f"quarantined {count} x {reason}", markup=False)
    if body["state"] == "incomplete":
        ago = body["seconds_since_last_commit"]
        console.out.print(
            (f"last shard committed {console.human_seconds(ago)} ago; " if ago is not None else "")
            + "run the same generate command to continue"
        )


def verify(place: str, rebuild: bool) -> dict[str, Any]:
    """Verdict on a whole dataset."""
    store = Store(place)
    planned = document.read(store).plan.shards
    with console.progress(planned, 0) as advance:
        verdict = verifying.verify(store, rebuild, lambda shards: advance(1, 0))
    return {
        "out": store.url(),
        "samples": verdict.totals.samples,
        "quarantined": verdict.totals.quarantined,
        "shards": verdict.totals.shards,
        "bytes": verdict.totals.bytes,
        "splits": dict(verdict.totals.per_split),
        "rebuilt": verdict.rebuilt,
        "problems": verdict.problems,
    }


def show_verdict(body: dict[str, Any]) -> None:
    """For people."""
    for name in body["rebuilt"]:
        console.out.print(f"index of {name} rebuilt")
    for problem in body["problems"]:
        console.out.print(f"problem: {problem}", markup=False)
    console.out.print(
        f"{body['samples']:,} samples in {body['shards']:,} shards ({human_bytes(body['bytes'])}), "
        f"{body['quarantined']:,} quarantined: "
        + (f"{len(body['problems'])} problems" if body["problems"] else "all is well")
    )


def replay(place: str, sample_id: str, sources: Sequence[str], to: Path | None) -> dict[str, Any]:
    """Make a sample again and compare."""
    moved = {}
    for source in sources:
        number, equals, uri = source.partition("=")
        if not equals or not number.isdigit():
            raise document.DatasetError(f"--source {source}: write it as N=URI, e.g. 0=imagecas:/data/imagecas")
        moved[int(number)] = uri
    result = replaying.replay(Store(place), sample_id, moved)
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for name, data in result.members.items():
            (to / f"{sample_id}.{name}").write_bytes(data)
    return {
        "sample_id": sample_id,
        "identical": result.identical,
        "differing": result.differing,
        "members": {name: len(data) for name, data in result.members.items()},
        "reason": result.reason,
        "stored_reason": result.stored_reason,
    }


def show_replay(body: dict[str, Any]) -> None:
    """For people."""
    if body["reason"]:
        console.out.print(f"{body['sample_id']} cannot be made: {body['reason']}", markup=False)
    if body["stored_reason"]:
        console.out.print(f"stored as quarantined: {body['stored_reason']}", markup=False)
    if body["differing"]:
        console.out.print(f"{body['sample_id']} differs in {', '.join(body['differing'])}", markup=False)
    elif body["identical"] and body["members"]:
        console.out.print(f"{body['sample_id']}: all {len(body['members'])} members are the same, byte by byte")
