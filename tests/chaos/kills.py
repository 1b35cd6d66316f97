"""Runs under random SIGKILLs of workers, raylets and the driver, each held against an undisturbed one."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

from lesionforge.engine.pipeline import Pipeline
from tests.chaos.cluster import Nodes, until
from tests.chaos.figures import Run, check, redone
from tests.chaos.toy import SHARD, Driver, recipe, undisturbed

KINDS = {"worker": 3, "raylet": 1, "driver": 1}  # what is killed, and how often each is chosen
SAMPLES = 160
SECONDS = 0.15  # a sample


def disturbed(
    name: str, nodes: Nodes, folder: Path, rng: random.Random, kinds: Sequence[str], samples: int = SAMPLES
) -> Run:
    """One run: a SIGKILL for each of ``kinds``, at random moments spread over the run's progress.

    Its last sample waits for the last of them: a node may take longer to start than all the samples.
    """
    log, out, go = folder / "log", folder / "out", folder / "go"
    log.mkdir(parents=True)
    seed = rng.randrange(2**31)
    last = Pipeline(recipe(seed, samples, {})).plan[samples - 1].sample_id
    params = {"seconds": SECONDS, "log": str(log), "wait_at": [last], "go": str(go)}
    asked = recipe(seed, samples, params)
    go.touch()
    undisturbed(asked, folder / "clean")
    for file in (go, *log.iterdir()):
        file.unlink()
    run, begun = Run(name), time.monotonic()
    driver = Driver(nodes.ours, nodes.address, asked, out, nodes.count)
    moments = sorted(rng.sample(range(1, samples // SHARD * 3 // 4), len(kinds)))
    for at, kind in zip(moments, kinds, strict=True):
        until(lambda at=at: driver.committed() >= at or not driver.running(), f"{at} shards")  # type: ignore[misc]
        nodes.fill()
        until(lambda: nodes.ours.workers() or not driver.running(), "a worker")
        time.sleep(rng.uniform(0, 4 * SECONDS))  # anywhere inside a sample, a commit or a start
        if not driver.running():
            break
        run.kills[kind] += 1
        if kind == "driver":
            run.workers_lost += len(nodes.ours.workers())
            driver.kill()
            driver.start()
        else:
            run.workers_lost += (nodes.kill_worker if kind == "worker" else nodes.kill_raylet)(rng)
    go.touch()
    driver.finish()
    nodes.fill()
    run.orphans = nodes.ours.outlive()
    run.seconds = time.monotonic() - begun
    run.redone = redone(log, SHARD)
    check(run, asked, out, folder / "clean")
    return run


def one(n: int, nodes: Nodes, folder: Path, rng: random.Random) -> Run:
    """A campaign's ``n``-th run: three to five kills; every kind is met within three runs, whatever the seed."""
    kinds = rng.choices(list(KINDS), list(KINDS.values()), k=rng.randint(3, 5))
    kinds[rng.randrange(len(kinds))] = list(KINDS)[n % len(KINDS)]
    return disturbed(f"kills {n + 1}", nodes, folder, rng, kinds)
