"""The whole engine against Ray Data: ``python -m tests.benchmarks --only pipeline``.

Every run is a process of its own that starts Ray with the same arguments, makes N samples with two worker processes
into a fresh folder on the local disk, in shards of the same number of samples, and calls os.sync(). Ours is
``jobs.commands.generate`` with all it does (SHA-256, indexes, manifest, card, pictures). Theirs is
``tests.benchmarks.ray_data`` around the same source, generator and checks: as its guide has it, tuned, and where a
recipe has variants, tuned with the variants of a case made together. All samples of the small runs are decoded and
must be equal. Seconds run from the start of the process to the end of the sync. CPU seconds are those of the driver and
the workers; Ray's services (raylet, gcs, dashboard, monitors), whose time goes with that of the wall, are told apart,
for everybody. The engines take turns. A fit through a small and a large N, each the least of its runs, gives start-up
and the cost of a further sample; of a recipe with variants more samples are more cases, each with all its variants.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from lesionforge.jobs.commands.generate import generate
from lesionforge.sinks.encode import decode
from tests.benchmarks import ray_data
from tests.benchmarks.common import Row, alternate, goal, goals, table
from tests.benchmarks.work import FAST, SLOW

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"demo, x20": ("demo", 20, 2), "plaques, x5": ("plaque_phantom", 5, 1)}  # variants; cases of a subject
WORKERS, LOGICAL_CPUS = 2, 4  # Ray Data's actors take two of four, so that its read and write tasks find a slot
# glibc gives large arrays back to the system at once, in the main thread more eagerly than in others: a bare loop
# would spend a fifth of its time on page faults. The same for all.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**29), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
GOALS = {"5 ms": 1.4, "bi-plane": 1.4, "demo, x20": 3.0, "plaques, x5": 3.0}  # x Ray Data, CPU of a further sample
SERVICES = (
    "/gcs_server",
    "/raylet/raylet",
    "/dashboard/",
    "monitor.py",
    "/runtime_env/",
    "ray::Dash",
    "ray::RuntimeEnv",
)
TOGETHER = "ray data, tuned, by case"
SIZES = {  # samples: few, many, of a shard; as shipped, of recipes
    "5 ms": (200, 2400, 100),
    "bi-plane": (40, 400, 20),
    "demo, x20": (320, 960, 16),
    "plaques, x5": (80, 240, 16),
}
QUICK = {"5 ms": (200, 800, 100), "demo, x20": (40, 80, 2)}


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
        raw["sources"][0]["split"] = everything
        return {**raw, "multiply": multiply, "splits": ["train"], "shard": {"samples": shard}}
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


def ours(asked: dict[str, Any], folder: Path) -> None:
    path = folder.with_suffix(".yaml")
    path.write_text(json.dumps(asked))
    generate(path, str(folder), WORKERS, in_process=False)


ENGINES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "ours": ours,
    "ray data": partial(ray_data.write, workers=WORKERS, tuned=False),
    "ray data, tuned": partial(ray_data.write, workers=WORKERS, tuned=True),
    TOGETHER: partial(ray_data.write, workers=WORKERS, tuned=True, by_case=True),
}


def child(engine: str, work: str, samples: int, shard: int, folder: Path) -> None:
    start_ray()
    ENGINES[engine](recipe(work, samples, shard), folder / "out")
    os.sync()
    sys.stdout.write(f"\nEND {time.monotonic()}\n")
    sys.stdout.flush()


# In the parent


def run(engine: str, work: str, samples: int, shard: int, look: bool) -> Row:
    """One process: wall and CPU seconds of its whole tree, its shards, and where asked for what they hold."""
    folder = Path(tempfile.mkdtemp(prefix="lesionforge-bench-"))
    command = [sys.executable, "-m", "tests.benchmarks.pipeline", engine, work, str(samples), str(shard), str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    env.pop("RAY_ADDRESS", None)
    env |= KEEP_MEMORY | {"RAY_worker_niceness": "0"}  # as ours has it where it starts Ray
    env["LESIONFORGE_CACHE"] = str(folder / "cache")  # nothing is kept from the run before
    (folder / "cache").mkdir(0o700)
    os.sync()
    start = time.monotonic()
    try:
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
            cpu, services = _cpu_seconds(process)
            out = process.communicate()[0]
            log.seek(0)
            ends = [line.removeprefix("END ") for line in out.splitlines() if line.startswith("END ")]
            if process.returncode or not ends:
                raise RuntimeError(f"{engine} ended with {process.returncode}:\n{log.read()[-3000:]}")
        shards = sorted((folder / "out").rglob("*.tar"))
        held = contents(shards) if look else None
        return {"wall": float(ends[-1]) - start, "cpu": cpu, "services": services, "shards": len(shards), "held": held}
    finally:
        shutil.rmtree(folder)


def contents(shards: list[Path]) -> dict[str, str]:
    """SHA-256 of every decoded member, whatever it was packed as."""
    out = {}
    for path in shards:
        with tarfile.open(path) as file:
            for member in file:
                data = file.extractfile(member)
                value = decode(member.name, data.read() if data else b"")
                if isinstance(value, np.ndarray):
                    value = f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value)).hexdigest()}"
                name = ray_data.PACKED.sub(".npy", member.name)
                out[name] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return out


def _cpu_seconds(process: subprocess.Popen[str]) -> tuple[float, float]:
    """CPU seconds of a process and the workers below it, and of Ray's services, each as last seen, until it ends."""
    seen: dict[tuple[int, float], tuple[bool, float]] = {}
    while process.poll() is None:
        try:
            root = psutil.Process(process.pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for one in tree:
            try:
                times, name = one.cpu_times(), " ".join(one.cmdline()[:3])
                seen[one.pid, one.create_time()] = any(map(name.count, SERVICES)), times.user + times.system
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        time.sleep(0.2)
    services = sum(seconds for is_service, seconds in seen.values() if is_service)
    return sum(seconds for _, seconds in seen.values()) - services, services


def against_ray_data(work: str, sizes: tuple[int, int], shard: int, rounds: int) -> tuple[list[Row], float | None]:
    """Rows of all engines, and CPU of a further sample of Ray Data's better form over ours."""
    engines = ["ours"]
    if find_spec("pandas"):  # ray.data cannot be imported without
        engines += [name for name in ENGINES if name != "ours" and (name != TOGETHER or work in SHIPPED)]
    small, large = sizes
    runs: dict[tuple[str, int], list[Row]] = {}
    for n in sizes:
        calls = {engine: partial(run, engine, work, n, shard, look=n == small) for engine in engines}
        for engine, results in alternate(calls, rounds).items():
            runs[engine, n] = results
    if any(result["held"] != runs["ours", small][0]["held"] for engine in engines for result in runs[engine, small]):
        raise RuntimeError(f"{work}: not everybody has made the same samples")
    rows = []
    for engine in engines:
        wall, cpu = ({n: min(r[what] for r in runs[engine, n]) for n in sizes} for what in ("wall", "cpu"))
        each = (wall[large] - wall[small]) / (large - small)
        cpu_each = (cpu[large] - cpu[small]) / (large - small)
        rows.append(
            {
                "work": work,
                "engine": engine,
                "samples": large,
                "shards": runs[engine, large][0]["shards"],
                "rate": large / wall[large],
                "services_ms": 1e3 * min(r["services"] for r in runs[engine, large]) / large,
                "cpu_ms": 1e3 * cpu[large] / large,
                "startup_s": wall[small] - small * each,
                "startup_cpu_s": cpu[small] - small * cpu_each,
                "marginal_rate": 1 / each if each > 0 else None,
                "marginal_cpu_ms": 1e3 * cpu_each,
                "runs": rounds,
            }
        )
    for row in rows:
        row["ratio"] = rows[0]["rate"] / row["rate"]
        row["cpu_ratio"] = row["marginal_cpu_ms"] / rows[0]["marginal_cpu_ms"]
    return rows, min((row["cpu_ratio"] for row in rows[1:] if row["engine"] != TOGETHER), default=None)


def measure(quick: bool = False) -> dict[str, Any]:
    """All kinds of work; ``quick`` has one round of small sizes of two."""
    rows, told = [], []
    for work, (few, many, shard) in (QUICK if quick else SIZES).items():
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
        "ratio": "ours is x",
        "cpu_ms": "CPU ms",
        "services_ms": "of Ray's services",
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
