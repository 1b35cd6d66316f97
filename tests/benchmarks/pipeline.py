"""The whole engine against Ray Data: ``python -m tests.benchmarks --only pipeline``.

Every run is a process of its own that starts Ray with the same arguments, makes N samples with two worker processes
into a fresh folder on the local disk, in shards of the same number of samples, and calls os.sync(). Ours is
``jobs.commands.generate`` with all it does (SHA-256, indexes, manifest, card, pictures). Theirs is
``ray.data.range(N).map_batches(Actor).write_webdataset(folder)`` around the same source, generator and checks: once as
its guide has it (arrays out of the actors, encoded while writing), once tuned (bytes out of the actors, a batch a
shard). Seconds run from the start of the process to the end of the sync; CPU seconds are those of the whole tree of
processes. The engines take turns. A fit through a small and a large N gives start-up and the cost of a further sample.
"""

from __future__ import annotations

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
import yaml

from tests.benchmarks.common import Row, alternate, goal, goals, median, table
from tests.benchmarks.work import FAST, SLOW

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"demo, x20": ("demo", 20, 2), "plaques, x5": ("plaque_phantom", 5, 1)}  # variants; cases of a subject
WORKERS, LOGICAL_CPUS = 2, 4  # Ray Data's actors take two of four, so that its read and write tasks find a slot
# glibc gives large arrays back to the system at once, in the main thread more eagerly than in others: a bare loop
# would spend a fifth of its time on page faults. The same for all.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**29), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
GOALS = {"5 ms": 1.4, "bi-plane": 1.4, "demo, x20": 3.0, "plaques, x5": 3.0}  # x Ray Data, CPU of a further sample


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


