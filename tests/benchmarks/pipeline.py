"""The whole engine against Ray Data and against the bare generator: ``python -m tests.benchmarks.pipeline``.

Every run is a process of its own that starts Ray with the same arguments, makes N samples of ``work.make`` with two
worker processes into a fresh folder on the local disk, in shards of the same number of samples, and calls os.sync().
Ours is ``jobs.generate`` with all it does (SHA-256, indexes, manifest, card, pictures); theirs is
``ray.data.range(N).map_batches(Actor).write_webdataset(folder)``, the members encoded by the same code. Seconds run
from the start of the process to the end of the sync; CPU seconds are those of the whole tree of processes. The
engines take turns. A fit through a small and a large N gives start-up and the cost of a further sample.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.benchmarks.common import Row, alternate, goal, goals, median, table
from tests.benchmarks.work import FAST, SLOW, make

ROOT = Path(__file__).resolve().parents[2]
WORKERS, LOGICAL_CPUS = 2, 4  # Ray Data's actors take two of four, so that its read and write tasks find a slot
# glibc gives large arrays back to the system at once, in the main thread more eagerly than in others: a bare loop
# would spend a fifth of its time on page faults. The same for all.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**29), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
GOAL_RAY_DATA, GOAL_OVERHEAD = 1.6, 0.05


# In the child process


def start_ray() -> None:
    import ray

    ray.init(
        address="local",
        num_cpus=LOGICAL_CPUS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=512 * 2**20,
    )


def recipe(samples: int, shard: int, turns: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "seed": 1,
        "sources": [{"uri": "tests.benchmarks.work.Cases:", "options": {"count": samples}, "split": {"train": 1.0}}],
        "generator": {"name": "tests.benchmarks.work.Pictures", "params": {"turns": turns}},
        "splits": ["train"],
        "shard": {"samples": shard},
        "resources": {"cpus": 1},
    }


def run_ours(samples: int, shard: int, turns: int, folder: Path) -> int:
    from jobs.generate import generate

    start_ray()
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe(samples, shard, turns)))
    generate(path, str(folder / "out"), WORKERS, in_process=False)
    return len(list((folder / "out" / "shards").iterdir()))


class Actor:
    """The same generator and the same encoding behind ``map_batches``."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def __call__(self, batch: dict[str, Any]) -> Any:
        import pyarrow as pa

        from generators.types import stream
        from sinks.encode import encode

        rows = []
        for i in batch["id"]:
            key = f"train-0000-{i:08d}"
            fields, labels = make(stream(hashlib.blake2b(key.encode(), digest_size=32).digest(), "noise"), self.turns)
            meta = {"sample_id": key, "labels": labels, "drawn": {"turns": self.turns}}
            rows.append({"__key__": key, **{n: encode(n, v) for n, v in {**fields, "json": meta}.items()}})
        return pa.Table.from_pylist(rows)


class Plain(Actor):
    """The same generator as Ray Data's guide has it: arrays out of ``map_batches``, encoded by ``write_webdataset``."""

    def __call__(self, batch: dict[str, Any]) -> Any:
        from generators.types import stream

        keys = [f"train-0000-{i:08d}" for i in batch["id"]]
        made = [make(stream(hashlib.blake2b(k.encode(), digest_size=32).digest(), "noise"), self.turns) for k in keys]
        columns = {name: np.stack([fields[name] for fields, _ in made]) for name in made[0][0]}
        metas = [{"sample_id": k, "labels": labels} for k, (_, labels) in zip(keys, made, strict=True)]
        return {"__key__": np.array(keys), **columns, "json": metas}


