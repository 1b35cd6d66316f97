"""Samples that fail in every way we know, all in one dataset: each must cost itself alone."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path
from typing import Any

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from tests.chaos.cluster import Nodes, cluster
from tests.chaos.figures import Run, check
from tests.chaos.toy import SHARD, Driver, recipe, undisturbed

#: Order to the toy generator -> how the reason of the sample that gets it must begin.
GENERATOR = {
    "raise_at": "error: RuntimeError: ordered to fail",
    "exit_at": "error: SystemExit",
    "gpu_memory_at": "error: OutOfMemoryError: CUDA out of memory",
    "eat_at": "memory: none left (resources.memory is 300 MiB)",
    "hang_at": "time: making took longer than {seconds:g} s",
    "hold_at": "time: making took longer than {seconds:g} s",
    "crash_at": "killed its worker (3 times)",
    "kill_at": "killed its worker (3 times)",
    "nan_at": "output: labels.value is nan",
    "inf_field_at": "encode: ValueError: field 'noise.npy': holds NaN or infinity",
    "wrong_shape_at": "encode: ValueError: field 'image.png': uint8 (2, 3, 4, 5) is no PNG",
    "wrong_type_at": "encode: ValueError: field 'image.png': a list is no numpy array",
    "text_measured_at": "output: measured.mean is 'much'",
    "twice_at": "output: more than 1 samples for 1 asked for",
    "never_at": "output: 0 samples for 1 asked for",
    "other_spec_at": "output: spec is that of 'train-9999-00000000'",
    "reject_always": "quality: ordered to be rejected",
}
#: The same for the toy source.
SOURCE = {
    "unreadable": "source: case",
    "none_at": "source: read a NoneType",
    "crash_at": "killed its worker (3 times)",
    "hang_at": "time: reading took longer than {seconds:g} s",
}
SAMPLES = 56
LIMITS: dict[str, Any] = {"memory": "300 MiB", "batch": 3}
TOLERANT = {"max_quarantined": 0.5, "redraws": 2}


def poisoned(seed: int, seconds: float) -> tuple[Recipe, dict[str, str]]:
    """The recipe, and by sample how the reason must begin. Every other sample of the plan's first is a victim."""
    plan = Pipeline(recipe(seed, SAMPLES, {})).plan
    victims = iter(plan[i] for i in range(0, SAMPLES, 2))
    made = {order: next(victims) for order in GENERATOR}
    read = {order: next(victims) for order in SOURCE}
    asked = recipe(
        seed, SAMPLES,
        params={order: [spec.sample_id] for order, spec in made.items()},
        options={order: [spec.case] for order, spec in read.items()},
        resources=LIMITS | {"sample_seconds": seconds}, quality=TOLERANT,
    )  # fmt: skip
    expected = [(made[order], reason) for order, reason in GENERATOR.items()]
    expected += [(read[order], reason) for order, reason in SOURCE.items()]
    return asked, {spec.sample_id: reason.format(seconds=seconds) for spec, reason in expected}


def node_memory(folder: Path, seed: int) -> Run:
    """A sample that eats its node's memory, no limit set: Ray's memory monitor kills the worker, again and again."""
    import ray._common.utils
    import ray._private.utils

    begun, run = time.monotonic(), Run("node out of memory", poisoned=1)
    victim = Pipeline(recipe(seed, SHARD, {})).plan[3].sample_id
    asked = recipe(seed, SHARD, {"eat_at": [victim]}, quality=TOLERANT)
    undisturbed(recipe(seed, SHARD, {}, quality=TOLERANT), folder / "clean")
    full = ray._private.utils.get_used_memory() / ray._common.utils.get_system_memory()
    monitor = {"RAY_memory_usage_threshold": f"{full + 0.15:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    with cluster(1, **monitor) as (nodes, orphans):
        driver = Driver(nodes.ours, nodes.address, asked, folder / "out", nodes.count)
        run.workers_lost = int(driver.finish()["worker_deaths"])
    run.orphans = len(orphans)
    reasons = check(run, asked, folder / "out")
    run.lost += len(reasons.keys() - {victim})
    if reasons.get(victim) != "killed its worker (3 times)":
        run.wrong.append(f"{victim} is {reasons.get(victim, 'made')!r}")
    clean = members(folder / "clean")
    run.differing = sum(data != clean[name] for name, data in members(folder / "out").items())
    run.seconds = time.monotonic() - begun
    return run


def members(folder: Path) -> dict[str, bytes]:
    """Every sample's members but the ``json``, which names the recipe."""
    out = dict[str, bytes]()
    for path in (folder / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                if not member.name.endswith(".json"):
                    out[member.name] = file.read()
    return out


def campaign(nodes: Nodes, folder: Path, seed: int, seconds: float) -> Run:
    """One run on the cluster. ``seconds``: what a sample may take; healthy ones take milliseconds."""
    begun = time.monotonic()
    asked, expected = poisoned(seed, seconds)
    folder.mkdir(parents=True)
    undisturbed(recipe(seed, SAMPLES, {}, quality=TOLERANT), folder / "clean")
    driver = Driver(nodes.ours, nodes.address, asked, folder / "out", nodes.count)
    run = Run("poison", poisoned=len(expected))
    said = driver.finish()
    run.workers_lost = int(said["worker_deaths"])
    run.orphans = nodes.ours.outlive()
    reasons = check(run, asked, folder / "out")
    run.lost += len(reasons.keys() - expected.keys())
    clean, ours = members(folder / "clean"), members(folder / "out")
    run.differing = sum(data != clean[name] for name, data in ours.items())
    run.wrong = [
        f"{name} is {reasons.get(name, 'made')!r}, not {reason!r}"
        for name, reason in expected.items()
        if not reasons.get(name, "").startswith(reason)
    ]
    run.seconds = time.monotonic() - begun
    return run
