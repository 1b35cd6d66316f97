"""``lesionforge plan``: what a recipe would make, and with ``--estimate`` how long and how large."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lesionforge.engine import recipe_yaml
from lesionforge.engine.pipeline import Job
from lesionforge.jobs import console

ESTIMATE_SAMPLES = 3


def plan(path: Path, overrides: Sequence[str], estimate: bool, workers: int) -> dict[str, Any]:
    """The plan in numbers.

    Raises:
        RecipeError, SourceError, PlanError: where it cannot be made.
    """
    job = Job(recipe_yaml.load(path, overrides))
    counts = job.plan.counts()
    body: dict[str, Any] = {
        "name": job.recipe.name,
        "identity": job.identity,
        "samples": len(job.plan),
        "shards": job.plan.shards,
        "shard_samples": job.plan.shard_samples,
        "bytes": job.plan.bytes,
        "multiply": job.recipe.multiply,
        "splits": {split: sum(classes.values()) for split, classes in counts.items()},
        "classes": counts,
        "sources": [
            {"scheme": r.scheme, "subjects": s.subjects, "cases": s.subjects * s.cases_per_subject}
            for r, s in zip(job.recipe.sources, job.sources, strict=True)
        ],
    }
    if estimate:
        body["estimate"] = _estimate(job, workers)
    return body


def _estimate(job: Job, workers: int) -> dict[str, Any]:
    """Make a few samples, spread over the plan; the first is made twice, so that compiling is not counted."""
    from lesionforge.engine.sample import Maker
    from lesionforge.sinks.encode import encode

    maker = Maker(job)
    count = min(ESTIMATE_SAMPLES, len(job.plan))
    picked = [job.plan[i * len(job.plan) // count] for i in range(count)]
    sizes, reasons = [], []
    reading = making = 0.0
    for n, spec in enumerate([picked[0], *picked]):
        start = time.perf_counter()
        case = maker.read(spec)
        read = time.perf_counter()
        result = case if isinstance(case, str) else next(iter(maker.make([case], [spec])))
        if isinstance(result, str) or isinstance(case, str):
            reasons.append(str(result))
            continue
        members = maker.members(result, maker.row(spec, case))
        size = sum(len(encode(name, value)) + 1024 for name, value in members.items())
        if n:
            sizes.append(size)
            reading += read - start
            making += time.perf_counter() - read
    if not sizes:
        return {"samples_made": 0, "reasons": reasons}
    # A case is read once and kept while its neighbours in the shard need it; making overlaps with reading.
    seconds = max(making, reading) / len(sizes)
    return {
        "samples_made": len(sizes),
        "reasons": reasons,
        "seconds_per_sample": round(seconds, 4),
        "samples_per_second": round(workers / seconds, 3),
        "workers": workers,
        "hours": round(len(job.plan) * seconds / workers / 3600, 6),
        "bytes": int(sum(sizes) / len(sizes) * len(job.plan)),
    }


def show(body: dict[str, Any]) -> None:
    """For people."""
    from lesionforge.sinks.card import human_bytes

    classes = sorted({c for counts in body["classes"].values() for c in counts})
    rows = [(split, *(counts.get(c, 0) for c in classes)) for split, counts in body["classes"].items()]
    console.table(f"{body['name']}: {body['samples']:,} samples (x{body['multiply']})", ("split", *classes), rows)
    size = "of unknown size" if body["bytes"] is None else f"about {human_bytes(body['bytes'])}"
    console.out.print(f"{body['shards']:,} shards of at most {body['shard_samples']:,} samples, {size}")
    for source in body["sources"]:
        console.out.print(f"from {source['scheme']}: {source['subjects']:,} subjects, {source['cases']:,} cases")
    if "estimate" in body:
        e = body["estimate"]
        if e["samples_made"]:
            console.out.print(
                f"measured on {e['samples_made']} samples: {e['samples_per_second']:.2f} samples/s with {e['workers']} "
                f"workers, {console.human_seconds(e['hours'] * 3600)} and {human_bytes(e['bytes'])} for the whole"
            )
        for reason in e["reasons"]:
            console.out.print(f"would be quarantined: {reason}", markup=False)
