"""The faults of the weather campaign: what each does to a run, and after how many seconds it is lifted.

A fault is a function of a `Scene`; it returns a function that lifts it, where it does not pass by itself.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.cluster import Ours
from tests.chaos.proxy import Proxy
from tests.chaos.storms import CLOCK
from tests.weather import Weather

Lift = Callable[[], object]
PAGE = "{0} {1} {2} 1 2 3"  # what a file of the source holds: six numbers


@dataclass
class Scene:
    """Where a run takes place, as far as faults reach.

    Attributes:
        source: the folder of the source.
        orders: what the processes heed.
        begin: starts a command beside, by its words.
        driver: the process id of the run's driver.
        proxy: before the bucket, where there is one.
        ours: the processes of the cluster, where there is one.
        states: every content that the source has had, by file.
    """

    source: Path
    orders: Weather
    rng: random.Random
    begin: Callable[..., object]
    driver: Callable[[], int]
    proxy: Proxy | None = None
    ours: Ours | None = None
    states: list[dict[str, str]] = field(default_factory=list)

    def write(self, state: dict[str, str]) -> None:
        """Give the source other content; what is unchanged is not touched."""
        for path in list(self.source.iterdir()):
            if path.name not in state:
                path.unlink()
        for name, text in state.items():
            path = self.source / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
        self.states.append(state)

    def workers(self) -> list[psutil.Process]:
        """Ray's workers; none where the driver does it all."""
        return self.ours.workers() if self.ours else []


def pages(count: int) -> dict[str, str]:
    """The files of a source."""
    return {f"{n}.txt": PAGE.format(n, n % 7, 10 + n) for n in range(10, 10 + count)}


def _source_away(scene: Scene) -> Lift:
    away = scene.source.with_name("away")
    scene.source.rename(away)
    return lambda: away.rename(scene.source)


def _source_changed(scene: Scene) -> Lift:
    """A file gets other content, as a new file or in place under the old times, or is gone, or one more is there."""
    before = scene.states[-1]
    name, how = scene.rng.choice(sorted(before)), scene.rng.choice(("other", "same times", "gone", "more"))
    number = scene.rng.randrange(100, 1000)
    if how == "gone":
        after = {other: text for other, text in before.items() if other != name}
    elif how == "more":
        after = before | {f"{number}.txt": PAGE.format(10, 4, 11)}
    else:
        after = before | {name: before[name][:-1] + str((int(before[name][-1]) + 1) % 10)}
    was = (scene.source / name).stat()
    if how == "other":
        (scene.source / name).unlink()
    scene.write(after)
    if how == "same times":
        os.utime(scene.source / name, ns=(was.st_atime_ns, was.st_mtime_ns))
    stays = scene.rng.random() < 0.25
    return (lambda: None) if stays else lambda: scene.write(before)


def _worker_killed(scene: Scene) -> None:
    for worker in scene.rng.sample(found := scene.workers(), min(1, len(found))):
        worker.kill()


def _paused(scene: Scene) -> Lift:
    """A worker, or where there is none the driver itself, as a machine that is suspended."""
    pid = scene.rng.choice([worker.pid for worker in scene.workers()] or [scene.driver()])
    _signal(pid, signal.SIGSTOP)
    return lambda: _signal(pid, signal.SIGCONT)


def _driver_killed(scene: Scene) -> None:
    _signal(scene.driver(), signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _gpu_error(scene: Scene) -> None:
    workers = scene.workers()
    if workers and scene.rng.random() < 0.5:
        scene.orders.strike_process("make", "cuda", scene.rng.choice(workers).pid)
    else:
        scene.orders.bring("make", scene.rng.choice(("cuda", "gpu-memory")), times=scene.rng.randint(1, 3))


def _ordered(stage: str, *kinds: str) -> Callable[[Scene], Lift | None]:
    """What the disk or the source does some times, or for a while."""

    def happen(scene: Scene) -> Lift | None:
        kind = scene.rng.choice(kinds)
        if scene.rng.random() < 0.5:
            scene.orders.bring(stage, kind, times=scene.rng.randint(1, 4))
            return None
        scene.orders.bring(stage, kind)
        return lambda: (scene.orders.folder / f"{stage}.{kind}.any.always").unlink(missing_ok=True)

    return happen


def _spoilt(kind: str) -> Callable[[Scene], Lift]:
    """What the line to the bucket does for a while."""

    def happen(scene: Scene) -> Lift:
        assert scene.proxy is not None
        proxy, share = scene.proxy, scene.rng.uniform(0.3, 1)
        draws = random.Random(scene.rng.random())
        proxy.fault = lambda call: kind if draws.random() < share else ""
        return lambda: setattr(proxy, "fault", lambda call: "")

    return happen


def _clock_jump(scene: Scene) -> None:
    offset = scene.rng.choice((-1, 1)) * 10 ** scene.rng.uniform(1, 6)
    (scene.orders.folder / CLOCK).write_text(f"{offset:.0f}")


def _second_driver(scene: Scene) -> None:
    scene.begin("generate")


def _gc_beside(scene: Scene) -> None:
    scene.begin("gc", "--age", scene.rng.choice(("0", "3600")))


Fault = Callable[[Scene], Any]
ANYWHERE: dict[str, Fault] = {
    "source away": _source_away, "source changed": _source_changed, "paused": _paused, "driver killed": _driver_killed,
    "GPU error": _gpu_error, "slow source": _ordered("read", "slow"), "clock jump": _clock_jump,
    "second driver": _second_driver, "gc beside": _gc_beside,
}  # fmt: skip
ON_A_DISK: dict[str, Fault] = {
    "place full": _ordered("disk", "ENOSPC", "EDQUOT"), "slow place": _ordered("disk", "slow"),
    "place away": _ordered("disk", "EIO", "ESTALE"), "answer lost": _ordered("answer", "ETIMEDOUT", "EIO"),
}  # fmt: skip
ON_S3: dict[str, Fault] = {
    "503": _spoilt("slowdown"), "slow place": _spoilt("slow"), "answer lost": _spoilt("lost"),
    "answer cut": _spoilt("cut_answer"), "request cut": _spoilt("cut_request"),
}  # fmt: skip
ON_RAY: dict[str, Fault] = {"worker killed": _worker_killed}
