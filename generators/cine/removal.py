"""Vessels, catheters and wires taken out of a real frame: dark ridges found, filled from their rims, grain laid over.

The fill is smooth and the frame's own grain, taken from clear places beside, is laid over it: nothing else of the
frame is touched, warped or resampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_objects

from lesionforge.generators.kernels import jit

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
SCALES = ((1.5, 1), (2.2, 1), (1.6, 2), (2.4, 2), (1.8, 4), (2.6, 4))  # sigma in pixels of a frame shrunk so many times
LOW, HIGH = 2.6, 5.2  # of a vessel, in units of what half the frame has of bright lines: that is of grain and ground
LEAST_PX = 90  # of a ridge
REACH_PX = 2  # beyond a ridge's own width: what is left of a vessel's rim shows as a ghost
SHADE = 0.4  # of a frame's median: what is darker and reaches its border lies behind the collimator
BAND_PX = 14  # where a frame's border may be darker than what lies inwards of it
RIM_PX = 7  # from the collimator, whose edge is no ridge
BLUR_PX = 2.2  # parts grain from what it lies on
SHIFTS = 24  # places that grain is looked for in


@dataclass(frozen=True)
class Cleared:
    """``frame`` float32 (rows, cols): grey levels without vessels. ``mask``: where there were any. ``field``: what the
    collimator leaves open.
    """

    frame: Pixels
    mask: Mask
    field: Mask


def cleared(image: NDArray[np.uint8], known: Mask | None, rng: np.random.Generator) -> Cleared:
    """A frame without its vessels.

    Args:
        image: (rows, cols), vessels darker than what surrounds them.
        known: (rows, cols), vessels that somebody marked: they go in any case.
        rng: says which places beside lend their grain.
    """
    frame = image.astype(np.float32)
    field = open_field(image)
    inner = _least(field, 7, 7)
    inside = filled(frame, ~inner) if not inner.all() else frame
    mask = _ridges(inside, field)
    if known is not None:
        mask |= _most(known, 2 * REACH_PX + 1, 2 * REACH_PX + 1) & field
    base = _base(frame, ~mask)
    smooth = filled(base, mask)
    out = np.where(mask, smooth + _grain(frame - base, mask, field, rng), frame)
    return Cleared(np.clip(out, 0, 255).astype(np.float32), mask, field)


def open_field(image: NDArray[np.uint8]) -> Mask:
    """What the collimator leaves open of a frame: all but dark ground that reaches its border, and the border's rim."""
    soft = scipy.ndimage.uniform_filter(image, 5, output=np.float32, mode="nearest")
    shade = _reaching(soft < max(12.0, SHADE * float(np.median(image))))
    band = tuple(slice(BAND_PX, n - BAND_PX) for n in image.shape)
    inward = np.pad(scipy.ndimage.uniform_filter(soft[band], 7, mode="nearest"), BAND_PX, mode="edge")
    rim = soft < 0.85 * inward
    rim[band] = False
    shade |= _reaching(_most(_least(rim, 1, 25), 1, 25) | _most(_least(rim, 25, 1), 25, 1))
    parts, _ = scipy.ndimage.label(_least(~shade, 21, 21))
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1 if parts.any() else 0
    field = _most(parts == largest, 21, 21)
    return field if field.mean() > 0.3 else np.ones(image.shape, np.bool_)


def _least(mask: Mask, rows: int, cols: int) -> Mask:
    """Eroded by a rectangle; the frame's border erodes nothing."""
    out: Mask = scipy.ndimage.minimum_filter(mask.view(np.uint8), (rows, cols), mode="nearest").view(np.bool_)
    return out


def _most(mask: Mask, rows: int, cols: int) -> Mask:
    """Dilated by a rectangle."""
    out: Mask = scipy.ndimage.maximum_filter(mask.view(np.uint8), (rows, cols), mode="nearest").view(np.bool_)
    return out


def _reaching(dark: Mask) -> Mask:
    """The parts of a mask that reach the frame's border."""
    parts, _ = scipy.ndimage.label(dark)
    at_border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    out: Mask = np.isin(parts, at_border[at_border > 0])
    return out


def _ridges(frame: Pixels, field: Mask) -> Mask:
    """Dark lines and bands of 2 to 30 pixels' width, as wide as they are."""
    level = scipy.ndimage.uniform_filter(frame, 33, mode="nearest")
    relative = frame / np.maximum(level, 10)  # contrast grows with brightness
    best = np.zeros(frame.shape, np.float32)
    width = np.zeros(frame.shape, np.float32)
    core = _least(field, 2 * RIM_PX + 1, 2 * RIM_PX + 1)
    small, shrunk = relative, 1
    for sigma, times in SCALES:
        while shrunk < times:
            small, shrunk = _half(small), shrunk * 2
        dark, bright = _ridge(small, sigma)
        usual = float(np.median(bright[core[::times, ::times]]))
        strength = _grown(dark / np.float32(usual + 1e-9), times, frame.shape)
        better = strength > best
        best[better], width[better] = strength[better], sigma * times
    found = apply_hysteresis_threshold(best * core, LOW, HIGH)
    found = np.asarray(remove_small_objects(found, max_size=LEAST_PX), np.bool_)
    if not found.any():
        return found
    away, (row, col) = scipy.ndimage.distance_transform_edt(~found, return_indices=True)
    out: Mask = (away <= 0.9 * width[row, col] + REACH_PX) & field
    return out


