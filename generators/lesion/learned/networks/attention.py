"""Attention of the video-style U-Net: along depth with rotary and relative positions, and over slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

_BUCKETS = 32
_FARTHEST = 32


@dataclass(frozen=True)
class Places:
    """Where n slices are: ``bias`` (heads, n, n) added to their attention, rotary ``angle`` (n, head_dim / 2)."""

    bias: Tensor
    angle: Tensor


class Positions(nn.Module):  # type: ignore[misc]
    """Rotary angles (Su et al. 2021) and a learned bias for each head and distance, far ones in buckets (T5)."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(_BUCKETS, heads)
        speed = 10_000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        self.speed = nn.Parameter(speed, requires_grad=False)  # counted in the published number, never fitted

    def forward(self, n: int) -> Places:
        at = torch.arange(n, device=self.speed.device)
        back = at[:, None] - at[None, :]
        half = _BUCKETS // 2
        exact = half // 2
        far = back.abs()
        rough = exact + (far.clamp(min=1).float() / exact).log() / math.log(_FARTHEST / exact) * (half - exact)
        bucket = torch.where(far < exact, far, rough.long().clamp(max=half - 1)) + half * (back < 0)
        return Places(self.table(bucket).movedim(-1, 0), at[:, None] * self.speed)


def rotated(x: Tensor, angle: Tensor) -> Tensor:
    """Pairs of numbers of (..., n, d) turned by angles (n, d / 2)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = even * angle.cos() - odd * angle.sin(), odd * angle.cos() + even * angle.sin()
    return torch.stack(turned, -1).flatten(-2).to(x.dtype)


class ChannelNorm(nn.Module):  # type: ignore[misc]
    """Normalises over channels, with a learned factor and no offset."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, dim, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        return (x - mean) * (var + 1e-5).rsqrt() * self.gamma


class Attention(nn.Module):  # type: ignore[misc]
    """x + attention(norm(x)) of (n, dim, f, h, w): along f for each pixel, or over (h, w) for each slice."""

    def __init__(self, dim: int, heads: int, head_dim: int, depth: bool) -> None:
        super().__init__()
        self.heads, self.depth = heads, depth
        self.norm = ChannelNorm(dim)
        self.inward = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.outward = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x: Tensor, places: Places | None = None) -> Tensor:
        n, c, f, h, w = x.shape
        rows = self.norm(x).permute((0, 3, 4, 2, 1) if self.depth else (0, 2, 3, 4, 1))
        rows = rows.reshape(-1, f if self.depth else h * w, c)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.inward(rows).chunk(3, -1))
        bias = None
        if places is not None:
            q, k, bias = rotated(q, places.angle), rotated(k, places.angle), places.bias.to(q.dtype)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = self.outward(mixed.transpose(1, 2).flatten(-2))
        if self.depth:
            return x + out.view(n, h, w, f, c).permute(0, 4, 3, 1, 2)
        return x + out.view(n, f, h, w, c).permute(0, 4, 1, 2, 3)


class LinearAttention(nn.Module):  # type: ignore[misc]
    """x + linear attention (Katharopoulos et al. 2020) over the pixels of each slice."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(dim)
        self.inward = nn.Conv2d(dim, 3 * heads * head_dim, 1, bias=False)
        self.outward = nn.Conv2d(heads * head_dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, f, h, w = x.shape
        slices = self.norm(x).transpose(1, 2).reshape(n * f, c, h, w)
        q, k, v = (part.flatten(2).unflatten(1, (self.heads, -1)) for part in self.inward(slices).chunk(3, 1))
        q, k = q.softmax(-2) * q.shape[-2] ** -0.5, k.softmax(-1)
        context = k @ v.transpose(-1, -2)
        mixed = (context.transpose(-1, -2) @ q).flatten(1, 2).view(n * f, -1, h, w)
        return x + self.outward(mixed).view(n, f, c, h, w).transpose(1, 2)
