"""One dataset by Ray's actors pinned to the card, several on one: its bytes against those of a process on the CPU."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.part import Asked, MissingError, Report

NEEDS = ("torch", "ray", "pydantic", "typer", "pyarrow")
SHARE = 0.1
WORKERS = 4
CLOSE = 1e-4  # of the largest line integral: on a GPU they are summed in another order


def run(asked: Asked, report: Report) -> None:
    try:
        version("lesionforge")
    except PackageNotFoundError:
        raise MissingError("lesionforge itself, installed: generators are found by its entry points") from None
    from lesionforge.jobs.commands.generate import generate

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    workers, share = (2, 0.0) if asked.toy else (WORKERS, 1 / WORKERS if asked.cuda else 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        places = {}
        for image, projector in (("silhouette", "native"), ("line_integral", "torch")):
            recipe = _recipe(image, projector, 4 if asked.toy else 32, share)
            for how in ("CPU", "Ray", "Ray again"):
                if how == "Ray again" and (asked.toy or projector == "native"):
                    continue
                place, begun = Path(scratch) / image / how, time.monotonic()
                there = (
                    {"in_process": True, "overrides": ["resources.gpus=0"]} if how == "CPU" else {"workers": workers}
                )
                made = generate(recipe, place, **there)
                report.row(
                    "datasets", image=image, how=how, gpus=0.0 if how == "CPU" else share, samples=made.made,
                    seconds=time.monotonic() - begun, quarantined=made.manifest["quarantined"], short=made.short,
                )  # fmt: skip
                places[image, how] = place
        whole = [row["samples"] for row in report.body["datasets"]]
        report.check("every dataset is whole", len(set(whole)) == 1 and whole[0] > 0, samples=whole[0])
        same = _shas(places["silhouette", "CPU"]) == _shas(places["silhouette", "Ray"])
        report.check(f"{workers} actors of {share:g} GPUs write this process's bytes", same)
        others, apart = _members(places["line_integral", "CPU"], places["line_integral", "Ray"])
        report.check("truth, labels and hulls are those of the CPU, to the bit", not others, differing=others)
        report.check("line integrals are the CPU's", apart < CLOSE, largest=apart)
        if not asked.toy:
            twice = _shas(places["line_integral", "Ray"]) == _shas(places["line_integral", "Ray again"])
            report.check("the card writes the same bytes twice", twice)


def _recipe(image: str, projector: str, count: int, gpus: float) -> dict[str, Any]:
    source = {"uri": "phantom:coronary", "options": {"count": count}, "split": {"train": 1}}
    params = {"image": image, "projector": projector, "grid": 64, "detector": 256, "spacing_mm": [1.6, 2.6]}
    return {
        "name": "gpu", "seed": 3, "sources": [source], "splits": ["train"], "shard": {"samples": 4},
        "generator": {"name": "biplane", "params": params}, "resources": {"cpus": 1, "gpus": gpus},
    }  # fmt: skip


def _shas(place: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(place.glob("shards/*.tar"))}


def _members(one: Path, other: Path) -> tuple[list[str], float]:
    """Members but views that differ, and the largest difference of a view to its largest value."""
    from lesionforge.sinks.reader import Samples

    differing, apart = set[str](), 0.0
    for a, b in zip(Samples(one), Samples(other), strict=True):
        for name, value in a.items():
            if name.startswith("view"):
                apart = max(apart, float(np.abs(value - b[name]).max() / value.max()))
            elif not (np.array_equal(value, b[name]) if isinstance(value, np.ndarray) else value == b[name]):
                differing.add(name)
    return sorted(differing), apart
