"""What is done with the lesion generator's networks while they are fitted, and when they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lesionforge.generators.lesion.classes import PLAQUES
from lesionforge.generators.lesion.learned.crop import hounsfield, unit
from lesionforge.generators.lesion.learned.sample import LesionSampler
from lesionforge.generators.lesion.learned.settings import HEALTHY, WINDOWS, LesionSettings
from lesionforge.generators.types import stream
from lesionforge.jobs import console
from lesionforge.jobs.fit import fidelity, tissue
from lesionforge.jobs.fit.losses import AutoencoderLoss
from lesionforge.jobs.fit.settings import FitTask, card
from lesionforge.jobs.fit.volumes import Volumes
from lesionforge.jobs.learning import sheet
from lesionforge.jobs.learning.loop import Items

CARD = "card.json"
LAST_RATE = 0.02  # of the voxel preset, as a share of the first


class AutoencoderTask(FitTask):
    """Adam (0.5, 0.9) for the autoencoder and for its discriminators, as DiffTumor has it."""

    partly = True
    network: AutoencoderLoss
    held: Items | None = None  # what it is measured on
    classes: Sequence[str] = (HEALTHY,)  # of its cubes, where they are known

    def finish(self, folder: Path) -> None:
        """How far the HU of each tissue are off, told and kept beside the weights."""
        if self.held is not None:
            found = fidelity.errors(self.model, self.held, self.settings.device)
            console.note(fidelity.told(found))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CARD).write_text(json.dumps({"hu_error": found}, indent=1, sort_keys=True) + "\n")

    def averaged(self) -> Mapping[str, Tensor]:
        return {f"vqgan.{name}": p for name, p in self.network.vqgan.named_parameters()}

    def turns(self, step: int) -> tuple[int, ...]:
        """The autoencoder, then the discriminators."""
        return (0,) if step < self.network.adversarial else (0, 1)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        parts = self.network.vqgan.parameters(), self.network.discriminators.parameters()
        return [torch.optim.Adam(list(part), lr=self.settings.rate, betas=(0.5, 0.9)) for part in parts]

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        image = batch["image"]
        made = torch.cat([self.model.vqgan(one)[0] for one in image.split(1)])
        real, again = (shown(self.model.settings, self.classes, batch, some) for some in (image, made))
        rows = {"real": real, "made": again, "difference": (again - real).abs() - 1}
        sheet.write_volumes(picture, rows, torch.zeros_like(image))
        return float((made - image).abs().mean())


class DiffusionTask(FitTask):
    volumes: Volumes | None = None  # fitted on

    def finish(self, folder: Path) -> None:
        """A card of what was learnt from, and what those lesions measure."""
        if self.volumes is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CARD).write_text(json.dumps(card(self.settings), indent=1, sort_keys=True) + "\n")
            seen = tissue.read(self.volumes, self.model.settings)
            if not self.model.settings.whole:
                del seen["grain"]
            self.model.settings = replace(self.model.settings, **seen)

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """A model of voxels is fitted in few steps: its rate falls by a cosine after the warm-up."""
        super().schedule(step, optimizer)
        if self.model.settings.whole:
            done = max(0.0, (step - self.settings.warmup) / max(1, self.settings.steps - self.settings.warmup))
            for group in optimizer.param_groups:
                group["lr"] *= LAST_RATE + (1 - LAST_RATE) * (1 + float(np.cos(np.pi * done))) / 2

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(list(self.averaged().values()), lr=self.settings.rate)]

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        own, image, device = self.model.settings, batch["image"], batch["image"].device
        loss = float(self.network(batch).mean())
        rngs = [stream(b"sheet", str(n)) for n in range(len(image))]

        def draw() -> Any:
            return torch.from_numpy(np.stack([r.standard_normal(self.model.shape(), np.float32) for r in rngs])).to(
                device
            )

        made = LesionSampler(own.steps, own.strength, own.guidance)(self.model, batch, draw)
        pasted = torch.where(batch["hole"] > 0, made, image)
        rows = {"real": image, "shown": batch["shown"], "made": pasted}
        sheet.write_volumes(
            picture, {n: shown(own, own.classes, batch, some) for n, some in rows.items()}, batch["hole"]
        )
        return loss


def shown(own: LesionSettings, classes: Sequence[str], batch: Mapping[str, Any], volumes: Tensor) -> Tensor:
    """Volumes (n, 1, f, h, w) as a sheet shows them: of all HU there are, only those that readers look at.

    That is the window of the lesion's domain; where nothing is hidden, that of the plaques if there are no tumours.
    """
    if not own.bend_hu:
        return volumes
    hu = hounsfield(volumes.float().cpu().numpy(), own.window, own.bend_hu)
    vessels = {*PLAQUES} | ({HEALTHY} if classes[1:] and set(classes[1:]) <= {*PLAQUES} else set())
    kinds = [classes[n] if n < len(classes) else HEALTHY for n in batch["lesion"].tolist()]
    windows = [WINDOWS["ccta" if kind in vessels else "abdomen"] for kind in kinds]
    return torch.from_numpy(np.stack([unit(one, window) for one, window in zip(hu, windows, strict=True)]))