def recipe(work: str, samples: int, shard: int) -> dict[str, Any]:
    """The recipe of a kind of work: the small pictures of ``work.make``, or the demo's bi-plane samples (4.2 MB)."""
    common = {"name": "bench", "seed": 1, "splits": ["train"], "shard": {"samples": shard}, "resources": {"cpus": 1}}
    everything = {"train": 1.0}
    if work in SHIPPED:
        name, multiply, each = SHIPPED[work]
        raw: dict[str, Any] = yaml.safe_load((ROOT / "jobs" / "recipes" / f"{name}.yaml").read_text())
        raw["sources"][0]["options"]["count"] = samples // (multiply * each)
        return {**raw, "multiply": multiply, "shard": {"samples": shard}}
    if work == "bi-plane":
        source = {"uri": "phantom:coronary", "options": {"count": samples // 2}, "split": everything}
        return {**common, "sources": [source], "generator": {"name": "biplane"}}
    source = {"uri": "tests.benchmarks.work.Cases:", "options": {"count": samples}, "split": everything}
    turns = FAST if work == "5 ms" else SLOW
    return {
        **common,
        "sources": [source],
        "generator": {"name": "tests.benchmarks.work.Pictures", "params": {"turns": turns}},
    }


def run_ours(asked: dict[str, Any], folder: Path) -> int:
    from lesionforge.jobs.commands.generate import generate

    start_ray()
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(asked))
    generate(path, str(folder / "out"), WORKERS, in_process=False)
    return len(list((folder / "out" / "shards").iterdir()))


class Plain:
    """Our source and generator behind ``map_batches``, as Ray Data's guide has it: arrays out."""

    def __init__(self, asked: dict[str, Any]) -> None:
        from lesionforge.engine.pipeline import Pipeline
        from lesionforge.engine.recipe import Recipe
        from lesionforge.engine.sample import Maker

        self.maker = Maker(Pipeline(Recipe.model_validate(asked)))

    def members(self, i: int) -> dict[str, Any]:
        spec = self.maker.pipeline.plan[int(i)]
        case = self.maker.read(spec)
        (sample,) = self.maker.make([case], [spec])
        return {"__key__": spec.sample_id, **self.maker.members(sample, self.maker.row(spec, case))}

    def __call__(self, batch: dict[str, Any]) -> Any:
        rows = [self.members(i) for i in batch["id"]]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        columns["json"] = [json.dumps(meta) for meta in columns["json"]]  # a column of one type: the metas differ
        return {n: np.stack(c) if isinstance(c[0], np.ndarray) else np.array(c) for n, c in columns.items()}


class Tuned(Plain):
    """Bytes out: nothing is left for the writing task but the tar."""

    def __call__(self, batch: dict[str, Any]) -> Any:
        import pyarrow as pa

        from lesionforge.sinks.encode import encode

        made = [self.members(i) for i in batch["id"]]
        rows = [{n: v if n == "__key__" else encode(n, v) for n, v in row.items()} for row in made]
        return pa.Table.from_pylist(rows)


def run_ray_data(asked: dict[str, Any], folder: Path, tuned: bool) -> int:
    import ray

    start_ray()
    ray.data.DataContext.get_current().enable_progress_bars = False
    shard, samples = asked["shard"]["samples"], _samples(asked)
    (
        ray.data.range(samples, override_num_blocks=samples // shard)
        .map_batches(
            Tuned if tuned else Plain,
            fn_constructor_args=(asked,),
            batch_size=shard,
            concurrency=WORKERS,
            num_cpus=1,
        )
        .write_webdataset(str(folder / "out"), encoder=None if tuned else True, min_rows_per_file=shard)
    )
    return len(list((folder / "out").iterdir()))


def _samples(asked: dict[str, Any]) -> int:
    from lesionforge.engine.pipeline import Pipeline
    from lesionforge.engine.recipe import Recipe

    return len(Pipeline(Recipe.model_validate(asked)).plan)


ENGINES = {
    "ours": run_ours,
    "ray data": partial(run_ray_data, tuned=False),
    "ray data, tuned": partial(run_ray_data, tuned=True),
}


def child(engine: str, work: str, samples: int, shard: int, folder: Path) -> None:
    found = ENGINES[engine](recipe(work, samples, shard), folder)
    os.sync()
    sys.stdout.write(f"\nRESULT {json.dumps({'found': found, 'end': time.monotonic()})}\n")
    sys.stdout.flush()


# In the parent


def run(engine: str, work: str, samples: int, shard: int) -> Row:
    """One process: wall and CPU seconds of its whole tree, and what it says it found."""
    folder = Path(tempfile.mkdtemp(prefix="lesionforge-bench-"))
    command = [sys.executable, "-m", "tests.benchmarks.pipeline", engine, work, str(samples), str(shard), str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    env.pop("RAY_ADDRESS", None)
    env |= KEEP_MEMORY | {"LESIONFORGE_CACHE": str(folder / "cache")}  # nothing is kept from the run before
    (folder / "cache").mkdir(0o700)
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


def against_ray_data(work: str, sizes: tuple[int, int], shard: int, rounds: int) -> tuple[list[Row], float | None]:
    """Rows of both engines, and CPU of a further sample of Ray Data's better form over ours."""
    # ray.data cannot be imported without pandas
    engines = ("ours", "ray data", "ray data, tuned") if find_spec("pandas") else ("ours",)
    runs: dict[tuple[str, int], list[Row]] = {}
    for n in sizes:
        calls = {engine: partial(run, engine, work, n, shard) for engine in engines}
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
                "work": work,
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
        row["cpu_ratio"] = row["marginal_cpu_ms"] / rows[0]["marginal_cpu_ms"]
    return rows, min(row["cpu_ratio"] for row in rows[1:])


def measure(quick: bool = False) -> dict[str, Any]:
    """All kinds of work; ``quick`` has one round of small sizes of two."""
    sizes = {"5 ms": (200, 800, 100), "bi-plane": (40, 80, 20)}  # samples: few, many, of a shard
    if not quick:
        sizes = {
            "5 ms": (200, 2400, 100),
            "bi-plane": (40, 400, 20),
            "demo, x20": (80, 800, 40),
            "plaques, x5": (10, 40, 5),
        }
    rows, told = [], []
    for work, (few, many, shard) in sizes.items():
        some, ratio = against_ray_data(work, (few, many), shard, 1 if quick else 2)
        rows += some
        told.append(_against(work, ratio))
    return {"rows": rows, "goals": told}


def _against(work: str, ratio: float | None) -> Row:
    least = GOALS[work]
    if ratio is None:
        return goal(f"pipeline, {work}: not measured, ray.data needs pandas (at least {least} x)", False)
    return goal(f"pipeline, {work}: {ratio:.2f} x Ray Data, CPU of a further sample (at least {least})", ratio >= least)


def text(result: dict[str, Any]) -> str:
    """The tables, for people."""
    columns = {
        "engine": "engine",
        "work": "work",
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
        "cpu_ratio": "x",
        "runs": "runs",
    }
    title = f"Generate and write, {WORKERS} workers, start-up included"
    return table(title, columns, result["rows"]) + goals(result["goals"])


if __name__ == "__main__":
    engine, work, samples, shard, folder = sys.argv[1:]
    child(engine, work, int(samples), int(shard), Path(folder))
