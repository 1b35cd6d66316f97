"""The scan's own noise: found in flat tissue, and lent to what is drawn."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float32]
GRAIN_MM = 1.0  # what is finer counts as the scan's noise
GRAIN_LIMIT = 3.0  # standard deviations: edges are no noise
EDGE_MM = 2.0  # width of the blur between tissues
TRIED = 1000  # voxels that a shift is chosen by
#: From where grain is lent, the nearest first: along the axes and the diagonals, in voxels.
SHIFTS = np.concatenate([n * np.argwhere(np.ones((3, 3, 3))) - n for n in range(4, 65, 4)])


def grain(hu: Floats, spacing: tuple[float, float, float], finer_mm: float = GRAIN_MM) -> Floats:
    """The scan's noise: what is finer than ``finer_mm``, its outliers (edges) cut to size."""
    fine = finer(hu, spacing, finer_mm)
    spread = 1.4826 * float(np.median(np.abs(fine - np.median(fine))))
    cut: Floats = np.clip(fine, -GRAIN_LIMIT * spread, GRAIN_LIMIT * spread)
    return cut


def finer(hu: Floats, spacing: tuple[float, float, float], mm: float) -> Floats:
    """What a blur of a sigma of so many mm takes away."""
    out: Floats = hu - scipy.ndimage.gaussian_filter(hu, [mm / s for s in spacing], mode="nearest", truncate=3)
    return out


def voxel_grain_mm(spacing: tuple[float, float, float]) -> float:
    """What is finer than this is noise, where voxels may be coarse."""
    return max(GRAIN_MM, *spacing)


def edges(hu: Floats, spacing: tuple[float, float, float], limit: float = GRAIN_LIMIT) -> NDArray[np.bool_]:
    """What lies within the blur of a step between tissues, of a slope above ``limit`` times the median."""
    sigma = [math.sqrt(2) * GRAIN_MM / s for s in spacing]  # twice the grain's variance: a step outlasts it
    slope = scipy.ndimage.gaussian_gradient_magnitude(hu, sigma, mode="nearest", truncate=3)
    steep = slope > limit * np.median(slope)
    return within(steep, EDGE_MM / 2, spacing)


def within(mask: NDArray[np.bool_], mm: float, spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Voxels whose centre lies no further than so many mm from one of a mask: few shifts, and no distances."""
    reach = [int(mm / s) + 1 for s in spacing]
    offsets = np.argwhere(np.ones([2 * r + 1 for r in reach], bool)) - reach
    out = mask.copy()
    for offset in offsets[np.sqrt(((offsets * spacing) ** 2).sum(axis=1)) <= mm].tolist():
        to = tuple(slice(max(0, o), max(0, min(n, n + o))) for o, n in zip(offset, mask.shape, strict=True))
        of = tuple(slice(max(0, -o), max(0, min(n, n - o))) for o, n in zip(offset, mask.shape, strict=True))
        out[to] |= mask[of]
    return out


def borrowed(fine: Floats, flat: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> Floats:
    """Grain where it is ``wanted``: of its own place where that is ``flat``, else of flat tissue elsewhere.

    It comes in as few pieces as there can be, each moved as one: a voxel that is lent to many places, a small step
    apart, shows as a pattern. Nothing where no shift finds any.
    """
    out = np.where(flat, fine, np.float32(0))
    missing = np.argwhere(wanted & ~flat)
    shape = np.array(flat.shape)
    while len(missing):
        some = missing[:: -(-len(missing) // TRIED)]
        found = [int(flat[tuple(((some + shift) % shape).T)].sum()) for shift in SHIFTS]
        best = int(np.argmax(found))
        if not found[best]:
            break
        there = tuple(((missing + SHIFTS[best]) % shape).T)
        good = flat[there]
        out[tuple(missing[good].T)] = fine[there][good]
        missing = missing[~good]
    return out
