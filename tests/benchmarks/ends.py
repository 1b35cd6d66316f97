"""What looks at a whole dataset on the disk: ``python -m tests.benchmarks.ends [--quick | SHARDS ...]``.

The dataset has as many shards as asked for, of one sample and of a hundred, each a copy of the first under its own
name. ``finalise`` writes what describes it, ``status`` looks at it, ``open`` is a reader's. Each runs in a process of
its own, whose imports are done before: seconds of the wall and of the CPU, peak RSS of the process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lesionforge.engine import dataset, finalise
from lesionforge.engine.pipeline import Pipeline
from lesionforge.jobs.commands.status import Progress
from lesionforge.sinks import layout
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store
from tests.benchmarks.common import Row, goal, goals, table
from tests.benchmarks.scale import SAMPLES, recipe, template

SHARDS = (10_000,)
LINKS = 10_000  # names of one file: tars and DALI's indexes are equal
GOAL = 2.0  # seconds of CPU, for 10^4 shards


def fill(folder: Path, shards: int, samples: int) -> None:
    """Shards, indexes and description of a dataset that lacks its end."""
    job = Pipeline(recipe(shards * samples, samples=samples))
    store = Store(str(folder))
    store.put(layout.RECIPE, dataset.describe(job).to_bytes())
    for name, data in template(job).items():
        (folder / name).parent.mkdir(exist_ok=True)
        for k in range(shards):
            path, alike = (folder / name.replace("000000", f"{n:06d}") for n in (k, k - k % LINKS))
            if path == alike or name.startswith(layout.INDEX):
                path.write_bytes(data.replace(b'"shard": "train-000000"', b'"shard": "train-%06d"' % k))
            else:
                os.link(alike, path)


def end(folder: str) -> None:
    store = Store(folder)
    assert not finalise.finalise(store, dataset.read(store)).problem


def look(folder: str) -> None:
    assert not Progress(folder).look()["problem"]


def opened(folder: str) -> None:
    Samples(folder)


ACTIONS: dict[str, Callable[[str], None]] = {"finalise": end, "status": look, "open": opened}


def apart(action: str, folder: Path) -> Row:
    """One of them in a fresh process."""
    code = f"from tests.benchmarks import ends; ends.timed({action!r}, {str(folder)!r})"
    out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    found: Row = json.loads(out.stdout)
    return found


def timed(action: str, folder: str) -> None:
    """Do it, and write what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    ACTIONS[action](folder)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"action": action, **took, "peak_mib": peak}))


def measure(quick: bool = False, sizes: tuple[int, ...] = SHARDS) -> dict[str, Any]:
    """Seconds and memory by number of shards, samples a shard, and what is done."""
    rows = list[Row]()
    for shards in (1000,) if quick else sizes:
        for samples in (1, SAMPLES)[: 1 + (shards <= SHARDS[0])]:
            with tempfile.TemporaryDirectory(prefix="lesionforge-bench-") as name:
                folder = Path(name)
                fill(folder, shards, samples)
                told = [apart(action, folder) for action in ACTIONS]
            rows += [{"shards": shards, "samples": samples} | row for row in told]
    targets = [
        goal(f"{row['action']}, 10^4 shards of 1: {row['cpu']:.2f} s of CPU (at most {GOAL:g})", row["cpu"] <= GOAL)
        for row in rows
        if row["action"] in ("status", "open") and (row["shards"], row["samples"]) == (10_000, 1)
    ]
    return {"rows": rows, "goals": targets}


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    columns = {"action": "what", "shards": "shards", "samples": "samples each", "cpu": "s of CPU", "wall": "s"}
    return table("A whole dataset", columns | {"peak_mib": "MiB at most"}, result["rows"]) + goals(result["goals"])


if __name__ == "__main__":
    asked = tuple(int(word) for word in sys.argv[1:] if word != "--quick")
    sys.stdout.write(text(measure("--quick" in sys.argv, asked or SHARDS)))
