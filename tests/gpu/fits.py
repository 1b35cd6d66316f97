"""Fits of lesion models by the product's own loop, on cubes that are cut on the device, for a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.learned.model import LesionModel
from lesionforge.generators.lesion.learned.sample import LesionSampler
from lesionforge.jobs.fit import lesion
from lesionforge.jobs.fit.cubes import Cubes
from lesionforge.jobs.fit.lesion_tasks import AutoencoderTask, DiffusionTask
from lesionforge.jobs.fit.losses import AutoencoderLoss, DiffusionLoss
from lesionforge.jobs.fit.settings import conduct
from tests.gpu.cutter import Cutter, Known, Places
from tests.gpu.part import Report, say
from tests.gpu.plaques import CLASSES

ROUND = 60  # steps from whose time the rest of them is told
CUT = 24  # batches, of which a rate is told


class Cut:
    """A task whose batches are places."""

    cutter: Cutter

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        return self.cutter(super().on(batch, device))  # type: ignore[misc]

    def generators(self) -> Mapping[str, torch.Generator]:
        return {"cutter": self.cutter.random}


class Autoencoder(Cut, AutoencoderTask):
    """Without discriminators, whose library need not be there."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(self.network.vqgan.parameters(), lr=self.settings.rate, betas=(0.5, 0.9))]

    def finish(self, folder: Path) -> None:
        """Its HU are measured once, in the end."""


class Diffusion(Cut, DiffusionTask):
    pass


def task(settings: Any, known: Known) -> Any:
    """A fit of a new model, for ``rounds``."""
    spacings = known.spacings_mm
    model = lesion.new_model(settings, set(settings.classes), next(iter(spacings.values())), spacings)
    out: Any
    if settings.kind == "vqgan":
        out = Autoencoder(model, AutoencoderLoss(model, nn.Identity(), None, settings.adversarial), settings, stacked)
    else:
        out = Diffusion(model, DiffusionLoss(model), settings, stacked)
        out.volumes = known
    own = {name: given(model, 0.0)[name] for name in ("classes", "halo_mm", "window", "bend_hu")}
    out.cutter = Cutter(known, settings.device, noise=model.shape() if model.settings.levels else None, **own)
    return out


def given(model: LesionModel, empty: float) -> dict[str, Any]:
    """What ``jobs.fit.lesion.cubes`` asks of a model's cubes."""
    own = model.settings
    healthy = 0.0 if own.whole else lesion.HEALTHY_SHARE if own.levels else lesion.ANYWHERE_SHARE
    return {
        "side": own.side, "window": own.window, "classes": own.classes or CLASSES, "halo_mm": own.halo_mm,
        "bend_hu": own.bend_hu, "level": own.whole, "healthy": healthy, "empty": 0.0 if own.whole else empty,
    }  # fmt: skip


def places(task: Any, known: Known, key: str) -> Places:
    own = task.model.settings
    empty = task.settings.empty if own.levels else 0.0
    return Places(known, f"gpu/{key}", levels=own.levels, **given(task.model, empty))


def rounds(name: str, task: Any, known: Known, report: Report, seconds: float | None) -> Path:
    """Fit for so long, or for the settings' steps where no time is given; the model's folder."""
    own, cuda, begun, steps = task.settings, task.settings.device.startswith("cuda"), time.monotonic(), 0
    items = places(task, known, "fit"), places(task, known, "held")
    more = own.steps if seconds is None else ROUND
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    while more:
        steps, since = steps + more, time.monotonic()
        task.settings = replace(own, steps=steps, every=steps)
        folder = conduct(task, items, None)
        left = 0.0 if seconds is None else begun + seconds - time.monotonic()
        more = int(0.9 * left / (time.monotonic() - since) * more)
        more = more if more >= ROUND else 0
    told = json.loads((Path(own.out) / "losses.jsonl").read_text().splitlines()[-1])
    spent, peak = time.monotonic() - begun, torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    row = {"model": name, "steps": steps, "batch": own.batch, "seconds": spent, "cubes/s": steps * own.batch / spent}
    report.row("fits", **row, loss=told["loss"], held_out=told["held_out_loss"], gib=peak)
    losses = f"loss {told['loss']:.3g}, held-out {told['held_out_loss']:.3g}"
    say(f"  {name}: {steps} steps of {own.batch}, {row['cubes/s']:.0f} cubes/s, {losses}")
    return folder


def sampling(folder: Path, task: Any, known: Known) -> dict[str, Any]:
    """A full batch through the fitted model's own sampler."""
    device, cuda = task.settings.device, task.settings.device.startswith("cuda")
    model = LesionModel.load(folder).to(device)
    own, items = model.settings, places(task, known, "held")
    batch = task.on(task.collate([items[n] for n in range(task.settings.batch)]), device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2 if cuda else 1):  # nobody times the start
        begun = time.perf_counter()
        made = LesionSampler(own.steps, own.strength, own.guidance)(
            model, batch, lambda: torch.randn_like(batch["noise"])
        )
        finite = bool(made.isfinite().all())  # waits for the device
    rate, peak = len(made) / (time.perf_counter() - begun), torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    return {"batch": len(made), "side": own.side, "steps": own.steps, "volumes/s": rate, "gib": peak, "finite": finite}


def feeding(task: Any, known: Known, toy: bool) -> tuple[dict[str, float], bool]:
    """Cubes a second of loaders that cut them and of those that say where; whether the first are the same."""
    own, device = task.settings, task.settings.device
    wheres = places(task, known, "fit")
    cubes = Cubes(known, "gpu/fit", **given(task.model, 0.0))
    numbers = [list(range(n * own.batch, (n + 1) * own.batch)) for n in range(2 if toy else CUT)]

    def batches(items: Any) -> Iterator[Any]:
        cuda = device.startswith("cuda")
        loader = DataLoader(
            items, batch_sampler=numbers, num_workers=own.loaders, collate_fn=task.collate, pin_memory=cuda
        )
        return iter(loader)

    def there(batch: Any) -> dict[str, Any]:
        return {name: part.to(device, non_blocking=True) for name, part in batch.items()}

    def rate(some: Iterator[Any], move: Any) -> float:
        float(move(next(some))["image"].sum())  # nobody times the start
        begun, count = time.perf_counter(), 0
        for batch in some:
            image = move(batch)["image"]
            count += len(image)
        float(image[0, 0, 0, 0, 0])  # waits for the device
        return count / (time.perf_counter() - begun)

    first = [task.on(next(batches(wheres)), device), there(next(batches(cubes)))]
    same = all(torch.equal(first[0][name], first[1][name]) for name in ("image", "shown", "hole", "regions", "lesion"))
    known_places = [there(batch) for batch in batches(wheres)]
    return {
        "cut by the loaders": rate(batches(cubes), there),
        "cut on the device": rate(batches(wheres), lambda batch: task.on(batch, device)),
        "cut on the device, places known": rate(iter(known_places), task.cutter),
    }, same
