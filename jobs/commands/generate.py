"""``lesionforge generate``: recipe -> plan -> workers -> committed shards -> finished dataset."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import dataset, driver, finalise, recipe_yaml, secrets
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Report
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess, Pool
from lesionforge.engine.ray.pool import RayPool
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.telemetry import Meters, log_level, start_log
from lesionforge.jobs import console, errors, progress
from lesionforge.jobs.commands import recipes
from lesionforge.sinks import layout
from lesionforge.sinks.card import counted, human_bytes
from lesionforge.sinks.commit import committed, drop
from lesionforge.sinks.listing import look
from lesionforge.sinks.quarantine import Reasons
from lesionforge.sinks.store import Store, lease

ROUNDS = 3  # times that what is broken at the end of a run is made again, and one
LOOKED_INTO = 16  # records of shards found that are read before work begins


@dataclass(repr=False)
class RunResult(console.CommandResult):
    """How a run ended."""

    place: str
    manifest: dict[str, Any]
    short: str
    seconds: float
    made: int  # samples made in this run
    rate: float  # of these and of those quarantined, a second, without start-up
    found: int  # shards that were there already
    failed: dict[str, str] = field(default_factory=dict)
    deaths: int = 0
    halvings: int = 0
    left_over: list[dict[str, int]] = field(default_factory=list)  # of each source: files in no case, by reason
    notes: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """For machines."""
        m = self.manifest
        return {
            "out": self.place,
            "identity": m["identity"],
            "samples": m["samples"],
            "quarantined": m["quarantined"],
            "planned": m["planned"]["samples"],
            "shards": m["shards"],
            "bytes": m["bytes"],
            "splits": {split: counts["samples"] for split, counts in m["splits"].items()},
            "classes": {split: counts["classes"] for split, counts in m["splits"].items()},
            "reasons": m["reasons"],
            "burned_in_text": m["burned_in_text"],
            "quota_met": not self.short,
            "problem": self.short,
            "failed": self.failed,
            "left_over": self.left_over,
            "shards_found": self.found,
            "worker_deaths": self.deaths,
            "batch_halvings": self.halvings,
            "seconds": round(self.seconds, 3),
            "samples_per_second": round(self.rate, 3),
        }

    def show(self, to: Console = console.out) -> None:
        """For people."""
        b = self.body()
        classes = sorted({name for counts in b["classes"].values() for name in counts} - {"all"})
        rows = list[tuple[object, ...]]()
        for split, s in self.manifest["splits"].items():
            counts = (s["classes"].get(name, 0) for name in classes)
            rows.append((split, s["shards"], s["samples"], *counts, human_bytes(s["bytes"])))
        columns = ("split", "shards", "samples", *classes, "size")
        console.table(f"{self.manifest['name']} in {self.place}", columns, rows, to)
        rate = f" at {self.rate:.1f} samples/s" if self.made else ""
        seconds = console.human_seconds(self.seconds)
        to.print(f"{counted(self.made, 'sample')} made{rate}; {seconds} with start-up and finishing")
        for reason, count in b["reasons"].items():
            to.print(f"quarantined {count} x {reason}", markup=False)
        if b["burned_in_text"]:
            to.print(f"{counted(b['burned_in_text'], 'sample')} of frames that seem to carry writing: look at them")
        for note in self.notes:
            to.print(f"note: {note}", markup=False)
        reasons = Reasons()
        for why in self.failed.values():
            reasons.add(why)
        for why, count in reasons:
            to.print(f"{count} {'shards' if count > 1 else 'shard'} left undone: {why}", markup=False)
        if self.short:
            to.print(self.short, markup=False)


def generate(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    workers: int | None = None,
    in_process: bool = False,
    overrides: Sequence[str] = (),
    patience: float = 0,
    mix_versions: bool = False,
) -> RunResult:
    """Run a recipe to its end, from wherever an earlier run left it.

    Args:
        recipe: a file, a shipped recipe's name, a mapping or a `Recipe`.
        out: output place; the recipe's own where ``None``.
        workers: Ray workers; as many as the cluster, or this machine, has room for where ``None``.
        in_process: make everything in this process instead.
        overrides: ``a.b=c`` assignments to the recipe and ``~a.b`` removals.
        patience: seconds to wait for a cluster without room.
        mix_versions: go on with a dataset that was begun with other versions of libraries that decide bytes.

    Raises:
        UserError: whatever a person can mend.
    """
    if workers is not None:
        errors.positive("workers", workers)
    start_log("driver", log_level())
    checked = recipes.load(recipe, overrides)
    place = str(out or checked.out or "")
    if not place:
        raise recipe_yaml.RecipeError(
            f"recipe {checked.name}: no output place: give --out FOLDER-OR-URL, or `out:` in the recipe"
        )
    if secrets.USERINFO.search(place):
        raise recipe_yaml.RecipeError(f"--out {secrets.FIX}")
    pipeline = recipes.opened(checked, recipe)
    store = Store(place, checked.storage_options)
    with at_work(store, in_process) as held:
        return to_its_end(pipeline, store, held, workers, in_process, patience, mix_versions)


@contextlib.contextmanager
def at_work(store: Store, in_process: bool) -> Iterator[lease.Lease]:
    """Take a place for a run, once it is known to be fit for one.

    Raises:
        UserError: it is not, or somebody else is at work there.
    """
    if not store.is_shared and not in_process:
        raise recipe_yaml.RecipeError(
            f"--out {store.url()}: what lies there is seen by one process, and Ray's workers are others: add "
            "--in-process, or choose a folder or a bucket"
        )
    store.probe()
    if not store.conditional:
        console.note(
            f"{store.url()}: this server does not refuse a second creator (conditional PUT); this run takes the place "
            "for itself, and the driver publishes each shard"
        )
    with lease.hold(store, "run", console.note) as held:
        yield held


def to_its_end(
    pipeline: Pipeline,
    store: Store,
    held: lease.Lease,
    workers: int | None,
    in_process: bool,
    patience: float = 0,
    mix_versions: bool = False,
) -> RunResult:
    """Make whatever of a dataset is not there, and finish it; other arguments as of `generate`.

    Args:
        store: a place that has been probed.
        held: the lease of this run there.
    """
    progress.digests(pipeline.files)
    own = dataset.describe(pipeline)
    description, is_new = dataset.claim(store, own, mix_versions)
    began = time.monotonic()
    outcome, found, pace = driver.Outcome(), None, progress.Pace()
    for again in reversed(range(ROUNDS)):  # what turns out to be broken at the end is made again
        existing = _existing(pipeline, store)
        found = len(existing) if found is None else found
        if len(existing) < pipeline.plan.shards:
            store.delete(layout.SUCCESS)
            try:
                outcome.include(_run(pipeline, store, held, workers, in_process, patience, existing, pace))
            except driver.RecipeFault:
                if is_new:
                    dataset.withdraw(store)
                raise
        if store.lease:
            held.check()
        ending = finalise.finalise(store, description)
        broken = [name for name in ending.broken if pipeline.plan.number(name) is not None]
        if not broken or not again:
            break
        _drop(store, broken, pipeline.identity)
    if outcome.shards and store.exists(layout.PREVIEW):
        console.note(f"{layout.PREVIEW} shows the dataset as it was: lesionforge preview makes it anew")
    return RunResult(
        place=store.url(),
        manifest=ending.manifest,
        short=ending.problem,
        seconds=time.monotonic() - began,
        made=outcome.samples,
        rate=pace.rate,
        found=found or 0,
        failed=outcome.failed,
        deaths=outcome.deaths,
        halvings=outcome.batch_halvings,
        left_over=pipeline.left_over,
        notes=pipeline.notes,
    )


def _existing(pipeline: Pipeline, store: Store) -> list[int]:
    """Numbers of the shards that need not be made: index and tar are there, and those looked into are this dataset's.

    Raises:
        ForeignShard: where they are another's: the end would find it, but only after the work.
    """
    plan = pipeline.plan
    listing = look(store, plan)
    _drop(store, [plan.shard(k).name for k in listing.torn()], pipeline.identity)
    existing = list(listing.committed())
    for k in existing[:: max(1, len(existing) // LOOKED_INTO)]:
        with contextlib.suppress(FileNotFoundError):  # another run has dropped it; the end will tell
            committed(store, plan.shard(k).name, pipeline.identity)
    return existing


def _drop(store: Store, broken: Sequence[str], identity: str) -> None:
    if broken:
        what = broken[0] if len(broken) == 1 else counted(len(broken), "shard")
        console.note(f"{what} committed, but the tar is gone or not the one committed: made again")
    for name in broken:
        drop(store, name, identity)


def _run(
    pipeline: Pipeline,
    store: Store,
    held: lease.Lease,
    workers: int | None,
    in_process: bool,
    patience: float,
    existing: Sequence[int],
    pace: progress.Pace,
) -> driver.Outcome:
    recipe, plan = pipeline.recipe, pipeline.plan
    console.err.print(
        f"{counted(len(plan), 'sample')} in {counted(plan.shards, 'shard')}"
        + (f", {len(existing):,} of them there already" if existing else "")
    )
    done = sum(map(len, map(plan.shard, existing)))
    terms = Terms.of(pipeline)
    pool: Pool
    if in_process:
        pool, meters = InProcess(recipe, store, terms), None
    else:
        pool = RayPool(recipe, store, workers, plan.shards - len(existing), patience, terms)
        meters = Meters(recipe.name, len(plan), done)
        if patience:
            seconds = console.human_seconds(patience)
            console.err.print(f"work begins with the first worker that has room, within {seconds}")
    try:
        with progress.samples(len(plan), done, pace) as advance:

            def count(report: Report) -> None:
                advance(report.samples, report.quarantined, report.seconds.get("wall", 0.0))

            exclusive = held if store.lease else None
            return driver.run(pipeline, store, pool, count, existing, exclusive, meters, console.note)
    finally:
        pool.close()
