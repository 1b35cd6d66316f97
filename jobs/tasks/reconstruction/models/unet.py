"""The 3-D U-Net of XRA-Diff's Table 4 as a learner: back-projections to cells by a weighted cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.reconstruction.models.dense import DenseLearner, DenseTask
from lesionforge.jobs.tasks.reconstruction.settings import UNetSettings


class UNetLearner(DenseLearner[UNetSettings]):
    """See ``NetLearner``; sizes in ``UNet3d``."""

    Settings = UNetSettings

    def task(self, net: nn.Module) -> loop.Task:
        """See ``NetLearner``."""
        return DenseTask(self.settings, net, _Learning(net, self.settings.weight))

    def likely(self, out: Tensor) -> Tensor:
        """Without the loss's weight, which makes p / (1 - p) so many times larger."""
        return torch.sigmoid(out - math.log(self.settings.weight))


class _Learning(nn.Module):  # type: ignore[misc]
    def __init__(self, net: nn.Module, weight: float) -> None:
        super().__init__()
        self.net, self.weight = net, weight

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        logits = self.net(batch["x"])
        weight = logits.new_tensor(self.weight)
        loss: Tensor = functional.binary_cross_entropy_with_logits(logits, batch["truth"], pos_weight=weight)
        return loss
