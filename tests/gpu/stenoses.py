"""The diffusion stenosis backend fitted at ``small``: its closed loop and a judge's verdict, beside ``attenuation``."""

from __future__ import annotations

import json
import os
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.gpu.part import Asked, MissingError, Report, say

NEEDS = (
    "torch", "diffusers", "transformers", "tokenizers", "safetensors", "accelerate", "scipy", "skimage", "pyarrow",
    "pydantic", "annotated_types", "yaml", "rich",
)  # fmt: skip
SHARE = 0.2
FIT = 0.5  # of the part's time
ROUND = 250  # steps between two looks at the clock
SEEN = 0.5  # least r of what a stranger's meter reads with what was asked


def run(asked: Asked, report: Report) -> None:
    from tests.benchmarks import inpainted

    with tempfile.TemporaryDirectory() as scratch:
        place = asked.stenoses or _phantoms(Path(scratch) / "phantoms", asked.toy)
        weights = _fit(asked, report, place, Path(scratch) / "fit")
        frames = held_back(place)
        count = 3 if asked.toy else min(160, len(frames)) if asked.stenoses else 40
        editors = inpainted.editors(weights, asked.device, steps=1 if asked.toy else None)
        result = inpainted.measure(frames, editors, count)
    for row in result["rows"]:
        report.row("closed loop", **row)
    Image.fromarray(inpainted.sheet(result)).save(asked.out / "stenoses.png")
    for row in inpainted.judged(result["drawn"], 1 if asked.toy else 3, steps=2 if asked.toy else 200):
        report.row("judge", **row)
    told = {"places": result["places"], "rows": report.body["closed loop"], "judge": report.body["judge"]}
    say(inpainted.text(told).rstrip())
    report.check("both backends draw at every place", result["places"] == count, places=result["places"])
    if not asked.toy:
        r = next(row["r"] for row in result["rows"] if (row["backend"], row["meter"]) == ("diffusion", "stranger"))
        report.check("a stranger's meter sees what the diffusion backend was asked", r >= SEEN, r=r)


def _phantoms(place: Path, toy: bool) -> Path:
    """A dataset of stenoses drawn by ``attenuation`` on phantoms, made here."""
    try:
        version("lesionforge")
    except PackageNotFoundError:
        raise MissingError("--stenoses, or lesionforge itself, installed") from None
    from lesionforge.jobs.commands.generate import generate

    count = 4 if toy else 60
    changes = [
        f"sources.0.options.count={count}",
        "sources.0.options.sides=[left]",
        "multiply=1",
        "splits=[train, val]",
    ]
    changes += ["sources.0.split={train: 0.25, val: 0.75}", "generator.params={depth: [0, 0], occlusion: 0}"]
    generate("stenosis_phantom", place, in_process=True, overrides=changes)
    return place


def _fit(asked: Asked, report: Report, place: Path, out: Path) -> Path:
    """The model's folder, fitted for the part's share of time."""
    from lesionforge.jobs.fit.stenosis import StenosisFit, fit_stenosis

    common: dict[str, Any] = {
        "data": (str(place),),
        "out": str(out),
        "device": asked.device,
        "rate": 1e-3,
        "ema": 0.995,
    }
    common |= {"preset": "tiny" if asked.toy else "small", "batch": 2 if asked.toy else 32, "warmup": 50}
    common |= {"precision": "bf16" if asked.cuda else "float32"}
    common |= {"loaders": 0 if asked.toy else min(12, len(os.sched_getaffinity(0)))}
    steps, end = 0, time.monotonic() + FIT * report.left
    while True:
        begun = time.monotonic()
        steps += 2 if asked.toy else ROUND
        model = fit_stenosis(StenosisFit(steps=steps, every=steps, **common))
        took = time.monotonic() - begun
        record = json.loads((out / "losses.jsonl").read_text().splitlines()[-1])
        report.row("fit", steps=steps, seconds=took, loss=record["loss"], held_out=record.get("held_out_loss"))
        if asked.toy or time.monotonic() + took > end:
            break
    say(f"  {common['preset']}: {steps} steps of {common['batch']}, held-out loss {record.get('held_out_loss')}")
    report.check("the fit's loss is a number", bool(np.isfinite(record["loss"])), loss=record["loss"])
    return model


def held_back(place: Path) -> list[Any]:
    """Frames of the split ``val`` with their vessels and lesions: real ones, or where there are none those drawn."""
    from lesionforge.generators.types import Angiogram, Lesion
    from lesionforge.sinks.reader import Samples

    samples = list(Samples(str(place), split="val", members=("image.png", "source.png", "source_mask.png", "json")))
    real = any(not lesion["synthetic"] for sample in samples for lesion in sample["json"]["lesions"])
    frames = []
    for sample in samples:
        known = [lesion["box"] for lesion in sample["json"]["lesions"] if lesion["synthetic"] != real]
        if known:
            image, mask = sample["source.png" if real else "image.png"], sample["source_mask.png"] > 0
            lesions = tuple(Lesion(tuple(box)) for box in known)
            name = sample["json"]["source_id"]
            frames.append(Angiogram(name, name, "", image, mask, lesions=lesions))
    return frames
