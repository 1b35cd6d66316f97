"""Compositing: tissue into a background through a blurred mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TRUNCATE = 4.0  # sigmas: beyond, the weight is exactly zero
HU_RANGE = (-1024, 3071)


def reach(sigma_mm: float, spacing: tuple[float, float, float]) -> NDArray[np.int64]:
    """Voxels along each axis that a blurred mask grows by."""
    return np.array([int(TRUNCATE * sigma_mm / s + 0.5) for s in spacing], np.int64)


def weights(mask: NDArray[np.bool_], sigma_mm: float, spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """The mask blurred: float32 0 ... 1, exactly zero beyond ``reach``; the mask itself where sigma is 0.

    Grids that cut the blur off lose none of it: what is beyond them counts as empty.
    """
    sharp = mask.astype(np.float32)
    if sigma_mm <= 0:
        return sharp
    sigma = [sigma_mm / s for s in spacing]
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(sharp, sigma, mode="constant", truncate=TRUNCATE)
    return blurred


def composite(
    background: NDArray[np.int16], tissue: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.int16]:
    """background + weight (tissue - background), rounded; where the weight is zero, the background bit by bit."""
    out, on = background.copy(), weight > 0
    mixed = background[on] + weight[on] * (tissue[on] - background[on])
    out[on] = np.clip(np.rint(mixed), *HU_RANGE).astype(np.int16)
    return out
