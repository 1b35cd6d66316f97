"""What networks see of a frame. The first step is done once a frame, the second is the network's own first layer, so
that training and predicting cannot differ."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

BACKGROUND, SPREAD = 0.05, 0.07  # sigmas of the background and of the local contrast, as shares of the side
RIDGES = (1.0, 2.0)  # sigmas of the ridge filter in pixels: at 128 a vessel is one to four wide
FLAT, RIDGE = 8.0, 2.0  # gains of the attenuation and of the ridges, to a spread near 1
CLIP = 4.0
MEAN, SD = 0.449, 0.226  # of ImageNet's grey, which weights of torchvision expect


def shrunk(frame: NDArray[np.uint8], side: int) -> Tensor:
    """A frame at the size a network sees.

    Args:
        frame: uint8 (rows, cols).
        side: of the result; the longer side is brought to it, the shorter one repeats its border.

    Returns:
        uint8 (side, side).
    """
    grey = torch.from_numpy(np.array(frame))[None, None]
    rows, cols = (max(1, round(n * side / max(frame.shape))) for n in frame.shape)
    small = F.interpolate(grey, (rows, cols), mode="bilinear", antialias=True, align_corners=False).float()
    return F.pad(small, (0, side - cols, 0, side - rows), mode="replicate")[0, 0].round().to(torch.uint8)


def stack(frames: Iterable[NDArray[np.uint8]], side: int) -> Tensor:
    """Several frames, see ``shrunk``: uint8 (n, side, side)."""
    return torch.stack([shrunk(frame, side) for frame in frames])


class Contrast(nn.Module):  # type: ignore[misc]
    """What vessels do to the grey: attenuation less its background, the same over its local spread, dark ridges."""

    channels = 3

    def forward(self, grey: Tensor) -> Tensor:
        """Float (n, s, s) in 0..255 -> (n, 3, s, s)."""
        flat = flattened(grey)
        even = flat / (_blur(flat**2, SPREAD * grey.shape[-1]).sqrt() + 0.02)
        return torch.cat([FLAT * flat, even, RIDGE * FLAT * ridges(flat)], 1).clamp(-CLIP, CLIP)


class Grey(nn.Module):  # type: ignore[misc]
    """Three equal channels, scaled as weights learnt on ImageNet expect."""

    channels = 3

    def forward(self, grey: Tensor) -> Tensor:
        """Float (n, s, s) in 0..255 -> (n, 3, s, s)."""
        return ((grey / 255 - MEAN) / SD)[:, None].expand(-1, 3, -1, -1)


def flattened(grey: Tensor) -> Tensor:
    """Attenuation less its background: float (n, s, s) in 0..255 -> (n, 1, s, s)."""
    attenuation = -torch.log((grey.clamp(0, 255)[:, None] + 8) / 264)  # 8: the noise of black is no signal
    return attenuation - _blur(attenuation, BACKGROUND * grey.shape[-1])


def ridges(flat: Tensor) -> Tensor:
    """Strength of dark vessels in (n, 1, s, s), the strongest of some widths, as ``flattened`` gives it."""
    return torch.stack([_ridge(flat, sigma) for sigma in RIDGES]).amax(0)


def _ridge(picture: Tensor, sigma: float) -> Tensor:
    """Scale-normalised minus of the smaller Hessian eigenvalue, 0 where it is negative: high along bright lines."""
    smooth = _blur(picture, sigma)
    padded = F.pad(smooth, (1, 1, 1, 1), mode="replicate")
    middle = 2 * smooth
    yy = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] - middle
    xx = padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2] - middle
    xy = (padded[..., 2:, 2:] + padded[..., :-2, :-2] - padded[..., 2:, :-2] - padded[..., :-2, 2:]) / 4
    return (sigma**2 * (((yy - xx) ** 2 + 4 * xy**2).sqrt() - yy - xx) / 2).clamp(min=0)


def _blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian mean of (n, 1, s, s), borders repeated."""
    radius = min(math.ceil(3 * sigma), picture.shape[-1] - 1)
    t = torch.arange(-radius, radius + 1, dtype=picture.dtype, device=picture.device)
    kernel = torch.exp(-(t**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None, :])
