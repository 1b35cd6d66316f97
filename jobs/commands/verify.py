"""``lesionforge verify``: a dataset re-read byte by byte and held against its own recipe; lost indexes made anew."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import dataset as document
from lesionforge.engine.dataset import DatasetDescription
from lesionforge.engine.finalise import shortfall
from lesionforge.engine.plan import Plan, Shard
from lesionforge.jobs import console
from lesionforge.jobs.progress import steps
from lesionforge.sinks import dataset, index, layout, tar
from lesionforge.sinks.apart import Apart, overlap
from lesionforge.sinks.card import counted, human_bytes
from lesionforge.sinks.commit import rebuilt_rows
from lesionforge.sinks.encode import decode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.store import Store

SHOWN_PROBLEMS = 1000  # a wrecked dataset shall not fill the terminal


@dataclass(repr=False)
class Verdict(console.CommandResult):
    """What verification found; ``problems`` is empty where all is well."""

    out: str
    totals: dataset.Totals = field(default_factory=dataset.Totals)
    problems: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """For machines."""
        return {
            "out": self.out,
            "samples": self.totals.samples,
            "quarantined": self.totals.quarantined,
            "shards": self.totals.shards,
            "bytes": self.totals.bytes,
            "splits": dict(self.totals.per_split),
            "rebuilt": self.rebuilt,
            "problems": self.problems,
        }

    def show(self, to: Console = console.out) -> None:
        """For people."""
        for name in self.rebuilt:
            to.print(f"index of {name} rebuilt", markup=False)
        for problem in self.problems:
            to.print(f"problem: {problem}", markup=False)
        totals, count = self.totals, len(self.problems)
        to.print(
            f"{counted(totals.samples, 'sample')} in {counted(totals.shards, 'shard')} ({human_bytes(totals.bytes)}), "
            f"{totals.quarantined:,} quarantined: {counted(count, 'problem') if count else 'all is well'}"
        )


def verify(place: str | Path | Store, rebuild: bool = False) -> Verdict:
    """Check every shard byte by byte: checksums, keys, members, plan, quotas, manifest.

    Args:
        place: where the dataset lies, or a store.
        rebuild: write the index of a shard anew from its tar where the index is missing or unreadable.

    Raises:
        DatasetError: where there is no dataset.
    """
    store = place if isinstance(place, Store) else Store(str(place))
    doc = document.read(store)
    plan, verdict = doc.plan, Verdict(store.url())
    recipe_identity = doc.recipe.identity(
        [s.fingerprint for s in doc.sources], doc.links.mark(s.sizes for s in doc.sources)
    )
    if recipe_identity != doc.identity:
        verdict.problems.append(
            f"{layout.RECIPE}: the recipe was edited; it no longer gives identity {doc.identity[:12]}"
        )
    there = {entry.name.rsplit("/", 1)[-1] for entry in store.list(layout.SHARDS)}
    there_index = set(dataset.committed(store))

    def check(k: int) -> tuple[Shard, list[str], tuple[Record, list[Row]] | None, bool]:
        shard = plan.shard(k)
        found = None
        fixed = False
        problems: list[str] = []
        if rebuild and f"{shard.name}.tar" in there:
            fixed = _rebuild(store, doc, plan, shard, problems)
        if shard.name in there_index or fixed:
            found = _check_shard(store, doc, plan, shard, problems)
        return shard, problems, found, fixed

    names = there_index | {name.removesuffix(".tar") for name in there}
    numbers = {name: plan.number(name) for name in names}
    apart, sound = Apart(), list[str]()
    planned = sorted(k for k in numbers.values() if k is not None)  # a plan may hold millions that are not made yet
    with steps("shards") as advance:
        for n, (shard, problems, found, fixed) in enumerate(dataset.parallel(check, planned), 1):
            verdict.problems += problems[: max(0, SHOWN_PROBLEMS - len(verdict.problems))]
            if found:
                record, rows = found
                summary = index.summarise(rows)
                verdict.totals.add(record, summary)
                apart.add(shard.split, summary.marks)
                sound.append(shard.name)
            elif not problems and f"{shard.name}.tar" in there:
                verdict.problems.append(f"{layout.tar(shard.name)}: not committed (its index is missing)")
            if fixed:
                verdict.rebuilt.append(shard.name)
            advance(n, len(planned), "")
    extra = sorted(name for name, k in numbers.items() if k is None)
    verdict.problems += [f"{layout.SHARDS}/{name!r}: a shard that the recipe does not plan" for name in extra]
    if problem := overlap(store, apart, sound):
        verdict.problems.append(problem)
    _check_whole(store, doc, verdict)
    return verdict


def _check_shard(
    store: Store, doc: DatasetDescription, plan: Plan, shard: Shard, problems: list[str]
) -> tuple[Record, list[Row]] | None:
    name = layout.index(shard.name)
    try:
        record, rows = index.read(store.get(name))
    except (ValueError, FileNotFoundError) as error:
        problems.append(f"{name}: {error}; 'verify --rebuild' makes it anew from the tar")
        return None
    if record.shard != shard.name:
        problems.append(f"{name}: is about shard {record.shard}")
    if record.recipe != doc.identity:
        problems.append(f"{name}: belongs to recipe {record.recipe[:12]}, not {doc.identity[:12]}")
    for row, spec in zip(rows, plan.specs(shard), strict=False):
        if (row.sample_id, row.split, row.case, row.target) != (spec.sample_id, spec.split, spec.case, spec.target):
            problems.append(
                f"{name}: {row.sample_id} stands where the plan has {spec.sample_id} of class {spec.target}"
            )
            break
    kept = sum(row.status == "ok" for row in rows)
    if (len(rows), kept, len(rows) - kept) != (len(shard), record.samples, record.quarantined):
        problems.append(
            f"{name}: {len(rows)} rows, {kept} of them samples; "
            f"the plan has {len(shard)}, its totals say {record.samples}"
        )
    try:
        data = store.get(layout.tar(shard.name))
    except FileNotFoundError:
        problems.append(f"{layout.tar(shard.name)}: missing, though committed")
        return record, rows
    if len(data) != record.tar_bytes or index.sha256(data) != record.tar_sha256:
        problems.append(
            f"{layout.tar(shard.name)}: its {len(data)} bytes are not the {record.tar_bytes} that were committed"
        )
    problems += _check_tar(data, shard.name, rows, doc.identity)
    return record, rows


def _check_tar(data: bytes, shard: str, rows: list[Row], recipe: str) -> list[str]:
    """Every member decoded, every row of the index equal to what the tar says."""
    name = layout.tar(shard)
    try:
        entries = {entry.key: entry for entry in tar.read(data)}
        found = index.from_tar(data, recipe)
    except (ValueError, KeyError, TypeError) as error:
        return [f"{name}: {error}"]
    problems = []
    doubled = [key for key, count in Counter(row.sample_id for row in found).items() if count > 1]
    if doubled:
        problems.append(f"{name}: sample {doubled[0]} stands in it twice")
    if found != [row for row in rows if row.status == "ok"]:
        problems.append(f"{name}: its samples are not those of its index")
    schema = None
    for key, entry in entries.items():
        shape = []
        for member in entry.members:
            try:
                value = decode(member.name, data[member.offset : member.offset + member.size])
            except ValueError as error:
                problems.append(f"{name}: {key}.{error}")
                continue
            # Edge lengths are a sample's own: a volume may be thinner than the crop that was asked for.
            shape.append((member.name, getattr(value, "ndim", None), str(getattr(value, "dtype", ""))))
        schema = schema or shape
        if shape != schema:
            problems.append(f"{name}: {key} has members {shape}, others {schema}")
    return problems


def _rebuild(store: Store, doc: DatasetDescription, plan: Plan, shard: Shard, problems: list[str]) -> bool:
    """Make a shard's index anew where it is missing or unreadable; True where one was written."""
    try:
        index.read(store.get(layout.index(shard.name)))
        return False
    except (ValueError, FileNotFoundError):
        pass
    data = store.get(layout.tar(shard.name))
    try:
        planned = [Row(s.sample_id, s.split, s.variant, s.source, s.case, s.target) for s in plan.specs(shard)]
        rows = rebuilt_rows(data, planned, "unknown: the index was rebuilt from the tar", doc.identity)
    except (ValueError, KeyError, TypeError) as error:
        problems.append(f"{layout.tar(shard.name)}: no index can be rebuilt from it: {error}")
        return False
    lost = sum(row.status == "quarantined" for row in rows)
    record = Record(
        shard.name, doc.identity, index.sha256(data), len(data), len(rows) - lost, lost, doc.versions["lesionforge"]
    )
    store.put(layout.index(shard.name), index.write(rows, record))
    return True


