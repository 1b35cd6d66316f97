"""The grain of a frame: how strong it is at each grey level, and how a pixel's goes with its neighbours'.

A detector's grain is drawn anew for each frame and is the last thing that happens to it: what warps or blurs it
afterwards shows (a small network told films with a resampled background apart at once).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

Pixels = NDArray[np.float32]
LEVEL = 16  # grey levels between the knots of a grain's strength
KNOTS = 255 // LEVEL + 2
REACH = 3  # pixels on each side that a pixel's grain may go with
LEAST = 400  # pixels that tell the strength at a level
_WHITE = 256.0**2 / math.sqrt(12)  # std of uniform 16-bit numbers, which are bell-shaped once they are blurred


@dataclass(frozen=True)
class Grain:
    """``strength`` float32 (17,): standard deviation at grey 0, 16, ... 256. ``down``, ``across`` float32 (7,): taps
    that make white noise of a pixel's grain, along columns and rows; their squares add to 1.
    """

    strength: Pixels
    down: Pixels
    across: Pixels

    @classmethod
    def of(cls, strength: NDArray[np.float64], down: NDArray[np.float64], across: NDArray[np.float64]) -> Grain:
        """From what was measured.

        Args:
            strength: (17,) standard deviations, see above.
            down, across: (4,) correlations at a distance of 0 to 3 pixels, along columns and rows; the first is 1.
        """
        return cls(np.round(strength, 3).astype(np.float32), _taps(down), _taps(across))

    @classmethod
    def measured(cls, grain: Pixels, still: Pixels, clear: NDArray[np.bool_]) -> Grain:
        """That of a real frame.

        Args:
            grain: (rows, cols) what it is above and below ``still``, in grey levels.
            clear: (rows, cols) the pixels to go by.
        """
        knots, values = np.rint(still[clear] / LEVEL).astype(np.int64), grain[clear].astype(np.float64)
        usual = 3 * 1.4826 * float(np.median(np.abs(values))) + 1e-6  # an edge is no grain
        values = np.clip(values, -usual, usual)
        counts = np.bincount(knots, minlength=KNOTS)
        squares = np.bincount(knots, values * values, minlength=KNOTS)
        known = counts >= LEAST
        strength = np.sqrt(squares / np.maximum(counts, 1))
        if not known.any():
            known[:], strength[:] = True, math.sqrt(float((values * values).mean())) if len(values) else 0.0
        strength = np.interp(np.arange(KNOTS), np.flatnonzero(known), strength[known])
        even = np.where(clear, np.clip(grain, -usual, usual), 0).astype(np.float64)
        lags = [[_together(even, clear, lag, axis) for lag in range(REACH + 1)] for axis in (0, 1)]
        down, across = (np.array(found) / max(found[0], 1e-9) for found in lags)
        return cls.of(strength, down, across)

    def spread(self, still: Pixels) -> Pixels:
        """Standard deviation (rows, cols) of the grain that a still picture has, of grey levels 0 ... 255."""
        out = np.empty(still.shape, np.float32)
        _looked_up(still, self.strength, out)
        return out

    def texture(self, rng: np.random.Generator, shape: tuple[int, int]) -> Pixels:
        """Grain (rows, cols) of mean 0 and standard deviation 1."""
        rows, cols = shape[0] + 2 * REACH, shape[1] + 2 * REACH
        white = np.frombuffer(rng.bytes(2 * rows * cols), "<u2").reshape(rows, cols)
        out = np.empty(shape, np.float32)
        _blurred(white, self.down / np.float32(_WHITE), self.across, out)
        return out

    def draw(self, rng: np.random.Generator, still: Pixels) -> Pixels:
        """Grain (rows, cols) in grey levels, to be added to a still picture of grey levels 0 ... 255."""
        return self.texture(rng, (still.shape[0], still.shape[1])) * self.spread(still)


def _together(values: NDArray[np.float64], clear: NDArray[np.bool_], lag: int, axis: int) -> float:
    """Mean product of pixels at a distance along an axis, of those that are clear."""
    n = values.shape[axis]
    one, other = np.s_[: n - lag], np.s_[lag:]
    a, b = (np.moveaxis(values, axis, 0)[part] for part in (one, other))
    both = np.moveaxis(clear, axis, 0)[one] & np.moveaxis(clear, axis, 0)[other]
    return float((a * b).sum() / max(int(both.sum()), 1))  # what is not clear is 0


def _taps(correlations: NDArray[np.float64]) -> Pixels:
    """A symmetric kernel whose noise has these correlations: the root of their spectrum, cut to ``REACH``."""
    angle = np.linspace(0, math.pi, 65)
    lags = np.arange(1, len(correlations))
    power = 1 + 2 * (np.cos(np.outer(angle, lags)) * correlations[1:]).sum(1)
    root = np.sqrt(np.maximum(power, 0))
    root[[0, -1]] *= 0.5  # the trapezium's ends
    half = (np.cos(np.outer(np.arange(REACH + 1), angle)) * root).sum(1)
    taps = np.concatenate([half[:0:-1], half])
    return np.round(taps / math.sqrt(float((taps * taps).sum())), 4).astype(np.float32)  # as every CPU has them


@jit
def _blurred(white: NDArray[np.uint16], down: Pixels, across: Pixels, out: Pixels) -> None:
    rows, cols = out.shape
    line = np.empty(white.shape[1], np.float32)
    for r in range(rows):
        for c in range(len(line)):
            line[c] = 0
        for k in range(len(down)):
            tap = down[k]
            for c in range(len(line)):
                line[c] += tap * (np.float32(white[r + k, c]) - np.float32(32767.5))
        for c in range(cols):
            out[r, c] = 0
        for k in range(len(across)):
            tap = across[k]
            for c in range(cols):
                out[r, c] += tap * line[c + k]


@jit
def _looked_up(still: Pixels, strength: Pixels, out: Pixels) -> None:
    for r in range(still.shape[0]):
        for c in range(still.shape[1]):
            at = min(max(still[r, c], np.float32(0)), np.float32(255)) * np.float32(1 / 16)
            low = int(at)
            share = at - np.float32(low)
            out[r, c] = strength[low] + share * (strength[low + 1] - strength[low])
