"""Fitting the diffusion backend of the stenosis generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.stenosis.diffusion.crop import PixelBox, paste
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler, uint8
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.losses import InpaintingLoss
from lesionforge.jobs.fit.pairs import Pairs
from lesionforge.jobs.fit.settings import FitSettings, FitTask, conduct, setting
from lesionforge.jobs.learning import sheet
from lesionforge.jobs.learning.loop import Items, Progress


@dataclass(frozen=True, kw_only=True)
class StenosisFit(FitSettings):
    """How to fit; presets are those of ``generators.stenosis.diffusion.preset``."""

    batch: int = setting(32, "crops of a step, over all processes")
    base: str | None = setting(None, "local Stable Diffusion folder in diffusers' layout, for preset sd15")
    empty: float = setting(0.5, "share of prompts left empty, for guidance")
    checkpointing: bool = setting(False, "gradient checkpointing: less memory, slower")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choice("preset", tuple(PRESETS))


def new_model(settings: StenosisFit) -> StenosisModel:
    """The model that a fit starts from.

    Raises:
        UsageError: a Stable Diffusion folder that is missing, not wanted, or does not fit.
    """
    preset, base = PRESETS[settings.preset], settings.base
    if base is None and preset.settings.patch is None:
        raise UsageError(
            f"preset {settings.preset} starts from a Stable Diffusion folder on this machine: give --set base=FOLDER"
        )
    if base is not None and preset.settings.patch is not None:
        raise UsageError(f"preset {settings.preset} starts from nothing: leave base={base} away")
    if base is None:
        return StenosisModel.new(preset, settings.seed)
    try:
        return StenosisModel.on_stable_diffusion(preset, Path(base), settings.seed)
    except (OSError, ValueError) as error:  # diffusers' and transformers' own, for files that lack or do not fit
        raise UsageError(f"base={base}: {error}") from None


def crops(settings: StenosisFit, model: StenosisModel) -> tuple[Items, Items]:
    """Crops to fit on, and to hold out: of the split ``val`` where the datasets have one, else of ``train``."""
    side = model.settings.crop
    fixed = (side, model.shape(side), model.schedule.config.num_train_timesteps)
    try:
        held: Items = Pairs(settings.data, "val", settings.seed, *fixed, 0.0)
    except UsageError:
        console.note("no split val in the datasets: the held-out loss is of other crops of the training frames")
        held = Pairs(settings.data, "train", settings.seed + 1, *fixed, 0.0)
    return Pairs(settings.data, "train", settings.seed, *fixed, settings.empty), held


def fit_stenosis(
    settings: StenosisFit,
    model: StenosisModel | None = None,
    pairs: tuple[Items, Items] | None = None,
    progress: Progress | None = None,
    strength: tuple[float, float] = (1.0, 1.0),
) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted model (moving average).

    Args:
        settings: how.
        model: to fit in place; default: the preset's.
        pairs: crops to fit on and to hold out; default: those of the settings' datasets.
        progress: called after every step, on the first process.
        strength: of the two controls.
    """
    model = model or new_model(settings)
    loss = InpaintingLoss(model, strength, settings.checkpointing)
    return conduct(_Inpainting(model, loss, settings, stacked), pairs or crops(settings, model), progress)


class _Inpainting(FitTask):
    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(list(self.averaged().values()), lr=self.settings.rate)]

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        tensors = super().on({name: part for name, part in batch.items() if name != "prompt"}, device)
        return {**tensors, "prompt": batch["prompt"], "tokens": self.model.tokens(batch["prompt"])}

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        """A column for each crop: as it is, with its box hidden, its mask, and as made."""
        own = self.model.settings
        loss = float(self.network(batch).mean())
        real, made = uint8(batch["image"]), fill(self.model, StenosisSampler(own.steps, own.guidance), batch)
        hidden = np.where(batch["hole"][:, 0].cpu().numpy() > 0, np.uint8(0), real)
        mask = (batch["mask"][:, 0].cpu().numpy() * 255).astype(np.uint8)
        sheet.write(picture, [real, hidden, mask, made])
        return loss


def fill(model: StenosisModel, sampler: StenosisSampler, batch: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Crops (n, side, side) whose boxes the model has filled, pasted as the editor does."""
    made = uint8(sampler(model, batch))
    out = uint8(batch["image"])
    for source, new, hole in zip(out, made, batch["hole"][:, 0].cpu().numpy() > 0, strict=True):
        x0, y0, x1, y1 = box = _bounds(hole)
        source[y0:y1, x0:x1] = paste(source, new, box)
    return out


def _bounds(hole: NDArray[np.bool_]) -> PixelBox:
    rows, cols = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
