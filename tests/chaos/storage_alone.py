"""Servers that do not refuse a second creator: one driver at a time, and what late drivers and requests may still do.

The proxy makes the real server into one of them. What late attempts write has other pixels on purpose, so that a
single byte of theirs would show.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from lesionforge.generators.types import Sample
from lesionforge.sinks import dataset
from tests.chaos.cluster import until
from tests.chaos.proxy import Call
from tests.chaos.storage_bench import (
    BUCKET,
    Bench,
    Figures,
    Reader,
    check,
    contents,
    count,
    disturbed,
    said,
)
from tests.chaos.toy import ROOT
from tests.faulty import Faulty

# A driver in a process of its own: it makes other pixels if told so, and takes its time.
_DRIVER = """
import sys, time
from pathlib import Path
from unittest import mock
from lesionforge.engine import retries
from lesionforge.generators.types import UserError
from lesionforge.jobs import console
from lesionforge.jobs.commands.generate import generate
from lesionforge.sinks.store import lease
from tests.chaos import storage_alone, storage_bench
recipe, url, other, pause, last, gate = sys.argv[1:]
console.err.quiet = True
mock.patch.multiple(lease, BEAT=storage_bench.BEAT, STALE=storage_bench.STALE).start()
mock.patch.object(retries, "PAUSES", (0.2,)).start()
opened = lambda: storage_alone.until(Path(gate).exists, "the gate")
storage_alone.pixels(int(other), float(pause), {last: opened}).start()
try:
    generate(Path(recipe), url, None, True)
except UserError as error:
    sys.exit(f"said: {error}")
"""
PAUSE = 0.15  # seconds a sample


def pixels(other: int, pause: float = 0.0, gates: Mapping[str, Callable[[], Any]] | None = None) -> Any:
    """A patch of the toy generator: ``other`` is added to every pixel, after a pause.

    Args:
        gates: what the sample of an id waits for, so that a run cannot end before it.
    """
    make, gates = Faulty.generate, gates or {}

    def generate(self: Faulty, cases: Any, specs: Any) -> Iterator[Sample]:
        for sample in make(self, cases, specs):
            time.sleep(pause)
            gates.get(sample.spec.sample_id, lambda: None)()
            sample.fields["image.png"] = sample.fields["image.png"] + np.uint8(other)
            yield sample

    return mock.patch.object(Faulty, "generate", generate)


def campaign(bench: Bench, small: bool = False) -> list[Figures]:
    """What one driver at a time gets through, and what a second one cannot do; ``small`` leaves some out."""
    out = [disturbed(bench, "condition refused", lambda call: "", "refused")]
    for kind, share in (("lost", 0.4), ("absent", 0.5), ("cut_request", 0.4))[: 1 if small else 3]:
        out.append(disturbed(bench, f"condition ignored, {kind}", bench.draw(kind, share, 2), "ignored"))
    out += [_late_requests(bench, "ignored"), _two_drivers(bench)]
    if not small:
        out += [_late_stage(bench), _late_requests(bench, "honest"), _dead_driver(bench)]
    return out


def _late_stage(bench: Bench) -> Figures:
    """Workers' uploads that land once more when everything is over."""
    first_stage = lambda call: "hold" if call.count == 0 and _is_stage(call) else ""  # noqa: E731
    figures, url, begun = _begin(bench, "late uploads of workers", "ignored", first_stage)
    with Reader(bench.direct(url), figures):
        bench.run(url)
        _release(figures, bench, url, {200})
    return _end(figures, bench, url, begun)


def _late_requests(bench: Bench, creation: str) -> Figures:
    """A driver whose last writes are lost on the way; they land after its successor has finished."""
    name = f"late writes of a dead driver, condition {creation}"
    lost = lambda call: "hold" if _is_final(call) and "000003" in call.key else ""  # noqa: E731
    figures, url, begun = _begin(bench, name, creation, lost)
    with Reader(bench.direct(url), figures):
        with pixels(1):
            said(figures, lambda: bench.run(url), "000003")
        bench.proxy.fault = lambda call: ""
        bench.run(url)
        _release(figures, bench, url, {404, 412})
    return _end(figures, bench, url, begun, contents(bench.direct(url)))


