"""Fitting the vessel finder on generated frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from lesionforge.generators.diffusion.model import fresh_weights
from lesionforge.generators.vessel.finder.finder import Finder, Thresholds, write
from lesionforge.generators.vessel.finder.networks.segmenter import EDGE, Learning
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.crops import CATHETER, TWIG, VESSEL, Crops, LabelledFrames, Stills
from lesionforge.jobs.fit.settings import FitSettings, FitTask, card, conduct, setting
from lesionforge.jobs.learning import sheet
from lesionforge.jobs.learning.loop import Progress

WEIGHTS = (1.0, 2.0, 3.0)  # of background, vessel and catheter in the cross-entropy
CALIBRATION, VALIDATION = 8, 40  # frames that ranges of activations are taken from, and thresholds
LAST_RATE = 0.02  # of the cosine, as a share of the first


@dataclass(frozen=True, kw_only=True)
class FinderFit(FitSettings):
    """How to fit; there is one size."""

    steps: int = setting(6000, "optimizer steps in all")
    batch: int = setting(4, "crops of a step")
    rate: float = setting(2e-3, "learning rate")
    warmup: int = setting(50, "steps over which the rate rises to it; it falls by a cosine after that")
    ema: float = setting(0.995, "decay of the moving average of the weights, which is what is saved")
    every: int = setting(80, "steps between checkpoints, each with a sample sheet")
    loaders: int = setting(0, "processes that read items ahead; 0 reads in this one")
    side: int = setting(320, "side of the crops of the first steps, px")
    wide: int = setting(448, "side of the crops of the later steps, px")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choice("preset", ("small",))
        for name in ("side", "wide"):
            if getattr(self, name) < EDGE or getattr(self, name) % EDGE:
                raise UsageError(f"{name} is {getattr(self, name)}: give a multiple of {EDGE}")


def fit_finder(
    settings: FinderFit,
    frames: tuple[LabelledFrames, LabelledFrames] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted finder.

    Args:
        settings: how.
        frames: to fit on, and to hold out for thresholds; default: those of the settings' datasets.
        progress: called after every step, on the first process.
    """
    if frames is None:
        frames = Stills(settings.data, "train"), Stills(settings.data, "val")
    s = settings
    with fresh_weights(s.seed):
        learning = Learning()
    crops, held = (
        Crops(some, s.seed, s.steps, s.batch, (s.side, s.wide), plain)
        for some, plain in zip(frames, (False, True), strict=True)
    )
    model = _Model(learning, frames, card(s))
    return conduct(_Finding(model, _Loss(learning), s, _collated), (crops, held), progress)


class _Model:
    """What the loop places and saves."""

    def __init__(
        self, learning: Learning, frames: tuple[LabelledFrames, LabelledFrames], card: Mapping[str, Any]
    ) -> None:
        self._learning, self._frames, self._card = learning, frames, card

    def to(self, device: str) -> None:
        self._learning.to(device, memory_format=torch.channels_last)

    def save(self, folder: Path) -> None:
        """The network in whole numbers, and the thresholds that do best on frames held out."""
        learning, (train, held) = self._learning.cpu().float(), self._frames
        crops = Crops(train, 0, 1, 1, (EDGE * 16,) * 2, plain=True)
        seen = torch.stack([torch.from_numpy(crops[n]["x"]) for n in range(CALIBRATION)])
        weights = learning.rewritten(seen)
        write(folder, weights, {**self._card, **thresholds(Finder.of(weights), held)})


def thresholds(finder: Finder, held: LabelledFrames) -> dict[str, Any]:
    """Thresholds by the mean Dice of vessels and of catheters in generated frames, and these.

    Twigs without a name count for nothing: nobody outlines them where they fade.
    """
    shown = [held[n] for n in range(min(VALIDATION, len(held)))]
    logits = [finder.logits(image) for image, _ in shown]
    best, scores = Thresholds(), dict[str, float]()
    for name, value in (("vessel", VESSEL), ("catheter", CATHETER)):
        for level in np.arange(-1.0, 2.51, 0.5):
            tried = replace(best, **{name: float(level)})
            dices = []
            for (image, labels), one in zip(shown, logits, strict=True):
                found = getattr(tried.read(one, image), name) & (labels != TWIG)
                dices.append(_dice(found, labels == value))
            score = float(np.nanmean(dices)) if np.isfinite(dices).any() else 0.0
            if score > scores.get(name, -1.0):
                best, scores[name] = tried, score
    return {"thresholds": vars(best), "held_out_dice": scores}


def _dice(a: Any, b: Any) -> float:
    size = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / size if size else float("nan")


class _Loss(nn.Module):  # type: ignore[misc]
    """Weighted cross-entropy, and one less the Dice of vessels and of catheters over the batch."""

    def __init__(self, learning: Learning) -> None:
        super().__init__()
        self.learning = learning
        self.register_buffer("weights", torch.tensor(WEIGHTS), persistent=False)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        logits = self.learning(batch["x"]).float()
        entropy = functional.cross_entropy(logits, batch["y"], self.weights)
        likely = logits.softmax(1)[:, 1:]
        true = torch.stack([batch["y"] == VESSEL, batch["y"] == CATHETER], 1).float()
        shared, size = (likely * true).sum((0, 2, 3)), (likely + true).sum((0, 2, 3))
        return entropy + (1 - 2 * shared / (size + 1)).mean()


class _Finding(FitTask):
    """The loop's task: AdamW and a cosine, the moving average of all that finds."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        parameters = list(self.network.parameters())
        return [torch.optim.AdamW(parameters, lr=self.settings.rate, weight_decay=0.02, fused=True)]

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        s = self.settings
        done = (step - s.warmup) / max(1, s.steps - s.warmup)
        fall = LAST_RATE + (1 - LAST_RATE) * (1 + float(np.cos(np.pi * max(0.0, done)))) / 2
        for group in optimizer.param_groups:
            group["lr"] = s.rate * min(step / max(1, s.warmup), fall)

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self.network.state_dict())

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        x = batch["x"].to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        return {"x": x, "y": batch["y"].to(device, non_blocking=True)}

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        """A column for each frame: as it is seen, what it shows, and what is found."""
        self.network.eval()
        loss = float(self.network(batch))
        found = self.network.learning(batch["x"]).float().softmax(1)
        self.network.train()
        seen = (batch["x"][:, 0] + 96).clamp(0, 192) * (255 / 192)
        rows = [255 - seen, batch["y"] * 127, found[:, 1] * 127 + found[:, 2] * 255]
        small = [row.float().cpu()[:, ::2, ::2].clamp(0, 255).to(torch.uint8).numpy() for row in rows]
        sheet.write(picture, small)
        return loss


def _collated(rows: Sequence[Mapping[str, Any]], device: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("x", "y")}
