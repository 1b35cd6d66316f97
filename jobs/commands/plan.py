"""``lesionforge plan``: what a recipe would make, and with ``--estimate`` how long and how large."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.jobs import console, errors, progress
from lesionforge.jobs.commands import recipes
from lesionforge.sinks.card import counted, human_bytes

ESTIMATE_SAMPLES = 3
SHOWN_FILES = 10  # of those in no case, by reason


@dataclass(repr=False)
class PlanResult(console.CommandResult):
    """A plan in numbers. ``classes``: split -> class -> samples; ``estimate`` is None where none was asked for."""

    name: str
    identity: str
    samples: int
    shards: int
    shard_samples: int
    bytes: int | None
    multiply: int
    splits: dict[str, int]
    classes: dict[str, dict[str, int]]
    sources: list[dict[str, Any]]
    estimate: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    left_over_files: dict[str, Sequence[str]] = field(default_factory=dict)  # for a terminal, written nowhere

    def body(self) -> dict[str, Any]:
        """For machines."""
        told = {name: value for name, value in vars(self).items() if name != "left_over_files"}
        return {name: value for name, value in told.items() if name != "estimate" or value is not None}

    def show(self, to: Console = console.out) -> None:
        """For people."""
        names = sorted({name for counts in self.classes.values() for name in counts})
        rows = [(split, *(counts.get(name, 0) for name in names)) for split, counts in self.classes.items()]
        console.table(f"{self.name}: {counted(self.samples, 'sample')} (x{self.multiply})", ("split", *names), rows, to)
        size = "of unknown size" if self.bytes is None else f"about {human_bytes(self.bytes)}"
        to.print(f"{counted(self.shards, 'shard')} of at most {counted(self.shard_samples, 'sample')}, {size}")
        for source in self.sources:
            found = f"{counted(source['subjects'], 'subject')}, {counted(source['cases'], 'case')}"
            to.print(f"{'backgrounds' if source.get('backgrounds') else 'from'} {source['scheme']}: {found}")
        for note in self.notes:
            to.print(f"note: {note}", markup=False)
        for why, files in self.left_over_files.items() if to.is_terminal else ():
            more = f" and {len(files) - SHOWN_FILES} more" if len(files) > SHOWN_FILES else ""
            to.print(f"{why} (said here, written nowhere): {', '.join(files[:SHOWN_FILES])}{more}", markup=False)
        if not (e := self.estimate):
            return
        made, tried = e["samples_made"], e["samples_tried"]
        if made:
            to.print(
                f"measured on {counted(made, 'sample')}: {e['samples_per_second']:.2f} samples/s with "
                f"{counted(e['workers'], 'worker')}, {console.human_seconds(e['hours'] * 3600)} and "
                f"{human_bytes(e['bytes'])} for the whole"
            )
        for reason, count in e["reasons"].items():
            to.print(f"{count} of {counted(tried, 'sample')} would be quarantined: {reason}", markup=False)


def plan(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    estimate: bool = False,
    workers: int = 1,
) -> PlanResult:
    """The plan in numbers.

    Args:
        recipe: a file, a shipped recipe's name, a mapping or a `Recipe`.
        overrides: ``a.b=c`` assignments to it and ``~a.b`` removals.
        estimate: make a few samples; tell time and size of the whole.
        workers: to reckon the time for.

    Raises:
        RecipeError, SourceError, PlanError: where it cannot be made.
        UsageError: for less than one worker.
    """
    errors.positive("workers", workers)
    pipeline = recipes.opened(recipes.load(recipe, overrides), recipe)
    counts = pipeline.plan.counts()
    progress.digests(pipeline.files)
    return PlanResult(
        name=pipeline.recipe.name,
        identity=pipeline.identity,
        samples=len(pipeline.plan),
        shards=pipeline.plan.shards,
        shard_samples=pipeline.plan.shard_samples,
        bytes=pipeline.plan.bytes,
        multiply=pipeline.recipe.multiply,
        splits={split: sum(classes.values()) for split, classes in counts.items()},
        classes=counts,
        sources=[
            {"scheme": r.scheme, "subjects": s.subjects, "cases": s.cases, "left_over": left_over}
            | ({"backgrounds": True} if r is pipeline.recipe.backgrounds else {})
            for r, s, left_over in zip(pipeline.recipe.inputs, pipeline.sources, pipeline.left_over, strict=True)
        ],
        estimate=_estimate(pipeline, workers) if estimate else None,
        notes=pipeline.notes,
        left_over_files={
            f"{pipeline.recipe.field_of(n)}, {why}": files
            for n, source in enumerate(pipeline.sources)
            for why, files in source.left_over.items()
            if files
        },
    )


def _estimate(pipeline: Pipeline, workers: int) -> dict[str, Any]:
    """Make a few samples, spread over the plan; the first is made twice, so that compiling is not counted."""
    from lesionforge.engine.sample import Maker
    from lesionforge.sinks.encode import encode
    from lesionforge.sinks.quarantine import Quarantined, Reasons

    maker = Maker(pipeline)
    count = min(ESTIMATE_SAMPLES, len(pipeline.plan))
    picked = [pipeline.plan[i * len(pipeline.plan) // count] for i in range(count)]
    sizes, reasons = list[int](), Reasons()
    reading = making = 0.0
    for n, spec in enumerate([picked[0], *picked]):
        start = time.perf_counter()
        case = maker.read(spec)
        read = time.perf_counter()
        result = case if isinstance(case, Quarantined) else next(iter(maker.make([case], [spec])))
        if isinstance(result, Quarantined) or isinstance(case, Quarantined):
            if n:
                reasons.add(str(result))
            continue
        members = maker.members(result, maker.row(spec, case))
        size = sum(len(encode(name, value)) + 1024 for name, value in members.items())
        if n:
            sizes.append(size)
            reading += read - start
            making += time.perf_counter() - read
    counts = {"samples_tried": count, "samples_made": len(sizes), "reasons": dict(reasons)}
    if not sizes:
        return counts
    # A case is read once and kept while its neighbours in the shard need it; making overlaps with reading.
    seconds = max(making, reading) / len(sizes)
    return {
        **counts,
        "seconds_per_sample": round(seconds, 4),
        "samples_per_second": round(workers / seconds, 3),
        "workers": workers,
        "hours": round(len(pipeline.plan) * seconds / workers / 3600, 6),
        "bytes": int(sum(sizes) / len(sizes) * len(pipeline.plan)),
    }