def _two_drivers(bench: Bench) -> Figures:
    """A second driver is refused while the first is at work, takes over while it sleeps; then the first wakes up.

    The first's last sample waits for a gate, so that it always has work left when it wakes up.
    """
    figures, url, begun = _begin(bench, "two drivers, one wakes up late", "ignored")
    with Reader(bench.direct(url), figures), _driver(bench, url, other=1) as (first, gate):
        _wait_for(bench, url, 1, first)
        said(figures, lambda: bench.run(url), "a run is at work")
        _wait_for(bench, url, 2, first)
        first.send_signal(signal.SIGSTOP)
        bench.run(url)
        before = contents(bench.direct(url))
        gate.touch()
        first.send_signal(signal.SIGCONT)
        _, error = first.communicate(timeout=120)
        if not first.returncode or not error.startswith("said: ") or "\n" in error.strip():
            figures.wrong.append(f"not ended in one line: {first.returncode} {error[-300:]}")
    return _end(figures, bench, url, begun, before)


def _dead_driver(bench: Bench) -> Figures:
    """A driver that is killed before its gate opens; the next one on the same machine need not wait."""
    figures, url, begun = _begin(bench, "a killed driver", "ignored")
    with Reader(bench.direct(url), figures):
        with _driver(bench, url, other=0) as (first, _):
            _wait_for(bench, url, 2, first)
            first.kill()
        bench.run(url)
    return _end(figures, bench, url, begun)


def _begin(
    bench: Bench, name: str, creation: str, fault: Callable[[Call], str] = lambda call: ""
) -> tuple[Figures, str, float]:
    bench.proxy.calm()
    bench.proxy.creation, bench.proxy.fault = creation, fault
    return Figures(name), f"s3://{BUCKET}/{name.replace(' ', '-').replace(',', '')}", time.monotonic()


def _end(figures: Figures, bench: Bench, url: str, begun: float, clean: dict[str, bytes] | None = None) -> Figures:
    count(figures, bench.proxy)
    check(figures, bench, url, clean)
    figures.seconds = time.monotonic() - begun
    return figures


def _release(figures: Figures, bench: Bench, url: str, expected: set[int]) -> None:
    """Let the held requests land; the dataset must stay as it is."""
    before = contents(bench.direct(url))
    statuses = bench.proxy.release()
    if not statuses or not set(statuses) <= expected:
        figures.wrong.append(f"late requests were answered {statuses}")
    if contents(bench.direct(url)) != before:
        figures.wrong.append("late requests changed the dataset")


def _is_stage(call: Call) -> bool:
    return call.kind == "PUT" and re.search(r"/\.tmp/[0-9a-f]{32}/", call.key) is not None


def _is_final(call: Call) -> bool:
    return call.kind in ("PUT", "COPY") and re.search(r"/(shards|index)/", call.key) is not None


@contextlib.contextmanager
def _driver(bench: Bench, url: str, other: int) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A driver, and the file for which its last sample waits."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    gate = bench.path.with_name(f"gate{other}")
    gate.unlink(missing_ok=True)
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(bench.path), url, str(other), str(PAUSE), bench.last, str(gate)],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield driver, gate
    finally:
        driver.kill()
        driver.wait()


def _wait_for(bench: Bench, url: str, shards: int, driver: subprocess.Popen[str]) -> None:
    store = bench.direct(url)
    until(lambda: len(dataset.committed(store)) >= shards or driver.poll() is not None, f"{shards} shards")
    if driver.poll() is not None:
        raise RuntimeError(f"the driver ended too early: {driver.communicate()[1][-2000:]}")
