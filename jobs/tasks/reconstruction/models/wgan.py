"""A Wasserstein GAN with gradient penalty in the manner of DeepCA (Wang 2024), XRA-Diff's baseline, as a learner.

As theirs: absolute difference times 100, penalty 10, Adam (0.5, 0.9), two turns of the critic at one of the generator.
Unlike theirs: the critic's gradient reaches the generator (XRA-Diff detaches it, which leaves the absolute difference
alone); the critic's output is linear, as Wasserstein's distance asks (DeepCA bounds it); it is told of the views too;
its turns see the same trees as the generator's; the generator is the U-Net of ``dense``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.reconstruction.models.dense import PRESETS, DenseLearner, DenseTask
from lesionforge.jobs.tasks.reconstruction.settings import WganSettings

EMPTY = 3.0  # taken off the generator's logits: half full, as it would begin, it is 200 times a tree and long to leave


class Critic(nn.Module):  # type: ignore[misc]
    """Says how real a tree looks beside its back-projections, in no bounds; without norms, which the penalty forbids.

    Parameters with two views: ``paper`` 2,757,345 (the minimum alone), ``small`` 692,593, ``tiny`` 174,265.

    Args:
        inputs: back-projections.
        channels: of the first of its four convolutions, each of which doubles them and halves the grid.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = inputs + 1
        for n in range(4):
            layers += [nn.Conv3d(before, channels << n, 4, 2, 1), nn.LeakyReLU(0.2)]
            before = channels << n
        self.body, self.out = nn.Sequential(*layers), nn.Linear(before, 1)

    def forward(self, x: Tensor, tree: Tensor) -> Tensor:
        """Back-projections (b, inputs, n, n, n) and trees (b, n, n, n) -> (b,)."""
        said: Tensor = self.out(self.body(torch.cat([x, tree[:, None]], 1)).mean((2, 3, 4)))[:, 0]
        return said


class Adversaries(nn.Module):  # type: ignore[misc]
    """Generator and critic; the turn's number says whose loss it is.

    Args:
        generator: back-projections to logits of trees.
        critic: back-projections and trees to a number each.
        settings: weights of the losses.
    """

    GENERATOR, CRITIC = 0, 1

    def __init__(self, generator: nn.Module, critic: nn.Module, settings: WganSettings) -> None:
        super().__init__()
        self.generator, self.critic, self.settings = generator, critic, settings

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        x, truth, s = batch["x"], batch["truth"], self.settings
        with torch.set_grad_enabled(torch.is_grad_enabled() and batch["turn"] == self.GENERATOR):
            made = torch.sigmoid(self.generator(x) - EMPTY)
        if batch["turn"] == self.GENERATOR:
            difference = (made - truth).abs().mean()
            return s.absolute * difference - s.adversarial * self.critic(x, made).mean()
        share = torch.rand(len(x), 1, 1, 1, device=x.device)
        penalty = gradient_penalty(self.critic, x, truth.lerp(made, share))
        return self.critic(x, made).mean() - self.critic(x, truth).mean() + s.penalty * penalty


def gradient_penalty(critic: nn.Module, x: Tensor, trees: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2, the critic's by each of the trees (b, n, n, n); Gulrajani 2017."""
    trees = trees.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x, trees).sum(), trees, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


class WganLearner(DenseLearner[WganSettings]):
    """See ``NetLearner``; the generator is what it keeps. Sizes in ``UNet3d`` and ``Critic``."""

    Settings = WganSettings

    def task(self, net: nn.Module) -> loop.Task:
        """See ``NetLearner``."""
        critic = Critic(net.inputs, PRESETS[self.settings.preset].channels[0])
        return _Task(self.settings, net, Adversaries(net, critic, self.settings))

    def likely(self, out: Tensor) -> Tensor:
        """See ``DenseLearner``."""
        return torch.sigmoid(out - EMPTY)


class _Task(DenseTask):
    partly = True
    network: Adversaries

    def turns(self, step: int) -> tuple[int, ...]:
        """The generator, then the critic."""
        return (Adversaries.GENERATOR,) + (Adversaries.CRITIC,) * self.network.settings.turns

    def optimizers(self) -> list[torch.optim.Optimizer]:
        s = self.network.settings
        parts = self.network.generator, self.network.critic
        return [torch.optim.Adam(part.parameters(), s.rate, (0.5, 0.9), weight_decay=s.decay) for part in parts]
