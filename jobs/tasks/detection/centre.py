"""The centre-point detector: small enough to learn from real frames in a minute on one CPU core."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.detection import drawing, network
from lesionforge.jobs.tasks.detection.drawing import half
from lesionforge.jobs.tasks.detection.frames import Detections, Frame
from lesionforge.jobs.tasks.detection.inputs import SIZE, InputCache, scale


@dataclass(frozen=True)
class CentreSettings:
    """How it learns, and where its inputs are kept between runs (``cache``: a folder, none to keep nothing)."""

    steps: int = 600
    batch: int = 16
    rate: float = 2e-3
    decay: float = 0.05
    warmup: int = 50
    last_rate: float = 0.02  # of the cosine, as a share of the first
    clip: float = 5.0
    average: float = 0.99  # of the weights' moving average, the ones that predict
    most: int = 50  # detections per frame
    overlap: float = 0.4  # IoU above which the weaker of two detections goes
    cache: str | None = None


class CentreDetector:
    """See ``Detector``."""

    def __init__(self, settings: CentreSettings, device: str = "cpu") -> None:
        self.settings, self.device = settings, torch.device(device)
        self._cache = InputCache(Path(settings.cache) if settings.cache else None)
        self._net: nn.Module | None = None

    def fit(
        self,
        real: Sequence[Frame],
        synthetic: Sequence[Frame],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Detector.fit``."""
        s = self.settings
        rng = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            task = _Centres(s, rng)
            frames = [*real, *synthetic]
            order = drawing.order(len(real), len(synthetic), real_share, s.steps * s.batch, rng)
            pictures = drawing.Pictures(self._cache.stack([frame.image for frame in frames]), frames, order)
            record: dict[str, Any] = {**asdict(s), "seed": seed, "real_share": real_share, "frames": len(frames)}
            if folder is not None:
                record["pixels and boxes (hash)"] = fingerprint(part for frame in frames for part in frame.learnt_from)
            training = loop.Training(s.steps, s.batch, str(self.device), folder)
            loop.run(training, task, pictures, settings=record, free=("cache",), progress=progress)
        self._net = task.net.eval()

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See ``Detector.predict``: the mean over the frame and its mirror image."""
        if self._net is None:
            raise ValueError("this detector has learnt nothing yet: fit or load it first")
        found = []
        for start in range(0, len(images), self.settings.batch):
            some = images[start : start + self.settings.batch]
            x = self._cache.stack(some).to(self.device).float().contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), half(self.device):
                straight, mirrored = self._net(x).float(), self._net(x.flip(3)).float().flip(3)
            mirrored[:, 1] *= -1  # the x offset
            for out, image in zip((straight + mirrored).cpu() / 2, some, strict=True):
                found.append(self._read(out, scale(image)))
        return found

    def _read(self, out: Tensor, scale: float) -> Detections:
        from torchvision.ops import nms  # type: ignore[import-untyped]

        boxes, scores, severe = network.peaks(out, 2 * self.settings.most)
        keep = nms(boxes, scores, self.settings.overlap)[: self.settings.most]
        boxes, scores, severe = boxes[keep] * (2 / scale), scores[keep], severe[keep]
        both = torch.stack([scores * (1 - severe), scores * severe], 1)
        return Detections(boxes.numpy(), both.numpy())

    def save(self, path: Path) -> None:
        """See ``Detector.save``: a safetensors file, the settings in its metadata."""
        if self._net is None:
            raise ValueError("this detector has learnt nothing yet: fit it first")
        weights = {name: value.contiguous().cpu() for name, value in self._net.state_dict().items()}
        write(weights, path, {"settings": json.dumps(asdict(self.settings) | {"cache": None})})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> CentreDetector:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "settings", "lesionforge train detection") as (told, weights):
            settings, net = CentreSettings(**told), filled(network.CentreNet, weights)
        detector = cls(settings, device)
        detector._net = net.to(detector.device, memory_format=torch.channels_last).eval()
        return detector


class _Learning(nn.Module):  # type: ignore[misc]
    """From pictures and what the grid should say to the loss."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        x: Tensor = batch["x"]
        with half(x.device):
            out = self.net(x)
        return network.loss(out, batch["goal"])


class _Centres(drawing.Learnt):
    """The loop's task: AdamW on augmented pictures."""

    def __init__(self, settings: CentreSettings, rng: torch.Generator) -> None:
        super().__init__(network.CentreNet(), settings, rng)
        self.network = _Learning(self.net)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [drawing.adamw(self.net, self.plan.rate, self.plan.decay)]

    def goal(self, boxes: list[Tensor], classes: list[Tensor], ignore: list[Tensor], device: str) -> network.Targets:
        return network.targets(boxes, classes, ignore, SIZE // network.CELL).to(torch.device(device))
