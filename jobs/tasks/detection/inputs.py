"""What the centre-point detector sees of a frame: two channels at half of a 512-pixel frame's resolution."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

FRAME = 512  # longest side that every frame is brought to; distances below are in these pixels
SIZE = FRAME // 2  # side of the network's input
BACKGROUND, SPREAD = 24.0, 32.0  # Gaussian sigmas of the background and of the local contrast
RIDGES = (2.0, 4.0)  # Gaussian sigmas of the ridge filter, half-widths of small and middle vessels
GAIN = 3.0  # of the ridges, to the spread of the attenuation
CLIP = 4.0


def scale(image: NDArray[np.uint8]) -> float:
    """From the frame's pixels to those of a frame whose longest side is 512."""
    return FRAME / float(max(image.shape))


def inputs(image: NDArray[np.uint8]) -> Tensor:
    """Normalised attenuation and dark-ridge strength.

    Args:
        image: uint8 (rows, cols), vessels dark.

    Returns:
        float16 (2, 256, 256): attenuation less its background over its local spread; strength of dark ridges.
    """
    grey = torch.from_numpy(np.array(image, np.float32))[None, None]
    if max(image.shape) != FRAME:
        size = (round(image.shape[0] * scale(image)), round(image.shape[1] * scale(image)))
        grey = F.interpolate(grey, size, mode="bilinear", antialias=True, align_corners=False)
    if grey.shape[-1] != FRAME or grey.shape[-2] != FRAME:
        grey = F.pad(grey, (0, FRAME - grey.shape[-1], 0, FRAME - grey.shape[-2]), mode="replicate")
    attenuation = -torch.log((grey + 1) / 256)  # Beer-Lambert up to a factor, if display grey is linear in intensity
    flat = attenuation - _smooth(attenuation, BACKGROUND)
    flat = (flat / (_smooth(flat**2, SPREAD).sqrt() + 1e-3)).clamp(-CLIP, CLIP)
    ridge = torch.stack([_ridge(flat, sigma) for sigma in RIDGES]).amax(0)
    both = torch.cat([flat, (GAIN * ridge).clamp(0, CLIP)], 1)
    return F.avg_pool2d(both, FRAME // SIZE)[0].half()


def _smooth(picture: Tensor, sigma: float) -> Tensor:
    """Wide Gaussian mean, taken at a quarter of the resolution, where it costs little and loses nothing visible."""
    small = _blur(F.avg_pool2d(picture, 4), sigma / 4, 0, 0)
    return F.interpolate(small, scale_factor=4.0, mode="bilinear", align_corners=False)


def _ridge(picture: Tensor, sigma: float) -> Tensor:
    """Scale-normalised minus of the smaller Hessian eigenvalue: high along bright lines about sigma in half-width."""
    yy, xx, xy = (_blur(picture, sigma, *order) * sigma**2 for order in ((2, 0), (0, 2), (1, 1)))
    return (((yy - xx) ** 2 + 4 * xy**2).sqrt() - yy - xx) / 2


def _blur(picture: Tensor, sigma: float, dy: int, dx: int) -> Tensor:
    """Gaussian derivative of order (dy, dx), borders repeated."""
    radius = math.ceil(3 * sigma)
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, _kernel(sigma, radius, dy)[None, None, :, None])
    return F.conv2d(rows, _kernel(sigma, radius, dx)[None, None, None, :])


def _kernel(sigma: float, radius: int, order: int) -> Tensor:
    t = torch.arange(-radius, radius + 1, dtype=torch.float32)
    gauss = torch.exp(-(t**2) / (2 * sigma**2))
    gauss = gauss / gauss.sum()
    if order == 0:
        return gauss
    if order == 1:
        return t / sigma**2 * gauss  # conv2d correlates, which turns the sign
    second = (t**2 / sigma**4 - 1 / sigma**2) * gauss
    return second - second.mean()  # a constant has no curvature, also in a cut-off kernel


class InputCache:
    """Inputs by the pixels' hash in a folder, shared by any number of processes."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def stack(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Inputs of several images: float16 (n, 2, 256, 256)."""
        out = torch.empty((len(images), 2, SIZE, SIZE), dtype=torch.float16)
        for row, image in zip(out, images, strict=True):
            row.copy_(self._one(image))
        return out

    def _one(self, image: NDArray[np.uint8]) -> Tensor:
        if self._folder is None:
            return inputs(image)
        digest = hashlib.blake2b(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes(), digest_size=16)
        path = self._folder / f"{digest.hexdigest()}.npy"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            with part.open("wb") as file:
                np.save(file, inputs(image).numpy())
            part.replace(path)
        return torch.from_numpy(np.load(path, allow_pickle=False))
