"""What is counted of a run, and how a dataset is held against the plan and an undisturbed twin."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.sinks import dataset
from lesionforge.sinks.gc import collect
from lesionforge.sinks.store import Store

ZERO = ("lost", "duplicated", "differing", "orphans", "leftovers")  # what must be 0


@dataclass
class Run:
    """Figures of one run."""

    name: str
    kills: Counter[str] = field(default_factory=Counter)
    workers_lost: int = 0
    samples: int = 0  # planned
    poisoned: int = 0  # of them ordered to fail
    lost: int = 0  # planned, healthy, and not in a committed shard
    duplicated: int = 0
    differing: int = 0  # shards and indexes, or for poison members, whose bytes are not those of the undisturbed run
    redone: float | None = None  # shards' worth of samples made more than once; None where nobody counted
    orphans: int = 0
    swept: int = 0  # temporary objects that ``gc`` removed
    leftovers: int = 0  # temporary objects after it
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)  # anything else that was not as it should be

    @property
    def redone_per_worker(self) -> float | None:
        """Shards made again for each worker that was lost; the promise is at most 1."""
        return None if self.redone is None else self.redone / max(1, self.workers_lost)

    @property
    def good(self) -> bool:
        """Whether every promise held."""
        return not self.wrong and not any(getattr(self, name) for name in ZERO) and (self.redone_per_worker or 0) <= 1

    def body(self) -> dict[str, Any]:
        """For machines."""
        return vars(self) | {"kills": dict(self.kills), "redone_per_worker": self.redone_per_worker, "good": self.good}


def check(run: Run, recipe: Recipe, out: Path, clean: Path | None = None) -> dict[str, str]:
    """Count what is lost, duplicated and left over in ``out``; with ``clean``, the files whose bytes differ.

    Returns:
        Sample id -> reason, of the quarantined.
    """
    plan, store = Pipeline(recipe).plan, Store(str(out))
    rows = [row for _, rows in dataset.indexes(store, dataset.committed(store)) for row in rows]
    found = Counter(row.sample_id for row in rows)
    reasons = {row.sample_id: row.reason or "" for row in rows if row.status == "quarantined"}
    run.samples = len(plan)
    run.lost = sum(not found[plan[i].sample_id] for i in range(len(plan)))
    run.duplicated = sum(count > 1 for count in found.values())
    if clean:
        run.lost += len(reasons)
        ours, theirs = contents(out), contents(clean)
        run.differing = sum(ours.get(name) != theirs.get(name) for name in ours.keys() | theirs.keys())
    run.swept = len(collect(store, young=0).removed)
    run.leftovers = len(temporary(out))
    return reasons


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of every shard and index."""
    return {f"{part}/{p.name}": p.read_bytes() for part in ("shards", "index") for p in (out / part).iterdir()}


def temporary(out: Path) -> list[str]:
    """Files of a dataset's folder that are nobody's."""
    return [str(path) for path in (out / ".tmp").rglob("*") if path.is_file()]


def made(log: Path) -> Counter[str]:
    """How often each sample was begun."""
    return Counter(line for file in log.iterdir() for line in file.read_text().split())


def redone(log: Path, shard: int) -> float:
    """Shards' worth of samples that were begun more than once."""
    counts = made(log)
    return (counts.total() - len(counts)) / shard
