"""Bad days that are nobody's fault: a source away, a sick GPU, a paused machine, a slow one. No sample may be lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.chaos.cluster import Nodes, until
from tests.chaos.figures import Run, check
from tests.chaos.toy import Driver, recipe, undisturbed
from tests.chaos.zombies import wake
from tests.weather import Weather

SECONDS = 0.1  # a sample
AWAY = 3.0  # seconds that the source is away


def on_ray(nodes: Nodes, folder: Path, rng: random.Random, limit: float) -> Run:
    """One run on the cluster that meets them one after the other.

    Args:
        limit: seconds that a sample may take; a worker is paused for two more.
    """
    begun, weather, out = time.monotonic(), Weather(folder / "weather"), folder / "out"
    where = {"weather": str(weather.folder)}
    asked = recipe(
        rng.randrange(2**31), 96, {"seconds": SECONDS, **where}, where, resources={"sample_seconds": limit}
    )  # fmt: skip
    undisturbed(asked, folder / "clean")
    run = Run("surroundings")
    driver = Driver(nodes.ours, nodes.address, asked, out, nodes.count)
    for number, (name, happen) in enumerate(EVENTS.items()):
        driver.until(lambda n=number: driver.committed() >= 2 * n + 2, name)  # type: ignore[misc]
        happen(nodes, weather, rng, limit)
        run.kills[name] += 1
        weather.clear()
    said = driver.finish()
    run.orphans = nodes.ours.outlive()
    run.workers_lost = int(said["worker_deaths"])
    if said["failed"] or not said["quota_met"]:
        run.wrong.append(f"left undone: {said['failed']}, {said['problem']}")
    run.lost += len(check(run, asked, out, folder / "clean"))
    run.seconds = time.monotonic() - begun
    return run


def _source_away(nodes: Nodes, weather: Weather, rng: random.Random, limit: float) -> None:
    weather.bring("read", "ESTALE")
    time.sleep(AWAY)


def _gpu_error(nodes: Nodes, weather: Weather, rng: random.Random, limit: float) -> None:
    """One worker's GPU fails whatever it makes, until the worker is replaced."""
    sick = rng.choice(nodes.ours.workers())
    weather.strike_process("make", "cuda", sick.pid)
    until(lambda: not sick.is_running() or sick.status() == psutil.STATUS_ZOMBIE, "the sick worker's end", 60)


def _pause(nodes: Nodes, weather: Weather, rng: random.Random, limit: float) -> None:
    worker = rng.choice(nodes.ours.workers())
    worker.send_signal(signal.SIGSTOP)
    time.sleep(limit + 2)
    wake(worker)


def _slow(nodes: Nodes, weather: Weather, rng: random.Random, limit: float) -> None:
    weather.bring("read", "slow", times=2)
    time.sleep(1)


EVENTS: dict[str, Callable[[Nodes, Weather, random.Random, float], None]] = {
    "source away": _source_away, "GPU error": _gpu_error, "slow": _slow, "paused": _pause,
}  # fmt: skip
