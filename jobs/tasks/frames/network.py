"""From the features of a run's frames to how likely each is one of full contrast (Cong et al. 2021, and their code)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def soft_f1_loss(likely: Tensor, truth: Tensor) -> Tensor:
    """1 - 2 sum(p y) / (sum(p) + sum(y)) along time: the paper's "convolutional F1", for each run.

    A run that never fills has no F1, and no gradient of it: there the mean of p is the loss.

    Args:
        likely: (n, phases) in 0..1.
        truth: (n, phases), 0 or 1, or between where phases lie between frames.

    Returns:
        (n,) in 0..1.
    """
    filled = truth.sum(1) > 0
    f1 = 2 * (likely * truth).sum(1) / (likely.sum(1) + truth.sum(1)).clamp(min=1e-6)
    return torch.where(filled, 1 - f1, likely.mean(1))


class OverTime(nn.Module):  # type: ignore[misc]
    """A bi-directional LSTM beside a layer of each phase, as in the paper's code; features also less their run's mean.

    What is full is so against the rest of the run, and not all runs are of one brightness.

    Args:
        features: of a frame.
        width: of the LSTM, each way, and of what is beside it.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.lstm = nn.LSTM(2 * features, width, batch_first=True, bidirectional=True)
        self.each = nn.Sequential(nn.Linear(2 * features, width), nn.ReLU())
        self.head = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(3 * width, 2 * width), nn.ReLU(),
            nn.Linear(2 * width, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """Float (n, phases, features) -> logits (n, phases)."""
        x = self.norm(features)
        x = torch.cat([x, x - x.mean(1, keepdim=True)], 2)
        out: Tensor = self.head(torch.cat([self.lstm(x)[0], self.each(x)], 2))
        return out[..., 0]


class Learning(nn.Module):  # type: ignore[misc]
    """From features and truth to the loss."""

    def __init__(self, net: OverTime) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        return soft_f1_loss(self.net(batch["features"]).sigmoid(), batch["truth"]).mean()
