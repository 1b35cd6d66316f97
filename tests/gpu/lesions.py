"""The latent lesion backend fitted at ``small``, its cubes cut on the device; what it draws, and the model of voxels.

Volumes of plaques that ``texture`` drew lie on the device. An autoencoder of companded HU in cells of two voxels comes
first, without discriminators, then ``promptlesion`` on it, each for its share of the time. Latents are not kept: at
cells of that size, encoding a fresh cube is a ninth of a step (12 of 111 GFLOP). Both models then draw plaques on
phantoms that none of them has seen, beside texture's at the same places.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu.part import Asked, Report, say

NEEDS = (
    "torch", "diffusers", "safetensors", "accelerate", "scipy", "skimage", "numba", "pyarrow", "pydantic",
    "annotated_types", "yaml", "rich", "PIL",
)  # fmt: skip
SHARE = 0.4
REAL, MAKE, ENCODE, DIFFUSE, DRAW = 0.06, 0.15, 0.4, 0.6, 0.8  # of the time that is left when each begins
FACTOR = 2  # voxels along each edge of a latent cell: plaques are few of four
LESIONS, LEAST = 24, 3  # of each class; at least, whatever the time
LEARNT = 1500  # steps from which on a latent model's lesions must be in class
IN_CLASS = 0.5
WANTED = 640.0  # cubes/s that a fit at ``small`` takes, as was reckoned beforehand
HU_ERROR = {"air and lung": 100.0, "fat": 60.0, "soft tissue": 50.0, "contrast": 80.0, "calcium": 150.0}


def run(asked: Asked, report: Report) -> None:
    from lesionforge.generators.lesion.classes import PLAQUES
    from tests.gpu import plaques

    kinds = PLAQUES[1:2] if asked.toy else PLAQUES
    edge, numbers = (plaques.TOY, (3,)) if asked.toy else (112, (0, 2, 3, 4, 5))  # not all have room
    unseen = [plaques.phantom(f"unseen {n}", edge) for n in numbers]
    real = _drawn("texture", None, unseen, kinds, asked, report, REAL)
    begun = time.monotonic()
    known = plaques.read(asked.lesions) if asked.lesions else plaques.made(MAKE * report.left, asked.toy)
    lesions = sum(len(volume.lesions(plaques.CLASSES, 0.0)) for volume in known)
    report.body["learnt from"] = {"volumes": len(known), "lesions": lesions, "seconds": time.monotonic() - begun}
    say(f"  {lesions} lesions in {len(known)} volumes")
    with tempfile.TemporaryDirectory() as scratch:
        folders = _fitted(asked, report, known, Path(scratch))
        for number, (name, folder) in enumerate(folders.items()):
            _drawn(name, folder, unseen, kinds, asked, report, DRAW / (len(folders) - number), real)
    steps = {row["model"]: row["steps"] for row in report.body["fits"]}
    for name in folders:
        rows = [row for row in report.body["lesions"] if row["by"] == name]
        share = sum(row["in_class"] * row["n"] for row in rows) / max(1, sum(row["n"] for row in rows))
        if not asked.toy and (name == "voxel" or steps[name] >= LEARNT):
            report.check(f"{100 * IN_CLASS:g} % of {name}'s are in class", share >= IN_CLASS, share=share)
        else:
            say(f"  {name}: {100 * share:.0f} % in class after {steps[name]} steps, none are asked for so early")


def _fitted(asked: Asked, report: Report, known: Any, scratch: Path) -> dict[str, Path]:
    """The folders of the latent model and of that of voxels."""
    from lesionforge.generators.lesion.learned.model import LesionModel
    from lesionforge.jobs.fit import fidelity
    from lesionforge.jobs.fit.cubes import Cubes
    from lesionforge.jobs.fit.lesion import VOXEL, LesionFit
    from tests.gpu import fits, plaques

    common: dict[str, Any] = {"data": (), "device": asked.device, "classes": plaques.CLASSES[1:]}
    common |= {"precision": "bf16" if asked.cuda else "float32"}
    toy: dict[str, Any] = {"steps": 2, "batch": 2, "warmup": 1, "levels": 4} if asked.toy else {}
    latent = {"rate": 5e-4, "ema": 0.995, "batch": 32, "warmup": 50, "preset": "tiny" if asked.toy else "small"}
    latent |= {"loaders": 0 if asked.toy else min(12, plaques.cores()), "adversarial": 10**9}  # never
    latent |= {"factor": FACTOR, "domain": "all", **common, **toy}

    def fit(name: str, share: float | None, **settings: Any) -> Path:
        task = fits.task(LesionFit(out=str(scratch / name), **settings), known)
        if settings["kind"] == "vqgan":
            _feeding(fits.feeding(task, known, asked.toy), task, report)
        folder = fits.rounds(name, task, known, report, None if asked.toy or share is None else share * report.left)
        if settings["kind"] != "vqgan":
            row = fits.sampling(folder, task, known)
            report.row("sampling", model=name, **row)
            report.check(f"{name}: cubes in full batches are numbers", row["finite"], rate=row["volumes/s"])
        return folder

    vqgan = fit("vqgan", ENCODE, kind="vqgan", **latent)
    model = LesionModel.load(vqgan).to(asked.device)
    held = Cubes(known, "gpu/held", **fits.given(model, 0.0))
    found = fidelity.errors(model, held, asked.device, 4 if asked.toy else fidelity.CUBES)
    report.body["HU of tissues"] = found
    say(f"  {fidelity.told(found)}")
    if not asked.toy:
        far = {name: one["error"] for name, one in found.items() if one["error"] > HU_ERROR[name]}
        report.check("the autoencoder keeps every tissue's HU", not far, far=far)
    return {
        "latent": fit("latent", DIFFUSE, kind="promptlesion", vqgan=str(vqgan), **latent),
        "voxel": fit("voxel", None, kind="promptlesion", preset="voxel", **{**VOXEL, **common, **toy}),
    }


def _feeding(found: Any, task: Any, report: Report) -> None:
    """The rates of ``fits.feeding``."""
    rates, same = found
    side, loaders = task.model.settings.side, task.settings.loaders
    for how, rate in rates.items():
        report.row("feeding", side=side, loaders=loaders, how=how, rate=rate)
        say(f"  {rate:.0f} cubes/s of {side} voxels an edge {how}")
    report.check("cubes cut on the device are the loader's to the bit", same)
    if task.settings.device.startswith("cuda"):
        rate = rates["cut on the device"]
        report.check(f"{WANTED:g} cubes/s are cut on the device", rate >= WANTED, rate=rate)


def _drawn(
    by: str, folder: Path | None, unseen: Sequence[Any], kinds: Sequence[str], asked: Asked, report: Report,
    share: float, real: dict[str, list[dict[str, float]]] | None = None,
) -> dict[str, list[dict[str, float]]]:  # fmt: skip
    """What lesions of each class measure, unchecked, in a share of the time that is left."""
    from lesionforge.generators.lesion.generator import LesionGenerator
    from tests.benchmarks.learned_truth import REAL as LAW
    from tests.benchmarks.learned_truth import REDRAWS, drawn, read, timed

    learned = {"backend": "promptlesion", "weights": str(folder), "check_hu": False}
    generator = LesionGenerator(replace(LAW, **learned) if folder else LAW)
    generator.prepare(asked.device)
    filling = [0.0]
    if folder:
        filling = timed(generator, time.perf_counter)
    out, seconds = {}, share * report.left / len(kinds)
    for kind in kinds:
        begun, spent, found = time.monotonic(), sum(filling), []
        for n in range(1 if asked.toy else LESIONS):
            if n >= LEAST and time.monotonic() - begun > seconds:
                break
            sample, _ = drawn(generator, unseen[n % len(unseen)], kind, f"{kind} {n}", REDRAWS)
            found += [read(sample)] if sample else []
        out[kind], took = found, time.monotonic() - begun
        row = {"by": by, "class": kind, "n": len(found), "volumes/s": len(found) / took}
        row |= {"s a lesion": (sum(filling) - spent) / max(1, len(found)), **_figures(found)}
        row |= {f"real {name}": value for name, value in _figures(real[kind]).items()} if real else {}
        report.row("lesions", **row)
        told = ", ".join(f"{name} {value:.3g}" for name, value in row.items() if isinstance(value, float))
        say(f"  {by}, {kind}, {len(found)}: {told}")
    numbers = all(np.isfinite(list(one.values())).all() for some in out.values() for one in some)
    report.check(f"{by} draws, and what it draws is a number", numbers and all(out.values()))
    return out


def _figures(found: Sequence[dict[str, float]]) -> dict[str, float]:
    if not found:
        return {"in_class": 0.0, "hu": float("nan"), "sd": float("nan"), "grain": float("nan")}
    hu = [one["hu"] for one in found]
    figures = {"hu": float(np.mean(hu)), "sd": float(np.std(hu))}
    figures["in_class"] = float(np.mean([one["in_class"] for one in found]))
    return {**figures, "grain": float(np.median([one["grain"] for one in found]))}
