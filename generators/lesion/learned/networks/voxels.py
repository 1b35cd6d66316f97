"""PromptLesion's network for voxels: a small U-Net that takes volumes of any size, its prompt in every block.

In place of an autoencoder, 2 x 2 x 2 voxels become the channels of one cell (space-to-depth, Shi et al. 2016), which
loses nothing: neither the edge of thin plaque nor the HU of calcium.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from lesionforge.generators.lesion.learned.networks.attention import ChannelNorm
from lesionforge.generators.lesion.learned.networks.unet import waves

FOLD = 2  # voxels along each edge of a cell


class Prompted(nn.Module):  # type: ignore[misc]
    """A residual block whose features are scaled and shifted by noise level and prompt (FiLM, Perez et al. 2018).

    It normalises over channels alone, so that a cell's features do not depend on how much lies about it.
    """

    def __init__(self, inside: int, outside: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([ChannelNorm(inside), ChannelNorm(outside)])
        self.first = nn.Conv3d(inside, outside, 3, padding=1)
        self.second = nn.Conv3d(outside, outside, 3, padding=1)
        self.modulate = nn.Conv3d(condition, 2 * outside, 1)
        self.skip = nn.Identity() if inside == outside else nn.Conv3d(inside, outside, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``condition`` (n, width, a, b, c): of the whole volume, where those are 1, or of every cell."""
        scale, shift = self.modulate(functional.silu(condition)).chunk(2, 1)
        y = self.first(functional.silu(self.norms[0](x)))
        y = self.norms[1](y) * (scale + 1) + shift
        return self.skip(x) + self.second(functional.silu(y))


class VoxelUNet(nn.Module):  # type: ignore[misc]
    """Predicts how far voxels are from what fills their hole, from the same under noise.

    Args:
        inside: channels of voxels: the noisy ones and the condition.
        channels: of each scale, in cells; all axes are halved between them, so that a volume's edges are whole
            multiples of 2 ** scales.
        prompt: width of the prompt.
        spread: the unit of that distance, so that it is about as wide as the noise is.
    """

    def __init__(self, inside: int, channels: Sequence[int], prompt: int, spread: float) -> None:
        super().__init__()
        self.spread = spread
        base, cells = channels[0], FOLD**3
        self.base = base
        condition = base + prompt
        self.clock = nn.Sequential(nn.Linear(base, base), nn.SiLU(), nn.Linear(base, base))
        self.first = nn.Conv3d(inside * cells, base, 3, padding=1)
        self.down = nn.ModuleList(Prompted(c, c, condition) for c in channels)
        self.shrink = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.middle = Prompted(channels[-1], channels[-1], condition)
        up = list(reversed(list(pairwise(channels))))
        self.grow = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in up)
        self.up = nn.ModuleList(Prompted(2 * a, a, condition) for a, _ in up)
        self.norm = ChannelNorm(base)
        self.last = nn.Conv3d(base, 2 * cells, 3, padding=1)
        self.direct = nn.Conv3d(base, cells, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, time: Tensor, prompt: Tensor) -> Tensor:
        """What is clean (n, 1, f, h, w), of (n, inside, f, h, w), noise levels (n,) and prompts on any grid."""
        clock = self.clock(waves(time, self.base).to(x.dtype))[:, :, None, None, None]
        x = self.first(folded(x))
        kept = []
        for n, block in enumerate(self.down):
            x = block(x, _both(clock, prompt, x))
            if n < len(self.shrink):
                kept.append(x)
                x = self.shrink[n](x)
        x = self.middle(x, _both(clock, prompt, x))
        for grow, block in zip(self.grow, self.up, strict=True):
            x = torch.cat([grow(x), kept.pop()], 1)
            x = block(x, _both(clock, prompt, x))
        own, share = self.last(functional.silu(self.norm(x))).chunk(2, 1)
        return unfolded(own) + unfolded(
            share * self.direct(x)
        )  # norms lose how bright it is; the class says if it counts


def _both(clock: Tensor, prompt: Tensor, x: Tensor) -> Tensor:
    """Noise level and prompt as one condition, on the grid of x where the prompt has a grid."""
    if prompt.shape[2:] != (1, 1, 1):
        prompt = functional.interpolate(prompt, x.shape[2:], mode="trilinear")
    return torch.cat([clock.expand(-1, -1, *prompt.shape[2:]), prompt], 1)


def folded(x: Tensor) -> Tensor:
    """Cells (n, 8 c, f / 2, h / 2, w / 2) of voxels (n, c, f, h, w)."""
    n, c, f, h, w = x.shape
    x = x.reshape(n, c, f // FOLD, FOLD, h // FOLD, FOLD, w // FOLD, FOLD)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * FOLD**3, f // FOLD, h // FOLD, w // FOLD)


def unfolded(x: Tensor) -> Tensor:
    """Voxels (n, c, f, h, w) of cells (n, 8 c, f / 2, h / 2, w / 2)."""
    n, c, f, h, w = x.shape
    x = x.reshape(n, c // FOLD**3, FOLD, FOLD, FOLD, f, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(n, c // FOLD**3, f * FOLD, h * FOLD, w * FOLD)
