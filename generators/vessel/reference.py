"""The diameter a vessel would have without its lesion: the three ways of DICOM PS3.17 Annex T.4."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

Rows = NDArray[np.float64]
Reference = Literal["interpolated", "computer-defined", "mean-local"]

FLANK_PX = 30  # rows on either side of a lesion that show the healthy vessel
FEWEST = 5  # rows a flank must have to count
KERNEL = 25.0  # rows, sd of the neighbourhood of the computer-defined reference


def interpolated(diameter: Rows, healthy: NDArray[np.bool_], start: int, end: int) -> Rows:
    """T.4.2: the line through the healthy vessel on both sides of rows ``start`` ... ``end``, at every row, in px.

    A robust line (Huber's weights, by repeated least squares) through the ``healthy`` rows of both flanks of FLANK_PX.
    With only one flank its median, for a line through one side says nothing of the other. NaN with none.
    """
    n = len(diameter)
    rows = np.arange(n)
    usable = healthy & np.isfinite(diameter)
    before = np.flatnonzero(usable & (rows < start) & (rows >= start - FLANK_PX))
    after = np.flatnonzero(usable & (rows > end) & (rows <= end + FLANK_PX))
    sides = [side for side in (before, after) if len(side) >= FEWEST]
    if not sides:
        return np.full(n, np.nan)
    at = np.concatenate(sides)
    if len(sides) == 1:
        return np.full(n, float(np.median(diameter[at])))
    level, slope = _robust_line(at - at.mean(), diameter[at])
    reference: Rows = level + slope * (rows - at.mean())
    return reference


@jit
def _robust_line(x: Rows, y: Rows) -> tuple[float, float]:
    """Level at x = 0 and slope of the line through a few dozen points, by Huber's weights."""
    n = x.shape[0]
    weight, ordered = np.ones(n), np.empty(n)
    level, slope = 0.0, 0.0
    for _ in range(5):
        total, middle, mean, across, along = 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            total += weight[i]
            middle += weight[i] * x[i]
            mean += weight[i] * y[i]
        middle /= total
        for i in range(n):
            across += weight[i] * (x[i] - middle) * y[i]
            along += weight[i] * (x[i] - middle) * x[i]
        slope = across / along
        level = mean / total - slope * middle
        for i in range(n):  # sorted as they come
            off = abs(y[i] - level - slope * x[i])
            j = i
            while j > 0 and ordered[j - 1] > off:
                ordered[j] = ordered[j - 1]
                j -= 1
            ordered[j] = off
        median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
        for i in range(n):
            off = abs(y[i] - level - slope * x[i])
            weight[i] = 1 / max(off / (1.345 * 1.4826 * median + 1e-9), 1.0)
    return level, slope


def computer_defined(diameter: Rows, healthy: NDArray[np.bool_]) -> Rows:
    """T.4.1: the healthy diameter reconstructed under the lesions from the rows outside of them, at every row, in px.

    Kernel regression that forgets narrow rows (after Shahzad et al., Int J Cardiovasc Imaging 2013): a row that lies a
    tenth below the curve loses its weight, so lesions need not be known beforehand. ``healthy`` False leaves a row out.
    """
    usable = healthy & np.isfinite(diameter)
    if not usable.any():
        return np.full(len(diameter), np.nan)
    value = np.where(usable, diameter, 0.0)
    weight = usable.astype(np.float64)
    curve = _local_lines(value, weight)
    for _ in range(5):
        below = np.clip((1 - value / np.maximum(curve, 1e-9)) / 0.1, 0, 1)
        weight = np.where(usable, np.maximum((1 - below) ** 2, 1e-3), 0.0)
        curve = _local_lines(value, weight)
    return curve


@jit
def _local_lines(value: Rows, weight: Rows) -> Rows:
    """Weighted straight line about each row, read at the row; Gaussian weights of KERNEL rows times ``weight``."""
    n = len(value)
    reach = int(3 * KERNEL)
    kernel = np.exp(-0.5 * (np.arange(reach + 1) / KERNEL) ** 2)
    out = np.empty(n)
    for i in range(n):
        total, first, second, mean, moment = 1e-12, 0.0, 0.0, 0.0, 0.0
        for j in range(max(0, i - reach), min(n, i + reach + 1)):
            x = j - i
            w = weight[j] * kernel[abs(x)]
            total += w
            first += w * x
            second += w * x * x
            mean += w * value[j]
            moment += w * x * value[j]
        spread = second * total - first * first
        out[i] = (second * mean - first * moment) / spread if spread > 1e-3 * total * total else mean / total
    return out


def mean_local(diameter: Rows, markers: tuple[int, ...]) -> float:
    """T.4.3: the mean diameter at markers put where the vessel is healthy; for lesions at a bifurcation, in px."""
    return float(np.mean(diameter[list(markers)]))


def reference_curve(diameter: Rows, valid: NDArray[np.bool_], gap: tuple[int, int], kind: Reference) -> Rows:
    """The healthy diameter at every row by the method ``kind``, the lesion filling the rows ``gap`` (first, last)."""
    start, end = gap
    if kind == "interpolated":
        return interpolated(diameter, valid, start, end)
    if kind == "computer-defined":
        outside = valid.copy()
        outside[start : end + 1] = False
        return computer_defined(diameter, outside)
    beside = [i for i in (start - 3, start - 2, start - 1, end + 1, end + 2, end + 3) if 0 <= i < len(diameter)]
    return np.full(len(diameter), mean_local(diameter, tuple(beside)) if beside else np.nan)