def _check_whole(store: Store, doc: DatasetDescription, verdict: Verdict) -> None:
    short = shortfall(doc, verdict.totals)
    if short:
        verdict.problems.append(short)
    if verdict.totals.quarantined == 0 and not short:
        counts: dict[str, dict[str, int]] = {}
        for (split, target), n in verdict.totals.per_class.items():
            counts.setdefault(split, {})[target] = n
        wanted = {s: {c: n for c, n in classes.items() if n} for s, classes in doc.plan.counts().items()}
        if counts != {split: classes for split, classes in wanted.items() if classes}:
            verdict.problems.append(f"class quotas are {counts}; the plan has {wanted}")
    try:
        manifest: dict[str, Any] = json.loads(store.get(layout.MANIFEST))
        told = (manifest["samples"], manifest["quarantined"], manifest["shards"])
    except FileNotFoundError:
        if not short:
            verdict.problems.append(f"{layout.MANIFEST} is missing: run the same generate command again to finish")
        return
    except (ValueError, KeyError, TypeError, RecursionError):
        verdict.problems.append(f"{layout.MANIFEST} is no manifest: run the same generate command again")
        return
    held = (verdict.totals.samples, verdict.totals.quarantined, verdict.totals.shards)
    if told != held:
        verdict.problems.append(
            f"{layout.MANIFEST} tells of {told[0]} samples, {told[1]} quarantined, {told[2]} shards; "
            f"there are {held[0]}, {held[1]}, {held[2]}"
        )
