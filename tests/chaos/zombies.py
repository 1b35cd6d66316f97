"""Workers that are stopped (SIGSTOP) until others have committed their shard, and then wake: nothing may change."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from lesionforge.engine.pipeline import Pipeline
from lesionforge.sinks import layout
from lesionforge.sinks.gc import collect
from lesionforge.sinks.store import Store
from tests.chaos.cluster import PATIENCE, Nodes, Ours, until
from tests.chaos.figures import Run, check, redone
from tests.chaos.toy import ROOT, SHARD, Driver, recipe, undisturbed
from tests.chaos.zombie import MOMENTS

SECONDS = 0.15  # a sample


def state(out: Path) -> dict[str, Any]:
    """Every visible file of a dataset: which file it is (inode), when it was written, and its bytes."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and ".tmp" not in p.parts]
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def alone(moment: str, swept: bool, ours: Ours, folder: Path, seed: int) -> Run:
    """One worker process stops itself at a moment; its shard is made by another; it wakes and ends its work.

    Args:
        swept: ``gc`` takes its temporary files away while it sleeps.
    """
    begun, out = time.monotonic(), folder / "out"
    folder.mkdir(parents=True)
    asked = recipe(seed, 16, {})
    (folder / "recipe.yaml").write_text(json.dumps(asked.model_dump(mode="json")))
    undisturbed(asked, folder / "clean")
    zombie = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.zombie", str(folder / "recipe.yaml"), str(out), moment],
        cwd=ROOT, env=os.environ | ours.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    run = Run(f"zombie, {moment}" + (", swept" if swept else ""))
    until(lambda: stopped(zombie.pid) or zombie.poll() is not None, "the zombie's sleep")
    undisturbed(asked, out)
    if swept:
        run.swept = len(collect(Store(str(out)), young=0).removed)
    before = state(out)
    zombie.send_signal(signal.SIGCONT)
    said, complaint = zombie.communicate(timeout=PATIENCE)
    run.kills["stopped"] += 1
    if not swept and said != "finished\n":
        run.wrong.append(f"it did not come to its end: {complaint[-300:]}")
    if swept and run.swept == 0:
        run.wrong.append("there was nothing to sweep")
    if state(out) != before:
        run.wrong.append("it changed the dataset")
    check(run, asked, out, folder / "clean")
    run.seconds = time.monotonic() - begun
    return run


def on_ray(nodes: Nodes, folder: Path, rng: random.Random, limit: float) -> Run:
    """A worker on the cluster is stopped in the middle of a shard, until that shard is committed by another.

    Ray ends it some seconds after the driver has given it up, so it may be gone before it could wake; a true zombie
    needs a cut network: see ``network``.

    Args:
        limit: seconds that a sample may take; what makes the driver look after a silent worker.
    """
    log, out, begun = folder / "log", folder / "out", time.monotonic()
    log.mkdir(parents=True)
    asked = recipe(rng.randrange(2**31), 96, {"seconds": SECONDS, "log": str(log)}, resources={"sample_seconds": limit})
    undisturbed(asked, folder / "clean")
    for file in log.iterdir():
        file.unlink()
    run = Run("zombie on Ray")
    driver = Driver(nodes.ours, nodes.address, asked, out, nodes.count)
    driver.until(lambda: driver.committed() >= 2, "two shards")
    worker, index = stop_one(nodes.ours, rng, log, out, Pipeline(asked).plan)
    run.kills["stopped"] += 1
    run.workers_lost = 1
    driver.until(index.exists, "another's commit of the zombie's shard")
    before = state(out)
    wake(worker)
    driver.finish()
    run.orphans = nodes.ours.outlive()
    run.wrong += changed(before, out)
    run.redone = redone(log, SHARD)
    check(run, asked, out, folder / "clean")
    run.seconds = time.monotonic() - begun
    return run


def wake(worker: psutil.Process) -> bool:
    """Let a stopped process go on; false where it is gone."""
    if not stopped(worker.pid):
        return False
    worker.send_signal(signal.SIGCONT)
    return True


def changed(before: dict[str, Any], out: Path) -> list[str]:
    """Complaints about committed files that are not those of ``before`` any more."""
    now = state(out)
    kept = {path: was for path, was in before.items() if Path(path).parent.name in ("shards", "index")}
    return [f"{Path(path).name} was changed by a zombie" for path, was in kept.items() if now.get(path) != was]


def stop_one(ours: Ours, rng: random.Random, log: Path, out: Path, plan: Any) -> tuple[psutil.Process, Path]:
    """Stop a worker whose shard is not committed yet; returns it and where that shard's index will be."""

    def attempt() -> tuple[psutil.Process, Path] | None:
        time.sleep(rng.uniform(0, 4 * SECONDS))  # not always at the beginning of a shard
        worker = rng.choice(ours.workers() or [None])
        lines = (log / str(worker.pid)).read_text().split() if worker and (log / str(worker.pid)).exists() else []
        if not lines:
            return None
        worker.send_signal(signal.SIGSTOP)
        until(lambda: stopped(worker.pid), "the stop")
        last = (log / str(worker.pid)).read_text().split()[-1]
        index = out / layout.index(plan.shard_of(plan.find(last)).name)
        if not index.exists():
            return worker, index
        worker.send_signal(signal.SIGCONT)  # it was just between two shards
        return None

    found: tuple[psutil.Process, Path] = until(attempt, "a worker in the middle of a shard")
    return found


def campaign(nodes: Nodes, folder: Path, seed: int, limit: float) -> list[Run]:
    """Zombies at each moment, with ``gc`` sweeping where that has anything to sweep, then one on the cluster."""
    asleep = [(moment, swept) for moment in MOMENTS for swept in (False, True) if not swept or "not yet" in moment]
    alones = [alone(*how, nodes.ours, folder / f"alone{n}", seed) for n, how in enumerate(asleep)]
    return [*alones, on_ray(nodes, folder / "ray", random.Random(seed), limit)]
