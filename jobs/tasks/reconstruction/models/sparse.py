"""The sparse network: a U-Net on the hull's cells alone, whose rays meet in the planes of the views.

Of a hull's 216,000 cells 2 to 5 % are left; a dense network spends its time on the rest. Convolutions are submanifold
ones in plain torch: gather the 27 neighbours of each cell, one product.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Level:
    """Cells of one resolution (n,): their 27 neighbours (n, 27), n where none is; parents on the next, and which child.

    ``parent`` and ``child`` (n,) are of the way down; the coarsest level has none.
    """

    neighbours: Tensor
    parent: Tensor
    child: Tensor


@dataclass(frozen=True)
class Sites:
    """The levels of one hull, or of several beside each other, and its tokens' rays (views, n) in planes."""

    levels: tuple[Level, ...]
    rays: Tensor
    planes: int  # of all views: hulls of a batch have their own
    edge: int  # pixels of a plane's

    def to(self, device: torch.device) -> Sites:
        """The same on a device."""
        if device.type == "cpu":
            return self
        levels = [Level(*(part.to(device) for part in (o.neighbours, o.parent, o.child))) for o in self.levels]
        return Sites(tuple(levels), self.rays.to(device), self.planes, self.edge)


def sites(cells: Tensor, rays: Tensor, plane: int, size: int, depth: int) -> Sites:
    """Of one hull: cells (n, 3) int64 of a grid with ``size`` an edge, rays (views, n) in planes with ``plane``."""
    levels = []
    edge = size + 2
    for step in range(depth):
        flat = ((cells[:, 0] + 1) * edge + cells[:, 1] + 1) * edge + cells[:, 2] + 1
        table = torch.full((edge**3,), len(cells), dtype=torch.int64)
        table[flat] = torch.arange(len(cells))
        offsets = torch.tensor([(a * edge + b) * edge + c for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)])
        neighbours = table[flat[:, None] + offsets]
        if step == depth - 1:
            none = torch.zeros(0, dtype=torch.int64)
            levels.append(Level(neighbours, none, none))
            break
        half = cells // 2
        coarse, parent = torch.unique(half, dim=0, return_inverse=True)
        odd = cells - 2 * half
        levels.append(Level(neighbours, parent, (odd[:, 0] * 2 + odd[:, 1]) * 2 + odd[:, 2]))
        cells, edge = coarse, edge // 2 + 2
    return Sites(tuple(levels), rays + torch.arange(len(rays))[:, None] * plane**2, len(rays), plane)


def together(many: Sequence[Sites]) -> Sites:
    """Several hulls as one, none a neighbour of another's cells."""
    if len(many) == 1:
        return many[0]
    levels = []
    for depth in range(len(many[0].levels)):
        total = sum(len(one.levels[depth].neighbours) for one in many)
        below = [0]
        for one in many:
            below.append(below[-1] + len(one.levels[depth].neighbours))
        above = [0]
        for one in many:
            above.append(above[-1] + (len(one.levels[depth + 1].neighbours) if depth + 1 < len(one.levels) else 0))
        neighbours = [
            torch.where(n == len(n), total, n + at)
            for n, at in zip((o.levels[depth].neighbours for o in many), below, strict=False)
        ]
        levels.append(
            Level(
                torch.cat(neighbours),
                torch.cat([one.levels[depth].parent + at for one, at in zip(many, above, strict=False)]),
                torch.cat([one.levels[depth].child for one in many]),
            )
        )
    views, plane = many[0].planes, many[0].edge ** 2
    rays = []
    for n, one in enumerate(many):
        own = one.rays - torch.arange(views)[:, None] * plane
        rays.append(own + ((torch.arange(views) * len(many) + n) * plane)[:, None])
    return Sites(tuple(levels), torch.cat(rays, 1), views * len(many), many[0].edge)


class _Convolve(torch.autograd.Function):  # type: ignore[misc]
    """Weights (out, 27 * in) times each cell's 27 neighbours side by side; the way back is one such product too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, neighbours: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        wide = _gathered(x, neighbours)
        ctx.save_for_backward(wide, neighbours, weight)
        return torch.addmm(bias, wide, weight.t())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        wide, neighbours, weight = ctx.saved_tensors
        out, c = len(weight), wide.shape[1] // 27
        # Cell i takes j as neighbour d where j takes i as neighbour 26 - d: what i gives comes back from there.
        mirrored = weight.view(out, 27, c).flip(1).permute(1, 0, 2).reshape(27 * out, c)
        return _gathered(grad, neighbours) @ mirrored, None, grad.t() @ wide, grad.sum(0)


def _gathered(x: Tensor, neighbours: Tensor) -> Tensor:
    """(n, 27 * c), 0 where there is no neighbour."""
    padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
    return padded.index_select(0, neighbours.reshape(-1)).view(len(x), -1)


class Conv(nn.Module):  # type: ignore[misc]
    """Submanifold convolution of 3 x 3 x 3."""

    def __init__(self, wide: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(27 * wide, out)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        made: Tensor = _Convolve.apply(x, neighbours, self.linear.weight, self.linear.bias)
        return made


def _silent(layer: nn.Linear) -> None:
    """What is added to a shortcut is 0 at first, so that a network begins shallow: a small one learns sooner."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


