"""Fitting the diffusion backend of the stenosis generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import sheet
from lesionforge.jobs.fit.network import Loss
from lesionforge.jobs.fit.pairs import Pairs
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.loop import Item, Step
from lesionforge.jobs.learning.loop import Items as Crops


@dataclass(frozen=True)
class FitConfig:
    """How to fit.

    Attributes:
        data: datasets made by the ``stenosis`` generator.
        out: folder for checkpoint, losses, sheets and the fitted model; one that all processes see.
        preset: of ``generators.stenosis.diffusion.preset``.
        base: local Stable Diffusion folder, for presets that start from one.
        steps, batch: optimizer steps, and crops of each over all processes.
        rate, warmup: learning rate (AdamW), and steps over which it rises to it.
        ema: decay of the moving average of the weights, which is what is saved.
        empty: share of prompts left empty.
        precision: ``bf16`` or ``no``.
        checkpointing: gradient checkpointing.
        every: steps between checkpoints, each with a sheet.
        loaders: processes that read crops ahead; 0 reads in this one.
        seed: of weights and crops.
        cpu: stay on the CPU.
    """

    data: tuple[str, ...]
    out: str
    preset: str = "small"
    base: str | None = None
    steps: int = 20_000
    batch: int = 32
    rate: float = 1e-4
    warmup: int = 500
    ema: float = 0.9995
    empty: float = 0.5
    precision: Literal["no", "bf16"] = "bf16"
    checkpointing: bool = False
    every: int = 1000
    loaders: int = 2
    seed: int = 0
    cpu: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"preset is {self.preset!r}: give one of {', '.join(PRESETS)}")
        if self.precision not in ("no", "bf16"):
            raise UsageError(f"precision is {self.precision!r}: give no or bf16")
        for name in ("steps", "batch", "every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 1 or more")
        for name in ("ema", "empty"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 0 or more, below 1")


def new_model(config: FitConfig) -> StenosisModel:
    """The model that a fit starts from."""
    preset = PRESETS[config.preset]
    if config.base is None and preset.settings.patch is None:
        raise UsageError(
            f"preset {config.preset} starts from a Stable Diffusion folder on this machine: give --base FOLDER"
        )
    if config.base is not None and preset.settings.patch is not None:
        raise UsageError(f"preset {config.preset} starts from nothing: leave --base away")
    if config.base is None:
        return StenosisModel.new(preset, config.seed)
    try:
        return StenosisModel.on_stable_diffusion(preset, Path(config.base), config.seed)
    except (OSError, ValueError) as error:  # diffusers' and transformers' own, for files that lack or do not fit
        raise UsageError(f"--base {config.base}: {error}") from None


def crops(config: FitConfig, model: StenosisModel) -> tuple[Crops, Crops]:
    """Crops to fit on, and to hold out: of the split ``val`` where the datasets have one, else of ``train``."""
    side = model.settings.crop
    fixed = (config.seed, side, model.shape(side), model.schedule.config.num_train_timesteps)
    try:
        held: Crops = Pairs(config.data, "val", *fixed, 0.0)
    except UsageError:
        console.err.print("no split val in the datasets: the held-out loss is of other crops of the training frames")
        held = Pairs(config.data, "train", config.seed + 1, *fixed[1:], 0.0)
    return Pairs(config.data, "train", *fixed, config.empty), held


def fit(
    config: FitConfig,
    model: StenosisModel | None = None,
    pairs: tuple[Crops, Crops] | None = None,
    tell: Callable[[Step], None] = lambda _: None,
    strength: tuple[float, float] = (1.0, 1.0),
) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted model (moving average).

    Args:
        config: how.
        model: to fit in place; default: the preset's.
        pairs: crops to fit on and to hold out; default: those of the config's datasets.
        tell: called after every step with step, loss and rate, on the first process.
        strength: of the two controls.
    """
    accelerator = loop.begin(config)
    model = (model or new_model(config)).to(str(accelerator.device))
    train, held = pairs or crops(config, model)
    task = _Inpainting(model, Loss(model, strength, config.checkpointing))
    return loop.run(accelerator, config, task, train, held, tell)


class _Inpainting:
    """The loop's task."""

    def __init__(self, model: StenosisModel, network: Loss) -> None:
        self.model, self.network = model, network

    def optimizers(self, rate: float) -> list[Any]:
        return [torch.optim.AdamW(self.network.averaged(), lr=rate)]

    def collate(self, rows: Sequence[Item]) -> dict[str, Any]:
        return stacked(rows, "cpu")

    def on(self, batch: Mapping[str, Any], device: str) -> dict[str, Any]:
        moved = {name: part if name == "prompt" else part.to(device, non_blocking=True) for name, part in batch.items()}
        return {**moved, "tokens": self.model.tokens(batch["prompt"])}

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        own = self.model.settings
        loss = float(self.network(batch).mean())
        sheet.write(picture, batch, sheet.fill(self.model, StenosisSampler(own.steps, own.guidance), batch))
        return loss

    def save(self, folder: Path) -> None:
        self.model.save(folder)
