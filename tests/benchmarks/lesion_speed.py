"""How fast the ``texture`` backend makes volumes of 128^3, and where the time goes.

``python -m tests.benchmarks.lesion_speed``: two processes, one core each, on phantoms that are made before the clock
starts; encoding as the shards have it is in, storing is not.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

from lesionforge.generators.lesion import blend, lumen
from lesionforge.generators.lesion import measure as meter
from lesionforge.generators.lesion.classes import PLAQUES, TUMOURS
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.texture import TextureFiller
from lesionforge.generators.phantom.ct.abdomen import phantom_abdomen
from lesionforge.generators.phantom.ct.ccta import phantom_ccta
from lesionforge.generators.types import Rejected, SampleSpec, Volume
from lesionforge.sinks.encode import encode
from tests.benchmarks.common import Row, table

SIZE = 128
PROCESSES = 2
SAMPLES = 40  # of each kind and process
STAGES = ("shape and place", "tissue", "blend", "measure", "encode")


def background(kind: str) -> Volume:
    """A phantom of the papers' voxels, or of a coronary CT's."""
    key = hashlib.sha256(b"speed").digest()
    if kind == "plaques":
        return phantom_ccta(key, "c", shape=(144, 144, 144), spacing_mm=(0.45, 0.45, 0.45), about="left")
    return phantom_abdomen(key, "a", shape=(176, 144, 144), spacing_mm=(1.5, 1.5, 1.5))


@contextmanager
def clocks() -> Iterator[dict[str, float]]:
    """Seconds spent in each stage, while it lasts; a stage inside another counts for the inner one."""
    spent: dict[str, float] = defaultdict(float)
    running: list[str] = []

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            running.append(stage)
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - begun
                running.pop()
                spent[stage] += took
                if running:
                    spent[running[-1]] -= took

        return call

    with (
        mock.patch.object(LesionGenerator, "draft", timed(STAGES[0], LesionGenerator.draft)),
        mock.patch.object(TextureFiller, "fill", timed(STAGES[1], TextureFiller.fill)),
        mock.patch.object(blend, "weights", timed(STAGES[2], blend.weights)),
        mock.patch.object(blend, "composite", timed(STAGES[2], blend.composite)),
        mock.patch.object(meter, "region", timed(STAGES[3], meter.region)),
        mock.patch.object(meter, "percent_ds", timed(STAGES[3], meter.percent_ds)),
        mock.patch.object(meter, "narrowing", timed(STAGES[3], meter.narrowing)),
        mock.patch.object(lumen, "read", timed(STAGES[3], lumen.read)),
    ):
        yield spent


def work(
    kind: str, count: int, process: int, volume: Volume, start: float
) -> tuple[float, float, float, int, dict[str, float]]:
    """Make samples; when it began and ended, its CPU seconds, draws, and seconds by stage."""
    classes = PLAQUES if kind == "plaques" else TUMOURS
    generator = LesionGenerator(LesionParams(size=SIZE, early=(1, 1), plaques=(1, 1), liver_mm=(10.5, 25)))
    next(iter(generator.generate([volume], [_spec(kind, -1, process, "healthy", 0)])))  # imports, the organs' voxels
    time.sleep(max(0.0, start - time.time()))
    draws = 0
    begun, cpu = time.time(), time.process_time()
    with clocks() as spent:
        for n in range(count):
            for attempt in range(30):
                draws += 1
                try:
                    (sample,) = generator.generate(
                        [volume], [_spec(kind, n, process, classes[n % len(classes)], attempt)]
                    )
                except Rejected:
                    continue
                before = time.perf_counter()
                for name, value in sample.fields.items():
                    encode(name, value)
                spent[STAGES[4]] += time.perf_counter() - before
                break
    return begun, time.time(), time.process_time() - cpu, draws, dict(spent)


def _spec(kind: str, n: int, process: int, target: str, attempt: int) -> SampleSpec:
    key = hashlib.sha256(f"{kind} {process} {n}".encode()).digest()
    return SampleSpec(f"train-{n:06d}", "train", 0, 0, 0, target, key, attempt)


def one_kind(kind: str, count: int) -> Row:
    """Volumes a second of both processes together, CPU seconds a volume, and shares of the time by stage."""
    volume = background(kind)
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        start = time.time() + 8
        parts = list(pool.map(work, *zip(*[(kind, count, p, volume, start) for p in range(PROCESSES)], strict=True)))
    wall = max(end for _, end, *_ in parts) - min(begun for begun, *_ in parts)
    made = PROCESSES * count
    cpu = sum(part[2] for part in parts)
    total = {stage: sum(part[4].get(stage, 0.0) for part in parts) for stage in STAGES}
    all_of_it = sum(end - begun for begun, end, *_ in parts)
    return {
        "kind": kind,
        "volumes_s": made / wall,
        "volumes_s_cpu": PROCESSES * made / cpu,
        "cpu_s": cpu / made,
        "draws": sum(part[3] for part in parts) / made,
        **{stage: total[stage] / all_of_it for stage in STAGES},
    }


def measure(quick: bool = False) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    return {"rows": [one_kind(kind, 4 if quick else SAMPLES) for kind in ("tumours", "plaques")]}


def text(result: dict[str, Any]) -> str:
    columns = {
        "kind": f"{SIZE}^3",
        "volumes_s": "volumes/s",
        "volumes_s_cpu": "on 2 free cores",
        "cpu_s": "CPU s/volume",
        "draws": "draws/volume",
        **{stage: stage for stage in STAGES},
    }
    return table("Texture backend, two processes; shares of the time", columns, result["rows"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lesion_speed", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    sys.stdout.write(text(measure(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
