"""Training of a grader: what tells images apart, and where it is seen as far as boxes say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.jobs.tasks.images.networks import half
from lesionforge.jobs.tasks.images.training import Pictures, Telling
from lesionforge.jobs.tasks.severity.images import FRAME
from lesionforge.jobs.tasks.severity.network import Grader
from lesionforge.jobs.tasks.severity.settings import Settings

MARKS = 32  # cells an edge of a map of lesions


def marked(boxes: NDArray[Any]) -> Tensor:
    """Boxes (k, 4) in pixels of a 512-pixel frame as a map, bool (32, 32): cells that lie in one or hold its centre."""
    out, middle = torch.zeros(MARKS, MARKS, dtype=torch.bool), (torch.arange(MARKS) + 0.5) * FRAME / MARKS
    for x0, y0, x1, y1 in torch.as_tensor(boxes).tolist():
        reach = FRAME / MARKS / 2
        inside = [
            ((middle > low) & (middle < high)) | ((middle - (low + high) / 2).abs() <= reach)
            for low, high in ((y0, y1), (x0, x1))
        ]
        out |= inside[0][:, None] & inside[1][None]
    return out


class Marked(Pictures):
    """Frames as they are drawn, with their maps of lesions; ``marks`` bool (n, 32, 32)."""

    def __init__(self, pictures: Tensor, labels: Tensor, order: Tensor, marks: Tensor) -> None:
        super().__init__(pictures, labels, order)
        self._marks, self._at = marks, order

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        return *super().__getitem__(number), self._marks[int(self._at[number])]


class Attending(Telling):
    """The loop's task; the maps of lesions move with their frames."""

    def __init__(self, settings: Settings, net: Grader, rng: torch.Generator) -> None:
        super().__init__(settings, net, F.cross_entropy, rng)
        self.network = _Learning(net, settings.attend)

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        pictures, labels, marks = batch
        grey = pictures.to(device).float()
        change = self.change(len(grey))
        moved = F.grid_sample(marks[:, None].float(), change.grid(len(grey), MARKS), align_corners=False)
        return {"grey": change(grey, self._rng), "labels": labels.to(device), "marks": moved.to(device)}


class _Learning(nn.Module):  # type: ignore[misc]
    def __init__(self, net: Grader, attend: float) -> None:
        super().__init__()
        self.net, self._attend = net, attend

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch: cross-entropy, and minus the log of the attention's share inside of lesions."""
        grey: Tensor = batch["grey"]
        with half(grey.device):
            features = self.net.features(grey)
            share = self.net.head.shares(features)
            logits = self.net.head.dense((features * share).sum((2, 3)))
        loss = F.cross_entropy(logits.float(), batch["labels"])
        marks = F.adaptive_avg_pool2d(batch["marks"], list(share.shape[2:]))
        ill = marks.amax((1, 2, 3)) > 0.25
        if self._attend and ill.any():
            inside = (share.float() * (marks > 0.1)).sum((1, 2, 3))[ill]
            loss = loss - self._attend * inside.clamp(min=1e-4).log().sum() / len(grey)
        return loss
