"""The campaign: inputs dealt to worker processes, each watched for death, for time and for memory."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.guard import ROOT
from tests.fuzz.kinds import KINDS, WEIGHTS
from tests.fuzz.mutate import Rng

ENDS = ("read", "quarantined", "error", "generic", "crash", "hang", "memory", "escape")
BAD = ("crash", "hang", "memory", "escape")
STARTUP = 300.0  # seconds in which a worker must have imported everything
TICK = 0.25


@dataclass(frozen=True)
class Limits:
    """Of one input. Time is that of the processor, so that a busy machine makes no hang; blocked ones wait longer."""

    memory: int = 2**30  # bytes that a worker's address space may grow by
    cpu_seconds: float = 10.0
    wall_seconds: float = 120.0


@dataclass
class Campaign:
    """What is to be tried, and what came of it: by kind and end, with every bad or generic one told."""

    inputs: int
    seed: int = 0
    workers: int = 2
    limits: Limits = Limits()
    kinds: tuple[str, ...] = KINDS
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    notable: list[dict[str, Any]] = field(default_factory=list)
    said: dict[str, Counter[str]] = field(default_factory=dict)
    peak_bytes: int = 0  # the most resident memory that a worker had above its own at the start
    slowest: float = 0.0  # processor seconds of the slowest input

    def run(self) -> None:
        """Try all of them."""
        todo: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        for item in self.deal():
            todo.put(item)
        lock, faults = threading.Lock(), list[BaseException]()

        def serve() -> None:
            try:
                with Process(self.seed, self.limits) as process:
                    while True:
                        try:
                            kind, number = todo.get_nowait()
                        except queue.Empty:
                            break
                        answer = process.attempt(kind, number)
                        with lock:
                            self._count(answer)
                    self.peak_bytes, self.slowest = (
                        max(self.peak_bytes, process.peak),
                        max(self.slowest, process.slowest),
                    )
            except BaseException as error:
                faults.append(error)
                with contextlib.suppress(queue.Empty):
                    while True:  # the others need not go on
                        todo.get_nowait()

        threads = [threading.Thread(target=serve) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]

    def deal(self) -> Iterator[tuple[str, int]]:
        """Kinds by their weights in a seeded order, each input with its number among its kind."""
        weights = [weight for kind, weight in zip(KINDS, WEIGHTS, strict=True) if kind in self.kinds]
        numbers: Counter[str] = Counter()
        for kind in Rng(f"{self.seed}/deal").choices(self.kinds, weights, k=self.inputs):
            yield kind, numbers[kind]
            numbers[kind] += 1

    def _count(self, answer: dict[str, Any]) -> None:
        self.counts[answer["kind"], answer["end"]] += 1
        if answer["end"] in (*BAD, "generic"):
            self.notable.append(answer)

    def total(self, end: str) -> int:
        """Inputs of all kinds that ended so."""
        return sum(count for (_, e), count in self.counts.items() if e == end)

    @property
    def sound(self) -> bool:
        """Every input is accounted for, and none ended badly."""
        return sum(self.counts.values()) == self.inputs and not any(self.total(end) for end in BAD)

    def figures(self) -> dict[str, Any]:
        """The same figures for machines."""
        by_kind = {kind: {end: self.counts[kind, end] for end in ENDS} for kind in self.kinds}
        body: dict[str, Any] = {"inputs": self.inputs, "seed": self.seed, "limits": vars(self.limits), "kinds": by_kind}
        body |= {end: self.total(end) for end in ENDS}
        body |= {"peak_resident_growth_bytes": self.peak_bytes, "slowest_cpu_seconds": round(self.slowest, 2)}
        return body | {"notable": self.notable}


class Process:
    """One worker process, started again after each death."""

    def __init__(self, seed: int, limits: Limits) -> None:
        self._seed, self._limits = seed, limits
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.peak, self._base, self.slowest = 0, 0, 0.0
        self._start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def attempt(self, kind: str, number: int) -> dict[str, Any]:
        """Have one input tried; its end is ``hang`` past the time limits and ``crash`` where the process died."""
        self._process.stdin.write(f"{kind} {number}\n")
        self._process.stdin.flush()
        began, before = time.monotonic(), self._cpu()
        told = {"kind": kind, "number": number}
        while True:
            line = self._line(TICK)
            if line:
                self._measure(self._cpu() - before)
                return dict(json.loads(line))
            if line is not None:  # the end of its output
                code = self._process.wait()
                if code == 1:  # an exception outside the product: the input could not be made
                    raise RuntimeError(f"{kind}/{number}: {self._stderr()}")
                self._start()
                name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return {**told, "end": "crash", "said": [f"the process died: {name}"]}
            cpu, wall = self._cpu() - before, time.monotonic() - began
            if cpu > self._limits.cpu_seconds or wall > self._limits.wall_seconds:
                self._end()
                self._start()
                return {**told, "end": "hang", "said": [f"{cpu:.1f} s of processor, {wall:.1f} s in all"]}

    def _start(self) -> None:
        command = [sys.executable, "-m", "tests.fuzz.worker", str(self._seed), str(self._limits.memory)]
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        quiet |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
        self._process: Any = subprocess.Popen(
            [*command, str(self._folder / "input")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder / "stderr").open("wb"),
            text=True,
            cwd=ROOT,
            env={**os.environ, **quiet},
        )
        line = self._line(STARTUP)
        if not line:
            self._end()
            raise RuntimeError(f"a worker did not start: {self._stderr()}")
        self._base = self._status("VmRSS")

    def _stderr(self) -> str:
        return (self._folder / "stderr").read_text(errors="replace")[-2000:]

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _line(self, seconds: float) -> str | None:
        """An answer; an empty text at the end of all answers; None where there is none yet."""
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline() if ready else None

    def _measure(self, cpu: float) -> None:
        self.slowest = max(self.slowest, cpu)
        self.peak = max(self.peak, self._status("VmHWM") - self._base)

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return 0

    def _cpu(self) -> float:
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
