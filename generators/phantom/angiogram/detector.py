"""From absorbance to display: window, blur, noise, edge enhancement, collimator.

Targets are the statistics of 100 ARCADE frames: grey percentiles 5/50/95 of 83/119/184, a veil of about .4 of the level
under everything (scatter and glare: contrast grows with brightness faster than proportionally), noise of 3.5 grey
levels with a correlation of .57 between neighbours, hardly depending on the level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PSF_PX = 0.9
NOISE_BLUR_PX = 0.72  # gives the measured correlation between neighbours
DARK, BRIGHT = 0.05, 0.95  # quantiles of the background that are set


@dataclass(frozen=True)
class Display:
    """Drawn once a frame: grey levels of the background's quantiles, veil, noise, edge enhancement, collimator."""

    median: float
    bright: float
    veil: float
    noise: float
    sharpen: float
    collimator: Collimator | None

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> Display:
        """One frame's display; spreads as measured between frames."""
        median = float(np.clip(rng.normal(119, 14), 85, 155))
        bright = median + float(np.clip(rng.normal(61, 17), 25, 95))
        veil = float(rng.uniform(0.25, 0.5)) * median
        noise = float(np.clip(rng.normal(3.6, 0.75), 2.2, 5.0))
        sharpen = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.5 else 0.0
        collimator = Collimator.draw(rng, size) if rng.random() < 0.68 else None
        return cls(median, bright, veil, noise, sharpen, collimator)

    def scale(self, background: Floats) -> tuple[Floats, float]:
        """The background shifted and stretched so that its quantiles are displayed as drawn.

        Returns:
            The absorbance to show, and the factor by which displayed contrast is smaller than absorbance.
        """
        low, middle = (float(q) for q in np.quantile(background[::4, ::4], [1 - BRIGHT, 0.5]))
        stretch = math.log((self.bright - self.veil) / (self.median - self.veil)) / max(middle - low, 1e-6)
        return (background - middle) * stretch, 1 - self.veil / self.median

    def show(self, rng: np.random.Generator, absorbance: Floats) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The picture of a scaled background with vessels in it, and what of it the collimator leaves open."""
        grey = self.veil + (self.median - self.veil) * np.exp(-absorbance)
        grey = scipy.ndimage.gaussian_filter(grey, PSF_PX, truncate=4)
        if self.sharpen:
            grey += self.sharpen * (grey - scipy.ndimage.gaussian_filter(grey, 2.5, truncate=3))
        noise = scipy.ndimage.gaussian_filter(rng.standard_normal(grey.shape), NOISE_BLUR_PX, mode="wrap", truncate=4)
        grey += noise * (self.noise / math.sqrt(_kept_variance(NOISE_BLUR_PX)))
        field = np.ones(grey.shape, np.bool_)
        if self.collimator:
            depth = self.collimator.depth((grey.shape[0], grey.shape[1]))
            field, grey = depth > 0, self.collimator.cover(grey, depth)
        return np.clip(np.rint(grey), 0, 255).astype(np.uint8), field


@dataclass(frozen=True)
class Collimator:
    """A dark border: ``low`` and ``high`` (row, col) of the open field; corner radius and half shadow in pixels."""

    low: tuple[float, float]
    high: tuple[float, float]
    corner: float
    soft: float
    tilt_deg: float
    level: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> Collimator:
        """Borders on some sides, of 1 to 8 % of the picture; rounded corners in every fourth."""
        margins = rng.uniform(0.008, 0.05, 4) * (rng.random(4) < 0.8) * size
        if rng.random() < 0.2:
            margins[int(rng.integers(4))] += float(rng.uniform(0.02, 0.12)) * size
        margins[margins == 0] = -20.0  # outside the picture
        corner = float(rng.uniform(0.03, 0.12)) * size if rng.random() < 0.28 else 2.0
        return cls(
            (float(margins[0]), float(margins[1])),
            (size - float(margins[2]), size - float(margins[3])),
            corner,
            float(rng.uniform(0.8, 6)),
            float(rng.normal(0, 0.6)),
            float(rng.uniform(4, 26)),
        )

    def depth(self, shape: tuple[int, int]) -> Floats:
        """Distance (rows, cols) in pixels from the border of the field, positive inside."""
        row, col = np.arange(shape[0], dtype=np.float64), np.arange(shape[1], dtype=np.float64)
        a = math.radians(self.tilt_deg)
        y, x = row[:, None] - shape[0] / 2, col[None, :] - shape[1] / 2
        y, x = y * math.cos(a) - x * math.sin(a), y * math.sin(a) + x * math.cos(a)
        middle = [(lo + hi) / 2 for lo, hi in zip(self.low, self.high, strict=True)]
        half = [(hi - lo) / 2 - self.corner for lo, hi in zip(self.low, self.high, strict=True)]
        qy = np.abs(y + shape[0] / 2 - middle[0]) - half[0]
        qx = np.abs(x + shape[1] / 2 - middle[1]) - half[1]
        outside = np.sqrt(np.maximum(qy, 0) ** 2 + np.maximum(qx, 0) ** 2) + np.minimum(np.maximum(qy, qx), 0)
        inside: Floats = self.corner - outside
        return inside

    def cover(self, grey: Floats, depth: Floats) -> Floats:
        """The picture behind the collimator, ``depth`` being its own."""
        open_share = 0.5 + 0.5 * np.tanh(depth / self.soft)
        out: Floats = self.level + (grey - self.level) * (0.04 + 0.96 * open_share)
        return out


def _kept_variance(sigma: float) -> float:
    """Variance that blurred white noise of variance 1 keeps."""
    x = np.arange(-3, 4)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    kernel /= kernel.sum()
    return float((kernel * kernel).sum() ** 2)