class Block(nn.Module):  # type: ignore[misc]
    """Two convolutions beside a shortcut."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.first, self.second = Conv(wide, wide), Conv(wide, wide)
        self.norms = nn.ModuleList([nn.LayerNorm(wide), nn.LayerNorm(wide)])
        _silent(self.second.linear)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        y = self.first(functional.gelu(self.norms[0](x)), neighbours)
        return x + self.second(functional.gelu(self.norms[1](y)), neighbours)


class Planes(nn.Module):  # type: ignore[misc]
    """Mean and maximum of the tokens along each ray, convolved in each view's plane, and given back to them."""

    def __init__(self, wide: int, inner: int = 32) -> None:
        super().__init__()
        self.norm, self.into, self.back = nn.LayerNorm(wide), nn.Linear(wide, inner), nn.Linear(inner, wide)
        self.convs = nn.Sequential(
            nn.Conv2d(2 * inner + 1, inner, 3, padding=1), nn.GELU(), nn.Conv2d(inner, inner, 3, padding=1)
        )
        _silent(self.back)

    def forward(self, x: Tensor, where: Sites) -> Tensor:
        y = self.into(self.norm(x))
        views = len(where.rays)
        size = where.planes * where.edge**2
        index = where.rays.reshape(-1)
        every = y.repeat(views, 1)
        total = y.new_zeros(size, y.shape[1]).index_add_(0, index, every)
        count = y.new_zeros(size).index_add_(0, index, y.new_ones(len(index)))
        most = y.new_full((size, y.shape[1]), -1e4)
        most = most.scatter_reduce(0, index[:, None].expand(-1, y.shape[1]), every, "amax")
        lit = (count > 0)[:, None]
        plane = torch.cat([total / count.clamp(min=1)[:, None], torch.where(lit, most, 0.0), lit.to(y.dtype)], 1)
        image = self.convs(plane.view(where.planes, where.edge, where.edge, -1).permute(0, 3, 1, 2))
        flat = image.permute(0, 2, 3, 1).reshape(size, -1)
        gathered = flat.index_select(0, index).view(views, len(x), -1).mean(0)
        made: Tensor = x + self.back(functional.gelu(gathered))
        return made


class SparseUNet(nn.Module):  # type: ignore[misc]
    """One logit a token.

    Args:
        wide: features of a token.
        channels: of the levels, the finest first.
    """

    def __init__(self, wide: int, channels: Sequence[int] = (32, 48, 64)) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.into = nn.Linear(wide, channels[0])
        self.down = nn.ModuleList([Block(c) for c in channels])
        self.up = nn.ModuleList([Block(c) for c in channels[:-1]])
        self.step = nn.ModuleList([nn.Linear(8 * a, b) for a, b in itertools.pairwise(channels)])
        self.back = nn.ModuleList([nn.Linear(b, 8 * a) for a, b in itertools.pairwise(channels)])
        self.join = nn.ModuleList([nn.Linear(2 * a, a) for a in channels[:-1]])
        self.planes = nn.ModuleList([Planes(channels[0]) for _ in range(3)])
        self.norm, self.out = nn.LayerNorm(channels[0]), nn.Linear(channels[0], 1)

    def forward(self, x: Tensor, where: Sites) -> Tensor:
        x = self.planes[0](self.into(x), where)
        kept = []
        for n, level in enumerate(where.levels):
            x = self.down[n](x, level.neighbours)
            if n == 0:
                x = self.planes[1](x, where)
            if n + 1 < len(where.levels):
                kept.append(x)
                c, coarse = x.shape[1], len(where.levels[n + 1].neighbours)
                slots = x.new_zeros(coarse * 8, c).index_copy(0, level.parent * 8 + level.child, x)
                x = self.step[n](slots.view(coarse, 8 * c))
        for n in reversed(range(len(kept))):
            level = where.levels[n]
            spread = self.back[n](x)
            spread = spread.view(len(x) * 8, -1).index_select(0, level.parent * 8 + level.child)
            x = self.up[n](self.join[n](torch.cat([kept[n], spread], 1)), level.neighbours)
        return self.out(functional.gelu(self.norm(self.planes[2](x, where)))).squeeze(1)
