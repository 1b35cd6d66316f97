"""What slices look like to a network that was never fitted to them: the perceptual loss of the autoencoder.

Features of VGG-16 compared as LPIPS does (Zhang et al. 2018), from weights on this machine; without any, a small
network of random weights, which also compares structure at several scales. Its features are compared as they are: in
even tissue they are near zero, and brought to one length they would be noise alone. Nothing is downloaded.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

_VGG_TAKEN = (3, 8, 15, 22)  # the last layer of each of the first four stages
_RANDOM = (16, 32, 64)  # channels of the random network, its resolution halved from each to the next
_SMALL = 1e-10


class Features(nn.Module):  # type: ignore[misc]
    """Frozen.

    Args:
        weights: torchvision's VGG-16 as safetensors; None: random weights.
        seed: of the random weights.

    Raises:
        ValueError: a file that is not of VGG-16.
    """

    def __init__(self, weights: Path | None = None, seed: int = 0) -> None:
        super().__init__()
        if weights is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.stages = _random()
        else:
            self.stages = _vgg(weights)
        self.requires_grad_(False)
        self.vgg = weights is not None

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance (n,) between slices (n, 1, h, w), -1 ... 1."""
        x = torch.cat([a, b]).expand(-1, 3 if self.vgg else 1, -1, -1)
        total = torch.zeros(len(a), device=a.device)
        for stage in self.stages:
            x = stage(x)
            seen = x / (x.square().sum(1, keepdim=True) + _SMALL).sqrt() if self.vgg else x
            left, right = seen.chunk(2)
            gap = (left - right).square().sum(1) if self.vgg else (left - right).abs().mean(1)
            total = total + gap.flatten(1).mean(1)
        return total


def _random() -> nn.ModuleList:
    stages, inside = [], 1
    for n, outside in enumerate(_RANDOM):
        conv = nn.Conv2d(inside, outside, 3, stride=1 + (n > 0), padding=1)
        nn.init.orthogonal_(conv.weight, 2**0.5)
        stages.append(nn.Sequential(conv, nn.LeakyReLU(0.2)))
        inside = outside
    return nn.ModuleList(stages)


def _vgg(weights: Path) -> nn.ModuleList:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from torchvision.models import vgg16  # type: ignore[import-untyped]

    with torch.device("meta"):
        body = vgg16(weights=None).features[: _VGG_TAKEN[-1] + 1]
    try:
        tensors = {name.removeprefix("features."): tensor for name, tensor in load_file(weights).items()}
        body.load_state_dict({name: tensors[name] for name in body.state_dict()}, assign=True)
    except (KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{weights} is not torchvision's VGG-16: {error}") from None
    ends = (0, *(n + 1 for n in _VGG_TAKEN))
    return nn.ModuleList(body[a:b] for a, b in pairwise(ends))