def run_ray_data(samples: int, shard: int, turns: int, folder: Path, plain: bool = False) -> int:
    import ray

    start_ray()
    ray.data.DataContext.get_current().enable_progress_bars = False
    (
        ray.data.range(samples, override_num_blocks=samples // shard)
        .map_batches(
            Plain if plain else Actor,
            fn_constructor_args=(turns,),
            batch_size=shard,
            concurrency=WORKERS,
            num_cpus=1,
        )
        .write_webdataset(str(folder / "out"), encoder=True if plain else None, min_rows_per_file=shard)
    )
    return len(list((folder / "out").iterdir()))


def run_worker(samples: int, shard: int, turns: int, folder: Path) -> tuple[float, float]:
    """Seconds a sample of our engine with one worker, from the end of its first shard to that of its last.

    And the share of the worker's own time in which the generator stood still, over that in which it ran.
    """
    from engine import driver
    from engine.job import Job
    from engine.pools import RayPool
    from engine.recipe import Recipe
    from sinks.store import Store

    start_ray()
    asked = Recipe.model_validate(recipe(samples, shard, turns))
    store, ends = Store(str(folder / "out")), list[float]()
    pool = RayPool(asked, store, 1)
    try:
        busy = driver.run(Job(asked), store, pool, lambda report: ends.append(time.monotonic())).seconds
    finally:
        pool.close()
    return (ends[-1] - ends[0]) / (samples - shard), busy["wall"] / busy["generate"] - 1


def run_bare(samples: int, shard: int, turns: int, folder: Path) -> tuple[float, float]:
    """Seconds a sample of the generator in a plain loop; the results are thrown away."""
    for seed in range(3):
        make(np.random.Generator(np.random.Philox(seed)), turns)
    start = time.monotonic()
    for seed in range(samples - shard):
        make(np.random.Generator(np.random.Philox(seed)), turns)
    return (time.monotonic() - start) / (samples - shard), 0.0


ENGINES = {
    "ours": run_ours,
    "ray data": partial(run_ray_data, plain=True),
    "ray data, tuned": run_ray_data,
    "worker": run_worker,
    "bare": run_bare,
}


def child(engine: str, samples: int, shard: int, turns: int, folder: Path) -> None:
    found = ENGINES[engine](samples, shard, turns, folder)
    os.sync()
    sys.stdout.write(f"\nRESULT {json.dumps({'found': found, 'end': time.monotonic()})}\n")
    sys.stdout.flush()


# In the parent


def run(engine: str, samples: int, shard: int, turns: int) -> Row:
    """One process: wall and CPU seconds of its whole tree, and what it says it found."""
    folder = Path(tempfile.mkdtemp(prefix="lesionforge-bench-"))
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--child", engine]
    command += [str(samples), str(shard), str(turns), str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    env.pop("RAY_ADDRESS", None)
    env |= KEEP_MEMORY
    os.sync()
    start = time.monotonic()
    try:
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
            cpu = _cpu_seconds(process)
            out = process.communicate()[0]
            log.seek(0)
            lines = [line for line in out.splitlines() if line.startswith("RESULT ")]
            if process.returncode or not lines:
                raise RuntimeError(f"{engine} ended with {process.returncode}:\n{log.read()[-3000:]}")
        result = json.loads(lines[-1].removeprefix("RESULT "))
        shards = -(-samples // shard)
        if engine == "ours" and result["found"] != shards:
            raise RuntimeError(f"{engine} wrote {result['found']} shards, not {shards}")
        return {"wall": result["end"] - start, "cpu": cpu, "found": result["found"]}
    finally:
        shutil.rmtree(folder)


def _cpu_seconds(process: subprocess.Popen[str]) -> float:
    """CPU seconds of a process and all below it, each as last seen, until it ends."""
    seen: dict[tuple[int, float], float] = {}
    while process.poll() is None:
        try:
            root = psutil.Process(process.pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for one in tree:
            try:
                times = one.cpu_times()
                seen[one.pid, one.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.2)
    return sum(seen.values())


def against_ray_data(
    name: str, turns: int, sizes: tuple[int, int], shard: int, rounds: int
) -> tuple[list[Row], float | None]:
    """Rows of both engines and the headline ratio: samples/s at the large size, start-up included."""
    # ray.data cannot be imported without pandas
    engines = ("ours", "ray data", "ray data, tuned") if find_spec("pandas") else ("ours",)
    runs: dict[tuple[str, int], list[Row]] = {}
    for n in sizes:
        calls = {engine: partial(run, engine, n, shard, turns) for engine in engines}
        for engine, results in alternate(calls, rounds).items():
            runs[engine, n] = results
    rows = []
    small, large = sizes
    for engine in engines:
        wall = {n: median([r["wall"] for r in runs[engine, n]]) for n in sizes}
        cpu = {n: median([r["cpu"] for r in runs[engine, n]]) for n in sizes}
        each = (wall[large] - wall[small]) / (large - small)
        cpu_each = (cpu[large] - cpu[small]) / (large - small)
        rows.append(
            {
                "work": name,
                "engine": engine,
                "samples": large,
                "shards": runs[engine, large][0]["found"],
                "rate": large / wall[large],
                "best_rate": large / min(r["wall"] for r in runs[engine, large]),
                "cpu_ms": 1e3 * cpu[large] / large,
                "startup_s": wall[small] - small * each,
                "startup_cpu_s": cpu[small] - small * cpu_each,
                "marginal_rate": 1 / each if each > 0 else None,
                "marginal_cpu_ms": 1e3 * cpu_each,
                "runs": rounds,
            }
        )
    if len(rows) < 2:
        return rows, None
    for row in rows:
        row["ratio"] = rows[0]["rate"] / row["rate"]
    return rows, rows[1]["ratio"]


def overhead(samples: int, shard: int, rounds: int) -> tuple[list[Row], float]:
    """What one worker of ours costs over the bare generator at 50 ms a sample."""
    calls = {engine: partial(run, engine, samples, shard, SLOW) for engine in ("bare", "worker")}
    results = alternate(calls, rounds)
    found = {engine: [row["found"][0] for row in rows] for engine, rows in results.items()}
    pairs = [worker / bare - 1 for worker, bare in zip(found["worker"], found["bare"], strict=True)]
    rows: list[Row] = [
        {"engine": name, "median_ms": 1e3 * median(found[key]), "best_ms": 1e3 * min(found[key]), "runs": rounds}
        for key, name in (("bare", "bare generator in a loop"), ("worker", "our engine, one worker"))
    ]
    idle = median([row["found"][1] for row in results["worker"]])
    rows[1]["idle"] = f"{100 * idle:.1f} %"
    rows[1]["overhead"] = f"{100 * median(pairs):.1f} %"
    rows[1]["best_overhead"] = f"{100 * (min(found['worker']) / min(found['bare']) - 1):.1f} %"
    return rows, median(pairs)


def measure(quick: bool = False) -> dict[str, Any]:
    """Everything; ``quick`` has one round of small sizes."""
    if quick:
        fast, fast_ratio = against_ray_data("5 ms", FAST, (200, 800), 100, 1)
        alone, extra = overhead(60, 20, 1)
    else:
        fast, fast_ratio = against_ray_data("5 ms", FAST, (200, 6000), 100, 2)
        alone, extra = overhead(300, 100, 3)
    return {
        "rows": fast,
        "overhead": alone,
        "goals": [
            _against("5 ms", fast_ratio),
            goal(
                f"overhead over the bare generator, 50 ms: {100 * extra:.1f} % (at most {100 * GOAL_OVERHEAD:.0f} %)",
                extra <= GOAL_OVERHEAD,
            ),
        ],
    }


def _against(work: str, ratio: float | None) -> Row:
    if ratio is None:
        return goal(f"pipeline, {work}: not measured, ray.data needs pandas (at least {GOAL_RAY_DATA} x)", False)
    return goal(f"pipeline, {work}: {ratio:.2f} x Ray Data (at least {GOAL_RAY_DATA})", ratio >= GOAL_RAY_DATA)


def text(result: dict[str, Any]) -> str:
    """The tables, for people."""
    columns = {
        "engine": "engine",
        "work": "a sample",
        "samples": "N",
        "shards": "shards",
        "rate": "samples/s",
        "best_rate": "best",
        "ratio": "ours is x",
        "cpu_ms": "CPU ms",
        "startup_s": "start-up s",
        "startup_cpu_s": "CPU s",
        "marginal_rate": "then samples/s",
        "marginal_cpu_ms": "CPU ms",
        "runs": "runs",
    }
    alone = {
        "engine": "50 ms a sample",
        "median_ms": "median ms",
        "best_ms": "best ms",
        "overhead": "overhead",
        "best_overhead": "of the best",
        "idle": "generator idle",
        "runs": "runs",
    }
    return (
        table(f"Generate and write, {WORKERS} workers, start-up included", columns, result["rows"])
        + "\n"
        + table("Overhead, one worker, start-up excluded", alone, result["overhead"])
        + goals(result["goals"])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine against Ray Data and the bare generator.")
    parser.add_argument("--quick", action="store_true", help="one round, small sizes")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        engine, samples, shard, turns, folder = asked.child
        child(engine, int(samples), int(shard), int(turns), Path(folder))
    else:
        sys.stdout.write(text(measure(asked.quick)))


if __name__ == "__main__":
    main()
