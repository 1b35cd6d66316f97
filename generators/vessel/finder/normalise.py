"""A frame as the finder sees it: its attenuation against what is about it, in whole numbers.

Display grey levels depend on dose, window and patient; what is left after the local level and the local spread are
taken out does not. Every step is exact or one division, so that all CPUs see the same numbers (promise P1).
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.vessel.profile import attenuation

Floats = NDArray[np.float32]
CELL = 4  # px: level and spread are smooth, and found on block means
LEVEL, SPREAD = 5.0, 10.0  # cells, sd of the neighbourhoods
LEAST = 0.02  # attenuation, spread below which nothing but noise is there
STEPS = 16  # whole numbers to one spread
MOST = 96  # of them: six spreads


def normalise(image: NDArray[np.uint8]) -> NDArray[np.int8]:
    """A frame (rows, cols), both multiples of ``CELL``, as int8: 16 to a local spread, vessels positive."""
    dark = attenuation(image)
    dark -= _wide(_means(dark), LEVEL)
    spread = _wide(_means(dark * dark), SPREAD)
    dark *= STEPS / np.sqrt(spread + np.float32(LEAST * LEAST))
    out: NDArray[np.int8] = np.clip(np.rint(dark), -MOST, MOST).astype(np.int8)
    return out


def _means(field: Floats) -> Floats:
    rows, cols = (n // CELL for n in field.shape)
    sums = np.zeros((rows, cols), np.float32)
    for i in range(CELL):  # in this order on every CPU
        for j in range(CELL):
            sums += field[i::CELL, j::CELL]
    means: Floats = sums * np.float32(1 / (CELL * CELL))
    return means


def _wide(cells: Floats, sigma: float) -> Floats:
    """Smoothed, and drawn out to pixels by straight lines between the cells' middles."""
    smooth: Floats = scipy.ndimage.gaussian_filter(cells, sigma, mode="nearest", truncate=3.0)
    for axis in (0, 1):
        smooth = _stretched(smooth, axis)
    return smooth


def _stretched(cells: Floats, axis: int) -> Floats:
    after = np.moveaxis(cells, axis, 0)
    before = np.concatenate([after[:1], after])
    after = np.concatenate([after, after[-1:]])
    parts = [before + np.float32((k + 0.5) / CELL) * (after - before) for k in range(CELL)]
    fine = np.stack(parts, 1).reshape(-1, *after.shape[1:])
    out: Floats = np.moveaxis(fine[CELL // 2 : -(CELL // 2)], 0, axis)
    return out
