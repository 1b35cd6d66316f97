"""Catheters and wires drawn into crops: more kinds of them, in more places, than runs of one make have.

A real catheter may come from any side, be filled or not, have walls darker than its bore; a wire is no vessel.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
CATHETERS, WIRES = 0.5, 0.5  # of crops: share that gets a catheter, mean number of wires
RADII, WIRE_RADII = (2.0, 4.5), (0.6, 2.2)  # px
BEYOND = 12.0  # px outside the crop where a catheter begins


def intruded(
    rng: np.random.Generator, grey: Floats, labels: Labels, vessel: int, catheter: int
) -> tuple[Floats, Labels]:
    """A crop (rows, cols) and its labels, where ``vessel`` and ``catheter`` are two values, with what is drawn."""
    side = grey.shape[0]
    depth = _depth(grey, labels == vessel)
    if (labels == vessel).any() and rng.random() < CATHETERS:
        way = _course(rng, _ostium(rng, labels == vessel), side)
        radius = rng.uniform(*RADII)
        away = _away(way, side)
        dark = _chord(away, radius)
        if rng.random() < 0.5:  # walls about a bore that is not filled
            dark = dark - rng.uniform(0.5, 1.0) * _chord(away, radius * rng.uniform(0.55, 0.75))
        dark *= depth * rng.uniform(0.5, 1.3)
        grey = grey * np.exp(-np.where(labels == vessel, 0.3, 1.0) * dark)
        labels = np.where((away <= radius) & (labels != vessel), np.uint8(catheter), labels)
    for _ in range(rng.poisson(WIRES)):
        way = _smooth(rng.uniform(-0.1, 1.1, (5, 2)) * side, 25.0)
        grey = grey * np.exp(-rng.uniform(0.1, 0.5) * _chord(_away(way, side), rng.uniform(*WIRE_RADII)))
    return grey.astype(np.float32), labels


def _depth(grey: Floats, vessel: NDArray[np.bool_]) -> float:
    """How much darker than beside them the vessels are, as attenuation."""
    if not vessel.any():
        return 0.4
    absorbed = -np.log(np.clip(grey, 4, 255) / 255)
    beside = scipy.ndimage.uniform_filter(absorbed, 41, mode="nearest")
    return float(np.clip(np.quantile((absorbed - beside)[vessel], 0.8) * 1.3, 0.12, 0.9))


def _ostium(rng: np.random.Generator, vessel: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A place where the vessels are widest."""
    width = scipy.ndimage.distance_transform_cdt(vessel, "chessboard")
    rows, cols = np.nonzero(width >= 0.8 * width.max())
    n = int(rng.integers(len(rows)))
    return np.array([rows[n], cols[n]], float)


def _course(rng: np.random.Generator, ostium: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """From a border, mostly the nearest or the upper one, by a bend, and a hook before the ostium."""
    borders = np.array([ostium[0], ostium[1], side - ostium[1], side - ostium[0]])  # upper, left, right, lower
    likely = np.array([0.35, 0.15, 0.15, 0.1])
    likely[int(np.argmin(borders))] += 0.25
    border = int(rng.choice(4, p=likely))
    at = float(np.clip(ostium[1 if border in (0, 3) else 0] + rng.normal(0, 0.25) * side, 0, side))
    begin = np.array([(-BEYOND, at), (at, -BEYOND), (at, side + BEYOND), (side + BEYOND, at)][border])
    way = ostium - begin
    length = float(np.hypot(*way)) + 1e-6
    across = np.array([-way[1], way[0]]) / length
    bow, hook = rng.normal(0, 0.15) * length, rng.normal(0, 0.3) * min(length, 0.3 * side)
    knots = [(0, 0.0), (0.3, 0.8 * bow), (0.65, bow), (0.85, 0.6 * bow + hook), (1, 0.3 * hook), (1, 0.0)]
    return _smooth(np.stack([begin + share * way + off * across for share, off in knots]), 12.0)


def _smooth(knots: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """400 points of a smooth line by some knots (n, 2)."""
    at, along = np.linspace(0, 1, len(knots)), np.linspace(0, 1, 400)
    fine = np.stack([np.interp(along, at, knots[:, k]) for k in range(2)], 1)
    line: NDArray[np.float64] = scipy.ndimage.gaussian_filter1d(fine, sigma, axis=0, mode="nearest")
    return line


def _away(way: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Distance of every pixel from a line (n, 2), px."""
    fine = np.stack([np.interp(np.linspace(0, 399, 3200), np.arange(400), way[:, k]) for k in range(2)], 1)
    row, col = np.rint(fine).astype(int).T
    inside = (row >= 0) & (row < side) & (col >= 0) & (col < side)
    free = np.ones((side, side), bool)
    free[row[inside], col[inside]] = False
    away: NDArray[np.float64] = scipy.ndimage.distance_transform_edt(free) if inside.any() else np.full(free.shape, 1e3)
    return away


def _chord(away: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Of a ray through a tube, in diameters of it, as blurred as a frame is."""
    chord = np.sqrt(np.maximum(1 - (away / radius) ** 2, 0))
    blurred: NDArray[np.float64] = scipy.ndimage.gaussian_filter(chord, 0.7)
    return blurred
