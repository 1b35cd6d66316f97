"""``verify`` and ``replay``: whether what lies in a place is right, and whether it can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionforge.engine import dataset
from lesionforge.engine import replay as replaying
from lesionforge.engine import verify as verifying
from lesionforge.jobs import console
from lesionforge.sinks.card import human_bytes
from lesionforge.sinks.store import Store


def verify(place: str, rebuild: bool) -> dict[str, Any]:
    """Verdict on a whole dataset."""
    store = Store(place)
    planned = dataset.read(store).plan.shards
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


def replay(place: str, sample_id: str, sources: Sequence[str], to: Path | None) -> tuple[dict[str, Any], str]:
    """Make a sample again and compare. The second value, its case's file, may name a patient: for a terminal alone."""
    moved = {}
    for source in sources:
        number, equals, uri = source.partition("=")
        if not equals or not number.isdigit():
            raise dataset.DatasetError(f"--source {source}: write it as N=URI, e.g. 0=imagecas:/data/imagecas")
        moved[int(number)] = uri
    result = replaying.replay(Store(place), sample_id, moved)
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for name, data in result.members.items():
            (to / f"{sample_id}.{name}").write_bytes(data)
    body = {
        "sample_id": sample_id,
        "identical": result.identical,
        "differing": result.differing,
        "members": {name: len(data) for name, data in result.members.items()},
        "reason": result.reason,
        "stored_reason": result.stored_reason,
    }
    return body, result.file


def show_replay(body: dict[str, Any], file: str) -> None:
    """For people; names the file of the case where it is a person who reads."""
    if file and console.out.is_terminal:
        console.out.print(f"made from {file} (said here, written nowhere)", markup=False)
    if body["reason"]:
        console.out.print(f"{body['sample_id']} cannot be made: {body['reason']}", markup=False)
    if body["stored_reason"]:
        console.out.print(f"stored as quarantined: {body['stored_reason']}", markup=False)
    if body["differing"]:
        console.out.print(f"{body['sample_id']} differs in {', '.join(body['differing'])}", markup=False)
    elif body["identical"] and body["members"]:
        console.out.print(f"{body['sample_id']}: all {len(body['members'])} members are the same, byte by byte")
