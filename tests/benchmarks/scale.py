"""How far one driver carries: ``python -m tests.benchmarks --only scale``.

``scheduling``: 64 Ray workers on this machine whose generator only sleeps, half a second a shard; the share of their
time that they spend asleep between the moment when all work and the moment when the shards run out.
``memory``: what the driver's process grows by while it hands out a plan's shards to a pool that takes no time.
``resume``: the time to learn what is left of a plan, its committed shards listed by a real S3 server (Ceph).
``finish`` and ``relisted``: the end of a dataset, and a resume, in a simulated bucket that takes 20 ms a call.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lesionforge.engine import dataset, driver, finalise
from lesionforge.engine.messages import Event, Report, Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.recipe_yaml import parse
from lesionforge.engine.worker import Worker
from lesionforge.sinks import layout
from lesionforge.sinks.store import Store
from tests.benchmarks.common import Row, goal, goals, table
from tests.benchmarks.simulated import Bucket
from tests.benchmarks.simulated import store as simulated

WORKERS, SECONDS = 64, 0.5
LISTED = 100_000
RESUME_GOAL = 30.0  # seconds for LISTED shards
EFFICIENCY_GOAL = 0.95
SAMPLES = 100  # of a shard, at the end
END_GOAL = 60.0  # seconds, for 10^5 shards finished and for 10^6 found


def recipe(cases: int, seconds: float = 0.0, cpus: float = 1, samples: int = 1) -> Recipe:
    """One tiny sample a shard, or more."""
    source = {"uri": "tests.faulty.Toy:here", "options": {"count": cases}, "split": {"train": 1}}
    raw = {
        "name": "scale",
        "seed": 1,
        "sources": [source],
        "generator": {"name": "tests.faulty.Faulty", "params": {"seconds": seconds}},
        "splits": ["train"],
        "shard": {"samples": samples},
        "resources": {"cpus": cpus},
    }
    return parse(json.dumps(raw))


class Instant:
    """A pool whose workers have made a shard as soon as they are given it."""

    def __init__(self, workers: int) -> None:
        self._workers, self._tasks = workers, deque[Task]()

    def room(self) -> int:
        return self._workers - len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def wait(self, timeout: float) -> list[Event]:
        done = [Event(task, Report(task.shard, 1, 0, 0)) for task in self._tasks]
        self._tasks.clear()
        return done

    def close(self) -> None:
        """Nothing to end."""


def scheduling(workers: int, rounds: int) -> Row:
    """Efficiency of that many Ray workers over ``rounds`` shards each, the first and the last of them left out."""
    from lesionforge.engine.ray.pool import RayPool

    made = recipe(workers * (rounds + 2), SECONDS, cpus=1 / 32)
    ends: list[float] = []
    # Memory as the disk: half a thousand files a second would measure this machine's disk.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        store = Store(folder)
        pool = RayPool(made, store, workers)
        try:
            deadline = time.monotonic() + 300
            while pool.states()["placed"] < workers:
                assert time.monotonic() < deadline, f"only {pool.states()} of {workers} workers came up"
                pool.wait(0.2)
            driver.run(Pipeline(made), store, pool, lambda report: ends.append(time.perf_counter()))
        finally:
            pool.close()
    first, last = workers, workers * (rounds + 1)
    wall = ends[last - 1] - ends[first - 1]
    return {
        "workers": workers,
        "shards": last - first,
        "seconds": wall,
        "shards_per_second": (last - first) / wall,
        "efficiency": (last - first) * SECONDS / (workers * wall),
    }


def memory(shards: int) -> Row:
    """Growth of a fresh process while a driver hands out so many shards."""
    return _apart("_grown", shards)


def _apart(name: str, shards: int) -> Row:
    """One of the functions below, in a fresh process."""
    code = (
        f"import sys\nfrom tests.benchmarks import scale\n"
        f"import json; json.dump(scale.{name}(int(sys.argv[1])), sys.stdout)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(shards)], stdout=subprocess.PIPE, check=True, text=True)
    found: Row = json.loads(out.stdout)
    return found


def _grown(shards: int) -> Row:
    import psutil

    me = psutil.Process()
    store = Store("memory://scale")
    driver.run(Pipeline(recipe(64)), store, Instant(WORKERS))  # imports and caches
    job = Pipeline(recipe(shards))
    before, start = me.memory_info().rss, time.perf_counter()
    outcome = driver.run(job, store, Instant(WORKERS))
    seconds = time.perf_counter() - start
    assert outcome.shards == shards
    return {"shards": shards, "mib": (me.memory_info().rss - before) / 2**20, "us": 1e6 * seconds / shards}


def resume(listed: int) -> Row:
    """Seconds from a store with so many committed shards to the first that is left."""
    from lesionforge.infra.ceph import Ceph, install

    install()
    with Ceph() as server:
        server.make_bucket("scale")
        kept = dict(os.environ)
        os.environ.update(server.env())
        try:
            store, job = Store("s3://scale/d"), Pipeline(recipe(listed + 1))
            names = (of(job.plan.shard(k).name) for k in range(listed) for of in (layout.tar, layout.index))
            start = time.perf_counter()
            with ThreadPoolExecutor(16) as pool:
                deque(pool.map(lambda name: store.put(name, b"x"), names), maxlen=0)
            written, start = time.perf_counter() - start, time.perf_counter()
            outcome = driver.run(job, store, Instant(1))
            seconds = time.perf_counter() - start
        finally:
            os.environ.clear()
            os.environ.update(kept)
    assert outcome.shards == 1
    return {"listed": listed, "seconds": seconds, "write_seconds": written, "per_100k": seconds * 1e5 / listed}


def finish(shards: int) -> Row:
    """Seconds and memory of the end of a dataset in a simulated bucket, in a process of its own."""
    return _apart("_finished", shards)


def template(job: Pipeline) -> dict[str, bytes]:
    """What the first shard of a plan looks like in a bucket."""
    local = Store(f"memory://{job.identity}")
    Worker(job.recipe, local).make(Task(0, proven=True))
    return {entry.name: local.get(entry.name) for entry in local.list() if "train-000000" in entry.name}


def _finished(shards: int) -> Row:
    import psutil

    job = Pipeline(recipe(shards * SAMPLES, samples=SAMPLES))
    doc, bucket = dataset.describe(job), Bucket(shards, template(job))
    store = simulated(bucket)
    store.put(layout.RECIPE, doc.to_bytes())
    me = psutil.Process()
    before, start = me.memory_info().rss, time.perf_counter()
    ending = finalise.finalise(store, doc)
    seconds = time.perf_counter() - start
    assert ending.manifest["shards"] == shards, ending.problem
    assert not ending.problem
    sizes = {name: len(store.get(name)) for name in (layout.MANIFEST, layout.WIDS, layout.part(0))}
    return {
        "shards": shards,
        "seconds": seconds,
        "cpu": sum(me.cpu_times()[:2]),
        "mib": (me.memory_info().rss - before) / 2**20,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "calls": sum(bucket.calls.values()),
        "manifest": sizes[layout.MANIFEST],
        "part": sizes[layout.part(0)],
        "wids": sizes[layout.WIDS],
    }


def relisted(shards: int) -> Row:
    """Seconds and memory to learn what is left of so many committed shards of a simulated bucket."""
    return _apart("_relisted", shards)


def _relisted(shards: int) -> Row:
    job = Pipeline(recipe(shards + 1))
    bucket = Bucket(shards, {layout.index("train-000000"): b"x", layout.tar("train-000000"): b"x"})
    start = time.perf_counter()
    outcome = driver.run(job, simulated(bucket), Instant(1))
    seconds = time.perf_counter() - start
    assert outcome.shards == 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"shards": shards, "seconds": seconds, "peak_mib": peak, "calls": sum(bucket.calls.values())}


def measure(quick: bool = False) -> dict[str, Any]:
    """All; ``quick`` is smaller."""
    workers, rounds, listed = (8, 4, 2_000) if quick else (WORKERS, 20, LISTED)
    result: dict[str, Any] = {
        "memory": [memory(n) for n in ((1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000))],
        "finish": [finish(n) for n in ((1_000,) if quick else (10_000, 100_000))],
        "relisted": [relisted(n) for n in ((20_000,) if quick else (100_000, 1_000_000))],
        "scheduling": [scheduling(workers, rounds)],
    }
    try:
        result["resume"] = [resume(listed)]
    except RuntimeError as error:
        result["resume"], result["skipped"] = [], f"resume: {error}"
    (slots,), grown = result["scheduling"], result["memory"]
    result["goals"] = [
        goal(
            f"{workers} workers, {SECONDS} s a shard: {100 * slots['efficiency']:.1f} % of their time at work "
            f"(at least {100 * EFFICIENCY_GOAL:.0f})",
            slots["efficiency"] >= EFFICIENCY_GOAL,
        ),
        goal(
            f"driver's memory from {grown[0]['shards']:,} to {grown[-1]['shards']:,} shards: "
            f"+ {grown[-1]['mib'] - grown[0]['mib']:.1f} MiB (at most 8)",
            grown[-1]["mib"] - grown[0]["mib"] <= 8,
        ),
        *(
            goal(
                f"{what} {rows[-1]['shards']:,} shards at 20 ms a call: {rows[-1]['seconds']:.1f} s, "
                f"{rows[-1]['peak_mib']:.0f} MiB at most (at most {END_GOAL:.0f} s, 1,024 MiB)",
                rows[-1]["seconds"] < END_GOAL and rows[-1]["peak_mib"] < 1024,
            )
            for what, rows in (("the end of", result["finish"]), ("finding", result["relisted"]))
        ),
        *(
            goal(
                f"resume, {LISTED:,} committed shards listed: {row['per_100k']:.1f} s (at most {RESUME_GOAL:.0f})",
                row["per_100k"] < RESUME_GOAL,
            )
            for row in result["resume"]
        ),
    ]
    return result


def text(result: dict[str, Any]) -> str:
    """The tables, for people."""
    out = table(
        "Workers that only sleep",
        {
            "workers": "workers",
            "shards": "shards",
            "seconds": "s",
            "shards_per_second": "shards/s",
            "efficiency": "busy",
        },
        result["scheduling"],
    )
    out += table(
        "The driver alone", {"shards": "planned shards", "mib": "grows by MiB", "us": "us a shard"}, result["memory"]
    )
    columns = {
        "listed": "committed shards",
        "seconds": "s to resume",
        "per_100k": "s for 100,000",
        "write_seconds": "s to write",
    }
    out += table("Resume from S3 (Ceph)", columns, result["resume"])
    columns = {"shards": "shards", "seconds": "s", "peak_mib": "MiB at most", "calls": "calls"}
    out += table("Found again, 20 ms a call", columns, result["relisted"])
    columns |= {"cpu": "s of CPU", "manifest": "manifest.json", "part": "its first part", "wids": "bytes of wids.json"}
    out += table("The end, 20 ms a call", columns, result["finish"])
    return out + (result.get("skipped") or "") + goals(result["goals"])
