"""How far a vessel's walls lie from points of its centreline, in each view, and so its middle and its radius there."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from lesionforge.generators.carm.view import View
from lesionforge.generators.kernels import jit

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FINE = 0.25  # px between places looked at across a vessel
OWN, OWN_MM = 6.0, 4.0  # along a branch, beyond which it may cross itself
FLAT = 0.25  # of its length that a stretch keeps in a picture: what is shorter runs along the rays, and has no sides


@dataclass(frozen=True)
class Across:
    """A silhouette across a centreline (n, 3).

    ``middle``: how far the vessel's middle lies from the point's image, px along ``normal`` (n, 2: row, col).
    ``half``: half of its width in px; NaN where the picture shows none. ``mm``: of a pixel at the point's depth.
    """

    middle: Floats
    half: Floats
    normal: Floats
    mm: Floats


def across(view: View, shadow: NDArray[np.uint8], points: Floats, ends: NDArray[np.int64], reach_px: float) -> Across:
    """Look for lit pixels within ``reach_px`` of each point's image, across the line that the images make.

    ``ends``: where each line begins among the points, and the number of all.
    """
    pixels = view.project(points)
    mm = view.pixel_mm_at(points)
    before, after = np.arange(len(points)) - 1, np.arange(len(points)) + 1
    before[ends[:-1]] += 1
    after[ends[1:] - 1] -= 1
    way = pixels[after] - pixels[before]
    size = np.sqrt((way**2).sum(1))
    seen = size * mm > FLAT * np.sqrt(((points[after] - points[before]) ** 2).sum(1))
    way /= np.maximum(size, 1e-9)[:, None]
    normal = np.stack([-way[:, 1], way[:, 0]], axis=1)
    low, high = _walls(np.ascontiguousarray(shadow), pixels, normal, reach_px)
    half = np.where(seen, (high - low) / 2, nan)
    return Across(np.where(seen, (low + high) / 2, nan), half, normal, mm)


def merged(view: View, points: Floats, radii: Floats, branch: NDArray[np.int64], free: NDArray[np.bool_]) -> Bools:
    """Which points' silhouettes touch another branch's, and may be the wider for it (n,).

    Args:
        points: of all branches (n, 3), ``radii`` (n,) mm, ``branch`` (n,) their numbers.
        free: (n,) False where a branch is still inside its parent: it hides nothing.
    """
    return _merged(view.project(points), radii / view.pixel_mm_at(points), branch, free)


def room(view: View, points: Floats, radii: Floats, branch: NDArray[np.int64], along: Floats) -> Floats:
    """How many mm each point's image lies outside of any other vessel's (n,), negative within it.

    Another vessel is another branch, or a part of the same one that is ``OWN`` radii and ``OWN_MM`` away along it.

    Args:
        points, radii, branch: see ``merged``.
        along: (n,) mm from each branch's first point.
    """
    mm = view.pixel_mm_at(points)
    return _room(view.project(points), radii / mm, branch, along, OWN * radii + OWN_MM) * mm


def radii_about(view: View, shadow: NDArray[np.uint8], points: Floats) -> Floats:
    """Radius in mm (n,) of the vessel whose centreline's image is nearest to each point's; for points near vessels."""
    lit = np.pad(shadow > 0, 1)
    if not lit.any():
        return np.zeros(len(points))
    edge = cKDTree(np.argwhere(lit & ~binary_erosion(lit)))
    line = np.argwhere(skeletonize(lit))
    half = edge.query(line)[0] + 0.5  # a vessel's outline runs half a pixel beyond its last pixels' centres
    out: Floats = half[cKDTree(line).query(view.project(points) + 1)[1]] * view.pixel_mm_at(points)
    return out


@jit
def _merged(pixels: Floats, radii: Floats, branch: NDArray[np.int64], free: Bools) -> Bools:
    out = np.zeros(len(pixels), np.bool_)
    for i in range(len(pixels)):
        for j in range(len(pixels)):
            if branch[i] != branch[j] and free[j]:
                r, c = pixels[i, 0] - pixels[j, 0], pixels[i, 1] - pixels[j, 1]
                if r * r + c * c < (radii[i] + radii[j] + 1) ** 2:
                    out[i] = True
                    break
    return out


@jit
def _room(pixels: Floats, radii: Floats, branch: NDArray[np.int64], along: Floats, own: Floats) -> Floats:
    out = np.full(len(pixels), inf)
    for i in range(len(pixels)):
        for j in range(len(pixels)):
            if branch[i] != branch[j] or abs(along[i] - along[j]) > own[i]:
                r, c, reach = pixels[i, 0] - pixels[j, 0], pixels[i, 1] - pixels[j, 1], out[i] + radii[j]
                if reach > 0 and r * r + c * c < reach * reach:
                    out[i] = sqrt(r * r + c * c) - radii[j]
    return out


@jit
def _lit(shadow: NDArray[np.uint8], row: float, col: float) -> float:
    """Bilinear, 0 outside."""
    i, j = floor(row), floor(col)
    a, b = row - i, col - j
    total = 0.0
    for r in range(2):
        for c in range(2):
            if 0 <= i + r < shadow.shape[0] and 0 <= j + c < shadow.shape[1] and shadow[i + r, j + c] > 0:
                total += (a if r else 1 - a) * (b if c else 1 - b)
    return total


@jit
def _walls(shadow: NDArray[np.uint8], pixels: Floats, normals: Floats, reach: float) -> tuple[Floats, Floats]:
    """Both walls of the lit stretch nearest to each pixel on its normal, px from it; NaN where none begins in reach."""
    n = len(pixels)
    low, high = np.full(n, nan), np.full(n, nan)
    for i in range(n):
        r, c, u, v = pixels[i, 0], pixels[i, 1], normals[i, 0], normals[i, 1]
        start = nan
        for k in range(int(reach / FINE) + 1):
            for sign in (1.0, -1.0):
                s = sign * k * FINE
                if _lit(shadow, r + s * u, c + s * v) >= 0.5:
                    start = s
                    break
            if start == start:
                break
        if start != start:
            continue
        for sign in (1.0, -1.0):
            s, inner = start, _lit(shadow, r + start * u, c + start * v)
            while True:
                outer = _lit(shadow, r + (s + sign * FINE) * u, c + (s + sign * FINE) * v)
                if outer < 0.5:
                    break
                s, inner = s + sign * FINE, outer
            wall = s + sign * FINE * (inner - 0.5) / max(inner - outer, 1e-9)
            if sign > 0:
                high[i] = wall
            else:
                low[i] = wall
    return low, high
