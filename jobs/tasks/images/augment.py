"""Random changes of frames: view and grey levels. No mirror: it would give a left tree the look of a right one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ZOOM, STRETCH, SHIFT = 0.3, 0.1, 0.15  # log scales, share of the side
KNOTS = 5  # along each side, where a bend is drawn
GAMMA, CONTRAST, OFFSET = 0.4, 0.35, 25.0  # log exponent, log gain about the mean, grey levels
NOISE, BLUR, RIM = 10.0, 0.3, 0.3  # largest sd in grey levels, chance of a 3 x 3 blur, chance of a collimator's rim


@dataclass(frozen=True)
class Change:
    """One change for each of n pictures; ``draw`` for one is a film's, whose frames change alike."""

    inverse: Tensor  # (n, 2, 3) of the affine map, in units of half a side
    bend: Tensor  # (n, 2, KNOTS, KNOTS) added to it, x and y in the same units, smooth in between
    gamma: Tensor  # (n, 1, 1), as all below
    gain: Tensor
    offset: Tensor
    noise: Tensor
    soft: Tensor
    rim: Tensor  # (n, 4) where the open field begins and ends: left, right, top, bottom; shares of the side
    dark: Tensor

    @classmethod
    def draw(cls, n: int, rng: torch.Generator, turn_deg: float = 12.0, bend: float = 0.0) -> Change:
        """At random; ``rng`` on the CPU. See ``ImageSettings`` for ``turn_deg`` and ``bend``."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=rng) * 2 - 1

        turn, zoom, stretch = uniform() * math.radians(turn_deg), uniform() * ZOOM, uniform() * STRETCH
        across, down = (zoom + stretch).exp(), (zoom - stretch).exp()
        cos, sin = turn.cos(), turn.sin()
        forward = torch.stack(
            [torch.stack([cos * across, -sin * down], 1), torch.stack([sin * across, cos * down], 1)], 1
        )
        inverse = torch.linalg.inv(forward)
        move = -(inverse @ (uniform(2) * 2 * SHIFT)[:, :, None])
        rim = (uniform(4).abs() * 0.12) * (uniform(1) > 1 - 2 * RIM)
        knots = (2, KNOTS, KNOTS)
        return cls(
            torch.cat([inverse, move], 2),
            uniform(*knots) * 2 * bend if bend else torch.zeros(n, *knots),
            (uniform(1, 1) * GAMMA).exp(),
            (uniform(1, 1) * CONTRAST).exp(),
            uniform(1, 1) * OFFSET,
            (uniform(1, 1) + 1) / 2 * NOISE,
            uniform(1, 1) > 1 - 2 * BLUR,
            rim,
            uniform(1, 1).abs() * 30,
        )

    def grid(self, n: int, side: int) -> Tensor:
        """Where each pixel of n changed pictures comes from, (n, side, side, 2), as ``F.grid_sample`` takes it."""
        out = F.affine_grid(self.inverse.expand(n, -1, -1), [n, 1, side, side], align_corners=False)
        if self.bend.any():
            off = F.interpolate(self.bend, (side, side), mode="bicubic", align_corners=True)
            out = out + off.permute(0, 2, 3, 1)
        return out

    def __call__(self, pictures: Tensor, rng: torch.Generator) -> Tensor:
        """The changed pictures.

        Args:
            pictures: float (n, s, s) in 0..255; of a change for one, any number.
            rng: of the noise, which is each picture's own.
        """
        n, side = len(pictures), pictures.shape[-1]
        on = pictures.device
        grid = self.grid(n, side).to(on)
        out = F.grid_sample(pictures[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        out = torch.where(self.soft.to(on), F.avg_pool2d(out, 3, 1, 1, count_include_pad=False), out)
        out = 255 * (out / 255).clamp(1e-3, 1) ** self.gamma.to(on)
        mean = out.mean((1, 2), keepdim=True)
        out = (out - mean) * self.gain.to(on) + mean + self.offset.to(on)
        out = out + (torch.randn(n, side, side, generator=rng) * self.noise).to(on)
        at = ((torch.arange(side) + 0.5) / side)[None]
        open_x, open_y = ((at > self.rim[:, k : k + 1]) & (at < 1 - self.rim[:, k + 1 : k + 2]) for k in (0, 2))
        field = (open_y[:, :, None] & open_x[:, None, :]).to(on)
        return torch.where(field, out, self.dark.to(on)).clamp(0, 255)
