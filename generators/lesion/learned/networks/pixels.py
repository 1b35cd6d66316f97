"""Med-DDPM's network (Dorjsembe et al. 2024): a U-Net over voxels after guided diffusion (Dhariwal & Nichol 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from lesionforge.generators.lesion.learned.networks.unet import waves


def _normed(channels: int, outside: int, groups: int) -> nn.Module:
    return nn.Sequential(nn.GroupNorm(groups, channels), nn.SiLU(), nn.Conv3d(channels, outside, 3, padding=1))


class Timed(nn.Module):  # type: ignore[misc]
    """A residual block whose features are scaled and shifted by the noise level."""

    def __init__(self, inside: int, outside: int, time: int, groups: int) -> None:
        super().__init__()
        self.first = _normed(inside, outside, groups)
        self.norm = nn.GroupNorm(groups, outside)
        self.second = nn.Conv3d(outside, outside, 3, padding=1)
        self.modulate = nn.Linear(time, 2 * outside)
        self.skip = nn.Identity() if inside == outside else nn.Conv3d(inside, outside, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.modulate(functional.silu(time))[:, :, None, None, None].chunk(2, 1)
        y = self.norm(self.first(x)) * (scale + 1) + shift
        return self.skip(x) + self.second(functional.silu(y))


class Everywhere(nn.Module):  # type: ignore[misc]
    """x + attention over all cells."""

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(rows, rows, rows, need_weights=False)[0].transpose(1, 2).view_as(x)


class PixelUNet(nn.Module):  # type: ignore[misc]
    """Predicts the noise in volumes; attention at the coarsest scale alone.

    Args:
        inside, outside: channels; inside holds the noisy volume and the mask of all classes.
        channels: of each scale; all axes are halved between them.
        heads: of the attention.
        groups: of the normalisation.
    """

    def __init__(self, inside: int, outside: int, channels: Sequence[int], heads: int, groups: int) -> None:
        super().__init__()
        base, top = channels[0], channels[-1]
        time = 4 * base
        self.base = base
        self.clock = nn.Sequential(nn.Linear(base, time), nn.SiLU(), nn.Linear(time, time))
        self.first = nn.Conv3d(inside, base, 3, padding=1)
        entered = [base, *channels[:-1]]
        self.down = nn.ModuleList(Timed(a, b, time, groups) for a, b in zip(entered, channels, strict=True))
        self.shrink = nn.ModuleList(nn.Conv3d(c, c, 3, stride=2, padding=1) for c in channels[:-1])
        self.middle = nn.ModuleList(Timed(top, top, time, groups) for _ in range(2))
        self.attention = nn.ModuleList(Everywhere(top, heads, groups) for _ in range(3))
        up: list[Any] = []
        below = top
        for c in reversed(channels):
            up.append(nn.ModuleList([Timed(below + c, c, time, groups), Timed(c, c, time, groups)]))
            below = c
        self.up = nn.ModuleList(up)
        self.grow = nn.ModuleList(nn.Conv3d(c, c, 3, padding=1) for c in reversed(channels[1:]))
        self.last = _normed(base, outside, groups)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """The noise (n, outside, f, h, w) in (n, inside, f, h, w) at noise levels (n,)."""
        clock = self.clock(waves(time, self.base).to(x.dtype))
        x = self.first(x)
        kept = []
        for n, block in enumerate(self.down):
            x = block(x, clock)
            x = self.attention[0](x) if n == len(self.shrink) else x
            kept.append(x)
            x = self.shrink[n](x) if n < len(self.shrink) else x
        x = self.middle[1](self.attention[1](self.middle[0](x, clock)), clock)
        for n, (first, second) in enumerate(self.up):
            x = second(first(torch.cat([x, kept.pop()], 1), clock), clock)
            x = self.attention[2](x) if n == 0 else x
            if n < len(self.grow):
                x = self.grow[n](functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(x)
