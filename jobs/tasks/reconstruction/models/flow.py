"""Flow matching on the hull's cells: the sparse network's answer, refined by samples of whole trees.

A direct network says of each cell how likely it is the tree's, each for itself: where two paths are possible it says
half to both. A second one, of the same shape, is given a noisy tree beside that answer and says the clean one (its
logits are added to the direct ones'); from noise to tree it takes a few steps; the mean of several trees is the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.generators.types import stream
from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.reconstruction.models.features import width
from lesionforge.jobs.tasks.reconstruction.models.sparse import Sites, SparseUNet
from lesionforge.jobs.tasks.reconstruction.models.sparse_learner import SparseLearner, SparseTask, loss_of
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import FlowSettings

STATE = 4  # inputs of the second network beside the features: logit, noisy tree, sine and cosine of the time


class Flow(nn.Module):  # type: ignore[misc]
    """Both networks.

    Args:
        wide: features of a token.
        channels: of the levels of each.
    """

    def __init__(self, wide: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.direct = SparseUNet(wide, channels)
        self.refine = SparseUNet(wide + STATE, channels)

    def clean(self, x: Tensor, where: Sites, logits: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """Logits of the clean tree, of a noisy one (n,) at times (n,) from 0, noise alone, to 1."""
        angle = time * (math.pi / 2)
        state = torch.stack([logits / 4, noisy, torch.sin(angle), torch.cos(angle)], 1)
        more: Tensor = self.refine(torch.cat([x, state], 1), where)
        return logits + more

    def sample(self, x: Tensor, where: Sites, logits: Tensor, noise: Tensor, steps: int) -> Tensor:
        """How likely each token is the tree's, by the path that begins at some noise (n,)."""
        state = noise
        for step in range(steps):
            now, then = step / steps, (step + 1) / steps
            found = torch.sigmoid(self.clean(x, where, logits, state, torch.full_like(noise, now)))
            state = state + (then - now) / (1 - now) * (2 * found - 1 - state)
        return found


class FlowLearner(SparseLearner):
    """See ``NetLearner``."""

    Settings = FlowSettings
    settings: FlowSettings

    def network(self) -> nn.Module:
        """See ``NetLearner``."""
        return Flow(width(self.views), self.settings.channels)

    def task(self, net: nn.Module) -> loop.Task:
        """See ``NetLearner``."""
        return _Task(self.settings, net, _Learning(net, self.settings.first))

    def volume(self, net: nn.Module, pair: Pair) -> NDArray[np.float32]:
        """See ``NetLearner``; the noise is the pair's own."""
        assert isinstance(net, Flow)
        x, where, cells = self._tokens(pair)
        x, where = x.to(self.device), where.to(self.device)
        logits = net.direct(x, where)
        rng = stream(f"reconstruction/{pair.sample}".encode(), "noise")
        total = torch.zeros_like(logits)
        for _ in range(self.settings.samples):
            noise = torch.from_numpy(rng.standard_normal(len(cells), np.float32)).to(self.device)
            total += net.sample(x, where, logits, noise, self.settings.levels)
        out = np.zeros(pair.grid.shape, np.float32)
        out[tuple(cells.T)] = (total / self.settings.samples).cpu().numpy()
        return out


class _Learning(nn.Module):  # type: ignore[misc]
    """The direct network for the first steps, then the second one on top of it as it is."""

    def __init__(self, net: nn.Module, first: int) -> None:
        super().__init__()
        assert isinstance(net, Flow)
        self.net, self.first = net, first

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        x, where = batch["x"].float(), batch["where"]
        if batch["step"] <= self.first:
            return loss_of(self.net.direct(x, where), batch)
        with torch.no_grad():
            logits = self.net.direct(x, where)
        time = torch.cat([torch.rand(1, device=x.device).expand(n) for n in batch["counts"]])
        noisy = (1 - time) * torch.randn_like(time) + time * (2 * batch["truth"].float() - 1)
        return loss_of(self.net.clean(x, where, logits, noisy, time), batch)


class _Task(SparseTask):
    """The rate rises and falls once for each of both networks."""

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        assert isinstance(self._settings, FlowSettings)
        first = self._settings.first
        begun, length = (0, first) if step <= first else (first, self._settings.steps - first)
        self.anneal(step - begun, length, optimizer)
