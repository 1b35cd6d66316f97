"""From absorbance to frames: vessels before a still background, edge enhancement, then the grain of each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.backdrop import Backdrop
from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.angiogram.detector import Collimator

Pixels = NDArray[np.float32]
SPARE = 256  # rows and columns of grain beyond a frame's, among which each frame takes its window


@dataclass(frozen=True)
class Exposure:
    """How frames are taken.

    Attributes:
        sharpen, width: edge enhancement of the vessels: how much of the difference to the mean of so many pixels on
            each side is added.
        settling: how much stronger the grain of the first frame is, as a share; it falls by ``settles`` a frame,
            while the dose is being set.
        first: how much brighter the first frame is, as a share.
        flicker: standard deviation of the brightness between frames, as a share.
    """

    sharpen: float
    width: int
    settling: float
    settles: float
    first: float
    flicker: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Exposure:
        """One run's."""
        sharpen = float(rng.uniform(0.15, 0.8)) if rng.random() < 0.6 else 0.0
        settling = float(rng.uniform(0.15, 0.9)) if rng.random() < 0.7 else 0.0
        first = float(rng.normal(0, 0.05)) if rng.random() < 0.5 else 0.0
        flicker = float(rng.uniform(0, 0.004))
        return cls(sharpen, int(rng.integers(2, 6)), settling, float(rng.uniform(0.25, 0.7)), first, flicker)

    def noise(self, frame: int) -> float:
        """Factor on the grain of a frame."""
        return 1.0 + self.settling * (1.0 - self.settles) ** frame


class Film:
    """Takes the frames of one run.

    Args:
        rng: draws the grain.
        backdrop: what is seen behind the vessels, larger than the frames where the table will move.
        size: rows and columns of a frame.
        exposure: how.
        frames: how many there will be; a single one keeps a real background's own grain.
        collimator: that stands still before a background that moves.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        backdrop: Backdrop,
        size: tuple[int, int],
        exposure: Exposure,
        frames: int,
        collimator: Collimator | None = None,
    ) -> None:
        self.backdrop, self.exposure, self.size = backdrop, exposure, size
        self._rng = rng
        levels = np.arange(256, dtype=np.float32)
        self._strength = backdrop.grain.spread(levels[None, :])[0]
        if frames == 1 and backdrop.own_grain is not None:
            self._texture, self._strength = backdrop.own_grain, np.ones(256, np.float32)
        else:
            spare = SPARE if frames > 1 else 0
            self._texture = backdrop.grain.texture(rng, (size[0] + spare, size[1] + spare))
        self._sharp = np.empty(size, np.float32)
        self.contrast = contrast_of(backdrop)
        top, left = ((n - m) // 2 for n, m in zip(backdrop.still.shape, size, strict=True))
        self.field = backdrop.field[top : top + size[0], left : left + size[1]]
        self._open = np.ones((1, 1), np.float32)
        self._level = 0.0
        if collimator:
            depth = collimator.depth(size)
            self.field, self._level = self.field & (depth > 0), collimator.level
            self._open = np.round(0.04 + 0.96 * (0.5 + 0.5 * np.tanh(depth / collimator.soft)), 4).astype(np.float32)

    def frame(self, number: int, absorbed: Pixels, moved: tuple[int, int]) -> NDArray[np.uint8]:
        """One frame (rows, cols).

        Args:
            number: from 0.
            absorbed: absorbance (rows, cols) of vessels and devices.
            moved: rows and columns by which the table has moved the background.
        """
        e, rng, (rows, cols) = self.exposure, self._rng, self.size
        if e.sharpen:
            _sharpen(absorbed, e.width, np.float32(e.sharpen), self._sharp)
            absorbed = self._sharp
        top, left = ((n - m) // 2 - k for n, m, k in zip(self.backdrop.still.shape, self.size, moved, strict=True))
        spare = self._texture.shape[0] - rows
        window = [int(rng.integers(spare + 1)) for _ in range(2)]
        flip = [bool(rng.integers(2)) for _ in range(2)] if spare else [False, False]
        first = [w + n - 1 if f else w for w, n, f in zip(window, self.size, flip, strict=True)]
        gain = 1.0  # a single frame keeps a real background's very pixels
        if spare:
            gain += e.first if number == 0 else 0.25 * e.first if number == 1 else 0.0
            gain *= 1.0 + e.flicker * min(max(float(rng.standard_normal()), -2.0), 2.0)
        out = np.empty((rows, cols), np.uint8)
        _compose(
            self.backdrop.still[top : top + rows, left : left + cols], absorbed, float(self.backdrop.veil), gain,
            self._texture, first[0], first[1], -1 if flip[0] else 1, -1 if flip[1] else 1,
            self._strength * np.float32(e.noise(number) if spare else 1), self._open, self._level, out,
        )  # fmt: skip
        return out


def contrast_of(backdrop: Backdrop) -> float:
    """Share of the open field's median grey that lies above the veil: what an opaque vessel would take away."""
    median = float(np.median(backdrop.still[::4, ::4][backdrop.field[::4, ::4]]))
    return min(max(1.0 - float(backdrop.veil) / max(median, 1.0), 0.1), 1.0)


@jit
def _sharpen(absorbed: Pixels, half: int, amount: np.float32, out: Pixels) -> None:
    """``out``: the picture and ``amount`` times its difference to the mean of (2 half + 1)^2 pixels."""
    rows, cols = absorbed.shape
    side = 2 * half + 1
    scale = 1.0 / (side * side)
    column = np.zeros(cols)
    for i in range(-half, rows):
        enter, leave = i + half, i - half - 1
        if enter < rows:
            for j in range(cols):
                column[j] += absorbed[enter, j]
        if leave >= 0:
            for j in range(cols):
                column[j] -= absorbed[leave, j]
        if i < 0:
            continue
        run = 0.0
        for j in range(min(half, cols)):
            run += column[j]
        for j in range(cols):
            if j + half < cols:
                run += column[j + half]
            if j - half - 1 >= 0:
                run -= column[j - half - 1]
            value = absorbed[i, j]
            if run > 1e-6:
                value += amount * (value - np.float32(run * scale))
            out[i, j] = value


@jit
def _compose(
    still: Pixels,
    absorbed: Pixels,
    veil: float,
    gain: float,
    texture: Pixels,
    top: int,
    left: int,
    down: int,
    right: int,
    strength: Pixels,
    shutter: Pixels,
    level: float,
    out: NDArray[np.uint8],
) -> None:
    """Grey levels: what is above the veil passes the vessels (Beer-Lambert), then grain, then rounding."""
    rows, cols = out.shape
    for i in range(rows):
        for j in range(cols):
            grey = float(still[i, j])
            if absorbed[i, j] != 0:
                grey -= max(grey - veil, 0.0) * (1.0 - math.exp(-float(absorbed[i, j])))
            grey = grey * gain
            if len(shutter) > 1:
                grey = level + (grey - level) * shutter[i, j]
            grey = min(max(grey, 0.0), 255.0)
            grey += texture[top + down * i, left + right * j] * strength[int(grey)]
            out[i, j] = np.uint8(min(max(grey + 0.5, 0.0), 255.0))