def _ridge(relative: Pixels, sigma: float) -> tuple[Pixels, Pixels]:
    """How much darker a line is than both its sides, and how much brighter: the one curvature, less half the other."""
    rr, rc, cc = (
        scipy.ndimage.gaussian_filter(relative, sigma, order=order, mode="nearest", truncate=3)
        for order in ((2, 0), (1, 1), (0, 2))
    )
    half, spread = 0.5 * (rr + cc), np.sqrt(0.25 * (rr - cc) ** 2 + rc * rc)
    low, high = half - spread, half + spread
    return np.maximum(high - 0.5 * np.abs(low), 0), np.maximum(-low - 0.5 * np.abs(high), 0)


def _half(values: Pixels) -> Pixels:
    """Shrunk to half, odd ends repeated."""
    v = np.pad(values, [(0, values.shape[0] % 2), (0, values.shape[1] % 2)], mode="edge")
    out: Pixels = np.float32(0.25) * (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2])
    return out


def _grown(values: Pixels, times: int, shape: tuple[int, ...]) -> Pixels:
    """The inverse, in steps: for a strength, whose edges do not matter."""
    if times == 1:
        return values
    return np.repeat(np.repeat(values, times, 0), times, 1)[: shape[0], : shape[1]]


def _base(frame: Pixels, known: Mask) -> Pixels:
    """The frame without grain, of known pixels alone."""
    weight = scipy.ndimage.gaussian_filter(known.astype(np.float32), BLUR_PX, mode="nearest", truncate=3)
    value = scipy.ndimage.gaussian_filter(frame * known, BLUR_PX, mode="nearest", truncate=3)
    out: Pixels = value / np.maximum(weight, np.float32(1e-4))
    return out


def filled(values: Pixels, hole: Mask) -> Pixels:
    """Values (rows, cols) with a hole filled as a soap film hangs in it: pulled up from coarse to fine, smoothed."""
    known = (~hole).astype(np.float32)
    pyramid = [(values * known, known)]
    while min(pyramid[-1][0].shape) > 4 and not pyramid[-1][1].all():
        value, weight = (np.float32(4) * _half(part) for part in pyramid[-1])
        share = np.maximum(weight, np.float32(1))
        pyramid.append(((value / share).astype(np.float32), (weight / share).astype(np.float32)))
    value, weight = pyramid[-1]
    rest = float(value.sum(dtype=np.float64) / max(float(weight.sum(dtype=np.float64)), 1e-9))
    out = np.where(weight > 0, value / np.maximum(weight, np.float32(1e-9)), np.float32(rest)).astype(np.float32)
    for value, weight in reversed(pyramid[:-1]):
        fine = np.repeat(np.repeat(out, 2, 0), 2, 1)[: value.shape[0], : value.shape[1]].copy()
        solid = weight > 0
        fine[solid] = (value / np.maximum(weight, np.float32(1e-9)))[solid]
        _relaxed(fine, ~solid, 24)
        out = fine
    return out


@jit
def _relaxed(values: Pixels, hole: Mask, times: int) -> None:
    """Each pixel of the hole the mean of its neighbours, over-relaxed, again and again."""
    rows, cols = values.shape
    for _ in range(times):
        for r in range(rows):
            for c in range(cols):
                if hole[r, c]:
                    up, down = values[max(r - 1, 0), c], values[min(r + 1, rows - 1), c]
                    left, right = values[r, max(c - 1, 0)], values[r, min(c + 1, cols - 1)]
                    mean = np.float32(0.25) * (up + down + left + right)
                    values[r, c] += np.float32(1.5) * (mean - values[r, c])


def _grain(residual: Pixels, mask: Mask, field: Mask, rng: np.random.Generator) -> Pixels:
    """Grain for the pixels of a mask, each taken from the nearest of some places where there is no vessel."""
    out = np.zeros(residual.shape, np.float32)
    clear = field & ~_most(mask, 5, 5)  # the base is of fewer pixels beside it
    left = mask.copy()
    for n in range(SHIFTS):
        angle, far = float(rng.uniform(0, 2 * math.pi)), 10.0 + 5.0 * n
        down, right = round(far * math.sin(angle)), round(far * math.cos(angle))
        here, there = _overlap(residual.shape, down, right)
        take = left[here] & clear[there]
        out[here][take] = residual[there][take]
        left[here][take] = False
        if not left.any():
            break
    return out


def _overlap(shape: tuple[int, ...], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a frame and its copy moved by some pixels lie upon each other, in each of the two."""
    rows, cols = shape
    here = slice(max(0, -down), rows - max(0, down)), slice(max(0, -right), cols - max(0, right))
    there = slice(max(0, down), rows - max(0, -down)), slice(max(0, right), cols - max(0, -right))
    return here, there
