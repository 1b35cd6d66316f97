"""Projected vessels: contrast agent along each ray, and the lumen as a mask.

A vessel of radius r seen at lateral distance d from its axis has a chord of 2 sqrt(r^2 - d^2) and absorbs mu times
that (Beer-Lambert); an axis inclined to the detector lengthens it by 1 / cos. Overlapping vessels add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.kernels import jit
from lesionforge.generators.types import Branch

Floats = NDArray[np.float64]
MIN_INCLINATION = 0.4  # cosine below which a vessel running along the ray is not drawn any darker
FINE = 2  # samples along each edge of a pixel
FORK_REACH = 3.0  # parent radii around a fork within which the lumens join instead of overlapping


@dataclass(frozen=True)
class Projected:
    """A centreline on the detector: ``points`` (n, 2) as (row, col) and ``radii`` (n,) in pixels.

    ``stretch`` (n,) is the factor by which the vessel's inclination lengthens the chord.
    """

    points: Floats
    radii: Floats
    stretch: Floats


def project(points: Floats, radii: Floats, view: View) -> Projected:
    """A centreline (n, 3) in LPS mm and its radii (n,) in mm, as the view sees them."""
    d = view.direction
    depth = view.sod_mm + points[:, 0] * d[0] + points[:, 1] * d[1] + points[:, 2] * d[2]
    scale = view.sid_mm / depth / math.sqrt(view.pixel_mm[0] * view.pixel_mm[1])
    ray = points - view.source_mm
    tangent = np.gradient(points, axis=0)
    lengths = np.sqrt((ray * ray).sum(1) * (tangent * tangent).sum(1))
    along = np.abs((ray * tangent).sum(1)) / np.maximum(lengths, 1e-9)
    across = np.sqrt(np.maximum(1 - along * along, MIN_INCLINATION**2))
    smooth: Floats = scipy.ndimage.gaussian_filter1d(1 / across, 4, mode="nearest")
    return Projected(view.project(points), radii * scale, smooth)


def attenuation_per_px(diameter_px: Floats) -> Floats:
    """mu in 1/px of a vessel of this healthy diameter, for a contrast mu * D of 1 at 10 px.

    In displayed angiograms contrast hardly depends on the calibre (scatter, veil and processing eat what thick vessels
    should gain): measured on ARCADE, mu * D is level from 6 to 10 px and grows like D^.65 beyond; thinner vessels fade.
    """
    d = np.maximum(diameter_px, 1e-3)
    contrast = np.maximum(1.0, d / 10) ** 0.65 * np.minimum(1.0, d / 6.5) ** 0.6
    out: Floats = contrast / d
    return out


def absorb(
    tracks: Sequence[Projected], mu: Sequence[Floats], branches: Sequence[Branch], shape: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Absorbance (rows, cols) of a projected tree, and its lumen as a mask: the pixels that lie in a vessel by half.

    Args:
        tracks: the branches projected, a parent before its children.
        mu: attenuation (n,) in 1/px along each.
        branches: the tree, for who is whose parent.
        shape: rows, cols.
    """
    total = np.zeros(shape)
    mask = np.zeros(shape, np.bool_)
    for track, weight, branch in zip(tracks, mu, branches, strict=True):
        part, inside, (top, left) = _tube(track, weight * track.stretch, shape)
        if not part.size:
            continue
        at = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
        mask[at] |= inside
        if branch.parent >= 0:
            parent = tracks[branch.parent]
            nearest = int(np.argmin(((parent.points - track.points[0]) ** 2).sum(1)))
            part = _joined(part, total[at], track.points[0] - (top, left), float(parent.radii[nearest]))
        total[at] += part
    return total, mask


def line(track: Projected, mu: float, shape: tuple[int, int]) -> Floats:
    """Absorbance (rows, cols) of one tube of constant mu (1/px), such as a catheter."""
    out = np.zeros(shape)
    part, _, (top, left) = _tube(track, mu * track.stretch, shape)
    out[top : top + part.shape[0], left : left + part.shape[1]] = part
    return out


def _joined(part: Floats, below: Floats, fork: Floats, radius: float) -> Floats:
    """What a side branch adds: near its origin it lies in the parent's lumen, further away in front or behind."""
    rows, cols = np.ogrid[: part.shape[0], : part.shape[1]]
    away = np.sqrt((rows - fork[0]) ** 2 + (cols - fork[1]) ** 2) / max(radius, 0.5)
    apart = np.clip((away - 1) / (FORK_REACH - 1), 0, 1)
    out: Floats = apart * part + (1 - apart) * np.maximum(part - below, 0)
    return out


def _tube(
    track: Projected, weight: Floats, shape: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_], tuple[int, int]]:
    """Absorbance averaged over each pixel and whether half of it is covered, in the tube's box; the box's corner."""
    reach = float(track.radii.max()) + 1
    low = np.clip(np.floor(track.points.min(0) - reach), 0, shape).astype(np.int64)
    high = np.clip(np.ceil(track.points.max(0) + reach) + 1, 0, shape).astype(np.int64)
    rows, cols = (int(n) for n in np.maximum(high - low, 0))
    fine = np.zeros((rows * FINE, cols * FINE))
    if fine.size:
        points = (track.points - low + 0.5) * FINE - 0.5  # pixel centres are whole numbers on both lattices
        _fill(fine, points, track.radii * FINE, weight / FINE)
    blocks = fine.reshape(rows, FINE, cols, FINE)
    return blocks.mean((1, 3)), (blocks > 0).mean((1, 3)) >= 0.5, (int(low[0]), int(low[1]))


@jit
def _fill(out: Floats, points: Floats, radii: Floats, weight: Floats) -> None:
    """Chord times weight at every pixel centre within reach of a piece; the largest where pieces overlap."""
    rows, cols = out.shape
    for k in range(len(points) - 1):
        y0, x0, y1, x1 = points[k, 0], points[k, 1], points[k + 1, 0], points[k + 1, 1]
        widest = max(radii[k], radii[k + 1])
        dy, dx = y1 - y0, x1 - x0
        length2 = dy * dy + dx * dx
        first_row = max(0, math.ceil(min(y0, y1) - widest))
        last_row = min(rows - 1, math.floor(max(y0, y1) + widest))
        first_col = max(0, math.ceil(min(x0, x1) - widest))
        last_col = min(cols - 1, math.floor(max(x0, x1) + widest))
        for i in range(first_row, last_row + 1):
            for j in range(first_col, last_col + 1):
                t = ((i - y0) * dy + (j - x0) * dx) / length2 if length2 > 0 else 0.0
                t = min(max(t, 0.0), 1.0)
                ey, ex = i - y0 - t * dy, j - x0 - t * dx
                r = radii[k] + t * (radii[k + 1] - radii[k])
                gap = r * r - ey * ey - ex * ex
                if gap > 0:
                    chord = 2 * math.sqrt(gap) * (weight[k] + t * (weight[k + 1] - weight[k]))
                    if chord > out[i, j]:
                        out[i, j] = chord
