"""Random views of a batch: flip, turn, scale, shift, contrast, noise, blur; the boxes go along."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TURN, ZOOM, SHIFT = math.radians(20), 0.25, 0.1  # largest rotation, log scale, share of the side
CONTRAST, OFFSET, NOISE, BLUR = 0.3, 0.2, 0.15, 0.3  # largest log gain, offset, noise sd; chance of a 3 x 3 blur


def augment(pictures: Tensor, boxes: list[Tensor], rng: torch.Generator) -> tuple[Tensor, list[Tensor]]:
    """Random affine view and grey-level change of each picture.

    Args:
        pictures: float (n, c, s, s).
        boxes: lists of float (k, 4) tensors in pixels, one or more per picture: box sets of picture i are at i,
            i + n, i + 2n ...
        rng: a CPU generator; all that is random comes from it.

    Returns:
        New pictures, and the boxes round the moved centres: sides scaled, not turned, as squares round a lesion are.
    """
    n, channels, side, _ = pictures.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=rng) * 2 - 1

    turn, zoom, flip = uniform() * TURN, (uniform() * ZOOM).exp(), torch.sign(uniform() + 1e-9)
    shift = uniform(2) * SHIFT * side
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    forward = torch.stack([torch.stack([cos * flip, -sin], 1), torch.stack([sin * flip, cos], 1)], 1)
    inverse = torch.linalg.inv(forward)
    move = -(inverse @ (shift * 2 / side)[:, :, None])
    grid = F.affine_grid(torch.cat([inverse, move], 2), [n, channels, side, side], align_corners=False)
    out = F.grid_sample(pictures, grid.to(pictures.device), padding_mode="border", align_corners=False)
    gain, offset = (uniform(1, 1, 1) * CONTRAST).exp(), uniform(1, 1) * OFFSET
    sigma = (uniform(1, 1) + 1) / 2 * NOISE
    noise = torch.randn(n, side, side, generator=rng) * sigma
    out = out * gain.to(out)
    out[:, 0] += (offset + noise).to(out)  # the attenuation; ridge strength has no offset
    soft = torch.nonzero((uniform() + 1) / 2 < BLUR)[:, 0].to(out.device)
    out[soft] = F.avg_pool2d(out[soft], 3, 1, 1, count_include_pad=False)
    moved = []
    for i, own in enumerate(boxes):
        j = i % n
        centre = (own[:, :2] + own[:, 2:]) / 2 - side / 2
        centre = centre @ forward[j].T + side / 2 + shift[j]
        half = (own[:, 2:] - own[:, :2]) / 2 * zoom[j]
        moved.append(torch.cat([centre - half, centre + half], 1))
    return out, moved
