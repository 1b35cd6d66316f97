"""What the engine costs over the bare generator at 50 ms a sample: ``python -m tests.benchmarks --only overhead``.

One Ray worker process alternates a plain loop over the generator, its results thrown away, and a whole shard made by
our worker (read, generate, check, encode, hash, commit, index) of as many samples. Taking turns every few seconds in
one process cancels the drift of a shared machine, which is larger than the overhead. ``hand-over`` is what comes on
top between two shards: the driver's round trip, seen from a run of one worker with our driver and two shards in flight.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.common import Row, goal, goals, median, table
from tests.benchmarks.pipeline import recipe, start_ray
from tests.benchmarks.work import SLOW, make

GOAL = 0.05
SHARD = 100  # samples: the default of recipes


class Pair:
    """The actor: one worker of ours, and the bare loop beside it."""

    def __init__(self, asked: dict[str, Any], place: str) -> None:
        from lesionforge.engine.recipe import Recipe
        from lesionforge.engine.worker import Worker
        from lesionforge.sinks.store import Store

        self.worker = Worker(Recipe.model_validate(asked), Store(place))
        bare(3)

    def go(self, k: int, samples: int) -> tuple[float, float]:
        """Seconds a sample, bare and ours."""
        from lesionforge.engine.messages import Task

        plain = bare(samples)
        start = time.perf_counter()
        self.worker.make(Task(k))
        return plain, (time.perf_counter() - start) / samples


def bare(samples: int) -> float:
    start = time.perf_counter()
    for seed in range(samples):
        make(np.random.Generator(np.random.Philox(seed)), SLOW)
    return (time.perf_counter() - start) / samples


def hand_over(asked: dict[str, Any], place: str) -> float:
    """Seconds between the end of a shard in the worker and the beginning of its next, through driver and pool."""
    from lesionforge.engine import driver
    from lesionforge.engine.pipeline import Pipeline
    from lesionforge.engine.ray.pool import RayPool
    from lesionforge.engine.recipe import Recipe
    from lesionforge.sinks.store import Store

    made, store, ends, walls = Recipe.model_validate(asked), Store(place), list[float](), list[float]()

    def told(report: Any) -> None:
        ends.append(time.perf_counter())
        walls.append(report.seconds["wall"])

    pool = RayPool(made, store, 1)
    try:
        driver.run(Pipeline(made), store, pool, told)
    finally:
        pool.close()
    return median([end - before - wall for before, end, wall in zip(ends, ends[1:], walls[1:], strict=False)])


def measure(quick: bool = False) -> dict[str, Any]:
    """Paired rounds; ``quick`` has small shards."""
    import ray

    shard, rounds = (10, 2) if quick else (SHARD, 5)
    with _folder() as folder:
        start_ray()
        actor = ray.remote(num_cpus=1)(Pair).remote(recipe("50 ms", shard * rounds, shard), str(folder / "pairs"))
        found = [ray.get(actor.go.remote(k, shard)) for k in range(rounds)]
        ray.kill(actor)
        between = hand_over(recipe("5 ms", 200, 20), str(folder / "driver"))
        ray.shutdown()
    plain, ours = zip(*found, strict=True)
    extra = median([b / a - 1 for a, b in found]) + between / (shard * median(plain))
    rows: list[Row] = [
        {"engine": "bare generator in a loop", "ms": 1e3 * median(plain), "runs": rounds},
        {"engine": "our worker, whole shards", "ms": 1e3 * median(ours), "runs": rounds},
        {"engine": "hand-over between shards, a sample's share", "ms": 1e3 * between / shard, "runs": 9},
    ]
    text = (
        f"overhead over the bare generator, 50 ms, shards of {shard}: {100 * extra:.1f} % (at most {100 * GOAL:.0f} %)"
    )
    return {"rows": rows, "pairs": found, "goals": [goal(text, extra <= GOAL)]}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lesionforge-bench-") as folder:
        yield Path(folder)


def text(result: dict[str, Any]) -> str:
    """The table, for people."""
    columns = {"engine": "one worker", "ms": "median ms a sample", "runs": "runs"}
    return table("Overhead, taking turns in one Ray worker", columns, result["rows"]) + goals(result["goals"])
