"""The latent U-Net of DiffTumor: a video U-Net (Ho et al. 2022) whose time is the depth of a volume.

Convolutions work within slices, attention along the depth mixes them; height and width alone are halved. With
``prompt`` it is PromptLesion's: a prompt block at every scale of the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from lesionforge.generators.lesion.learned.networks.attention import Attention, LinearAttention, Places, Positions


class Block(nn.Module):  # type: ignore[misc]
    """Two convolutions within slices, the first one's features scaled and shifted by the condition."""

    def __init__(self, inside: int, outside: int, groups: int, condition: int | None = None) -> None:
        super().__init__()
        self.first = nn.Conv3d(inside, outside, (1, 3, 3), padding=(0, 1, 1))
        self.second = nn.Conv3d(outside, outside, (1, 3, 3), padding=(0, 1, 1))
        self.norms = nn.ModuleList(nn.GroupNorm(groups, outside) for _ in range(2))
        self.modulate = None if condition is None else nn.Linear(condition, 2 * outside)
        self.skip = nn.Identity() if inside == outside else nn.Conv3d(inside, outside, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """``condition`` (n, f or 1, h or 1, w or 1, width): of the whole volume or of every cell."""
        y = self.norms[0](self.first(x))
        if self.modulate is not None:
            scale, shift = self.modulate(functional.silu(condition)).movedim(-1, 1).chunk(2, 1)
            y = y * (scale + 1) + shift
        y = self.norms[1](self.second(functional.silu(y)))
        return functional.silu(y) + self.skip(x)


class Step(nn.Module):  # type: ignore[misc]
    """One scale: two blocks, attention over each slice and along the depth."""

    def __init__(self, inside: int, outside: int, groups: int, time: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(inside, outside, groups, time), Block(outside, outside, groups, time)])
        self.within = LinearAttention(outside, heads, head_dim)
        self.along = Attention(outside, heads, head_dim, depth=True)

    def forward(self, x: Tensor, time: Tensor, places: Places) -> Tensor:
        for block in self.blocks:
            x = block(x, time)
        return self.along(self.within(x), places)


class LatentUNet(nn.Module):  # type: ignore[misc]
    """Predicts the noise in latents.

    Args:
        inside, outside: channels; inside holds the noisy latents and the condition.
        dim, mults: channels of the scales are dim * mults; height and width are halved between them.
        heads, head_dim: of the attention.
        groups: of the normalisation.
        prompt: width of the prompt, 0 for none.
    """

    def __init__(
        self,
        inside: int = 17,
        outside: int = 8,
        dim: int = 24,
        mults: Sequence[int] = (1, 2, 4, 8),
        heads: int = 8,
        head_dim: int = 32,
        groups: int = 8,
        prompt: int = 0,
    ) -> None:
        super().__init__()
        time = 4 * dim
        sizes = [dim, *(dim * m for m in mults)]
        pairs = list(pairwise(sizes))
        common = {"groups": groups, "time": time, "heads": heads, "head_dim": head_dim}
        self.dim = dim
        self.positions = Positions(heads, head_dim)
        self.first = nn.Conv3d(inside, dim, (1, 7, 7), padding=(0, 3, 3))
        self.first_along = Attention(dim, heads, head_dim, depth=True)
        self.clock = nn.Sequential(nn.Linear(dim, time), nn.GELU(), nn.Linear(time, time))
        self.down = nn.ModuleList(Step(a, b, **common) for a, b in pairs)
        self.shrink = nn.ModuleList(nn.Conv3d(b, b, (1, 4, 4), (1, 2, 2), (0, 1, 1)) for _, b in pairs[:-1])
        top = sizes[-1]
        self.middle = nn.ModuleList([Block(top, top, groups, time), Block(top, top, groups, time)])
        self.middle_within = Attention(top, heads, head_dim, depth=False)
        self.middle_along = Attention(top, heads, head_dim, depth=True)
        self.up = nn.ModuleList(Step(2 * b, a, **common) for a, b in reversed(pairs))
        self.grow = nn.ModuleList(
            nn.ConvTranspose3d(a, a, (1, 4, 4), (1, 2, 2), (0, 1, 1)) for a, _ in reversed(pairs[1:])
        )
        self.last = Block(2 * dim, dim, groups)
        self.out = nn.Conv3d(dim, outside, 1)
        self.prompts = nn.ModuleList(Block(a, a, groups, prompt) for a, _ in reversed(pairs)) if prompt else None

    def forward(self, x: Tensor, time: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The noise (n, outside, f, h, w).

        Args:
            x: (n, inside, f, h, w); h and w divisible by 2 ** (scales - 1).
            time: (n,) noise levels.
            prompt: (n, width, a, b, c) on any grid; it is brought to the grid of each scale.
        """
        places = self.positions(x.shape[2])
        clock = self.clock(waves(time, self.dim).to(x.dtype))[:, None, None, None]
        x = start = self.first_along(self.first(x), places)
        kept = []
        for n, step in enumerate(self.down):
            x = step(x, clock, places)
            kept.append(x)
            x = self.shrink[n](x) if n < len(self.shrink) else x
        x = self.middle[0](x, clock)
        x = self.middle_along(self.middle_within(x), places)
        x = self.middle[1](x, clock)
        for n, step in enumerate(self.up):
            x = step(torch.cat([x, kept.pop()], 1), clock, places)
            if self.prompts is not None and prompt is not None:
                x = self.prompts[n](x, _at(prompt, x))
            x = self.grow[n](x) if n < len(self.grow) else x
        return self.out(self.last(torch.cat([x, start], 1)))


def _at(prompt: Tensor, x: Tensor) -> Tensor:
    """The prompt on the grid of x, channels last; one that is the same everywhere stays one cell."""
    if prompt.shape[2:] != (1, 1, 1):
        prompt = functional.interpolate(prompt, x.shape[2:], mode="trilinear")
    return prompt.movedim(1, -1)


def waves(time: Tensor, dim: int) -> Tensor:
    """Sinusoids (n, dim) of noise levels."""
    half = dim // 2
    speed = torch.exp(-math.log(10_000) / (half - 1) * torch.arange(half, device=time.device))
    angle = time.float()[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], 1)
