"""Left and right wall of a vessel to a fraction of a pixel, from the grey values alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.vessel.chord import STEP, blurred_chord
from lesionforge.generators.vessel.densitometry import PSF_SIGMA, window
from lesionforge.generators.vessel.graph import arc_length
from lesionforge.generators.vessel.order import median, row_medians
from lesionforge.generators.vessel.profile import Points, attenuation, normals, straighten

Rows = NDArray[np.float64]

ALONG = 1.5  # rows, sd of the mean along the vessel before the half depth is looked for
SMOOTH = 1.3  # radii, reach to either side of the quadratic that smooths the width: it leaves a tip its depth
CORE = 0.6  # of the radius, over which the depth is averaged
CORE_MEAN = (np.sqrt(1 - CORE**2) + np.arcsin(CORE) / CORE) / 2  # of the chord over that, for a depth of 1
CHORD_HALF = np.sqrt(3) / 2  # a chord 2 sqrt(r^2 - t^2) has half its depth at t = .866 r


@dataclass(frozen=True)
class Walls:
    """Walls along the normals of a centreline, row i at its point i.

    ``left`` <= ``right`` (n,): signed distances along the normal in px, equal where there is no lumen;
    ``diameter`` (n,) their difference. ``psf_sigma`` px (1 for a mask, which has no blur), ``cnr`` (n,) depth over
    noise (infinite for a mask).
    """

    points: Points
    normals: Points
    s: Rows
    left: Rows
    right: Rows
    psf_sigma: float
    cnr: Rows
    valid: NDArray[np.bool_]
    kind: Literal["geometric", "mask"]

    @property
    def diameter(self) -> Rows:
        return self.right - self.left

    @property
    def contours(self) -> tuple[Points, Points]:
        """Left and right wall as points (n, 2) x, y."""
        return self.points + self.left[:, None] * self.normals, self.points + self.right[:, None] * self.normals


def grey_walls(image: NDArray[Any], points: Points, radii: Rows, psf_sigma: float | None = None) -> Walls:
    """Walls from the grey values alone: where the profile, averaged along the vessel, falls to half its depth.

    That width is turned into the diameter of the round vessel which has it after the blur. Knows neither a contrast
    coefficient nor a fit, hence independent of ``fit_lumen``; but as a narrow lumen looks hardly narrower than the
    point spread, the noise decides below 12 px of reference or beyond 70 %DS.
    """
    across = normals(points)
    half_width = window(radii)
    profiles, t = straighten(attenuation(image), points, across, half_width, STEP)
    rows = scipy.ndimage.gaussian_filter1d(profiles.astype(np.float64), ALONG, axis=0, mode="nearest")
    ring = np.abs(t) > np.minimum(1.2 * radii, half_width - 5)[:, None] + 2
    low, high = (row_medians(rows, ring & side) for side in (t < 0, t > 0))
    away = np.where(ring, np.abs(t), 0).sum(axis=1) / ring.sum(axis=1)
    rest = rows - (low + high)[:, None] / 2 - ((high - low) / 2 / away)[:, None] * t
    noise = 1.4826 * float(np.nanmedian(np.abs(rest[ring]))) + 1e-6
    depth = np.where(np.abs(t) <= np.maximum(radii, 2)[:, None], rest, -np.inf).max(axis=1)
    left, right, valid = crossings(rest, t, depth / 2)
    for _ in range(2):  # the largest sample is the noise's, so take the mean of the middle
        middle, half = (left + right) / 2, np.maximum((right - left) / 2, 1.0)
        core = np.abs(t - middle[:, None]) <= CORE * half[:, None] / CHORD_HALF
        depth = np.where(core, rest, 0).sum(axis=1) / np.maximum(core.sum(axis=1), 1) / CORE_MEAN
        left, right, valid = crossings(rest, t, depth / 2)
    sigma = PSF_SIGMA if psf_sigma is None else psf_sigma
    middle = (left + right) / 2
    reach = min(max(round(SMOOTH * median(radii)), 3), (len(radii) - 1) // 2)
    half = scipy.ndimage.correlate1d((right - left) / 2, quadratic_weights(reach), mode="nearest")
    half = _radius_of(half_depth=half, sigma=sigma)
    cnr = depth / noise
    valid = valid & (scipy.ndimage.median_filter(cnr, 41, mode="nearest") >= 2)
    return Walls(points, across, arc_length(points), middle - half, middle + half, sigma, cnr, valid, "geometric")


def quadratic_weights(reach: int) -> Rows:
    """Weights (2 reach + 1,) that read the least-squares quadratic of as many values at their middle.

    Savitzky and Golay, Anal. Chem. 36:1627 (1964).
    """
    m, i = reach, np.arange(-reach, reach + 1)
    weights: Rows = 3 * (3 * m * m + 3 * m - 1 - 5 * i * i) / ((2 * m - 1) * (2 * m + 1) * (2 * m + 3))
    return weights


def _radius_of(half_depth: Rows, sigma: float) -> Rows:
    """Radius of the round vessel whose blurred chord falls to half its depth at these distances from the axis."""
    radii, places = _half_depths(sigma)
    radius: Rows = np.interp(half_depth, places, radii)
    return radius


@lru_cache(maxsize=16)
def _half_depths(sigma: float) -> tuple[Rows, Rows]:
    """Radii up to 48 px and where their chords, blurred by sigma, fall to half their depth."""
    step = 0.25
    radii = np.concatenate([np.arange(0.125, 2, 0.125), np.arange(2, 48.5, 0.5)])
    t = np.arange(0, 56, step)
    chord = blurred_chord(radii, t, sigma)
    chord /= chord[:, :1]
    below = (chord < 0.5).argmax(axis=1)
    rows = np.arange(len(radii))
    inner, outer = chord[rows, below - 1], chord[rows, below]
    return radii, t[below - 1] + step * (inner - 0.5) / (inner - outer)


@jit
def crossings(rows: NDArray[np.float64], t: Rows, level: Rows) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """First place on either side of the row's peak near t = 0 where it falls below its level, between samples.

    Zero and zero where nothing rises above the level; not valid where the window ends first.
    """
    n, k = rows.shape
    left, right = np.zeros(n), np.zeros(n)
    valid = np.zeros(n, np.bool_)
    middle = k // 2
    for i in range(n):
        peak = middle
        for j in range(max(middle - 6, 0), min(middle + 7, k)):
            if rows[i, j] > rows[i, peak]:
                peak = j
        if rows[i, peak] <= level[i]:  # no lumen at all
            valid[i] = True
            continue
        ok = 0
        for side in range(2):
            step = 1 if side else -1
            j = peak
            while 0 <= j + step < k and rows[i, j + step] >= level[i]:
                j += step
            if not 0 <= j + step < k:
                place = t[j]
            else:
                inner, outer = rows[i, j], rows[i, j + step]
                place = t[j] + (t[j + step] - t[j]) * (inner - level[i]) / (inner - outer)
                ok += 1
            if side:
                right[i] = place
            else:
                left[i] = place
        valid[i] = ok == 2
    return left, right, valid


def symmetry(walls: Walls, at: int, start: int, end: int, d_ref: float) -> float | None:
    """DICOM PS3.17 T.2: a / b <= 1, the distances of the two walls from the healthy walls at row ``at``.

    The healthy walls lie half a reference diameter to either side of the healthy middle, a parabola through the middles
    of the flanks beside rows ``start`` ... ``end``. None without flanks on both sides or without narrowing.
    """
    left, right = walls.contours
    rows = np.r_[max(start - 30, 0) : start, end + 1 : min(end + 31, len(left))]
    rows = rows[walls.valid[rows]]
    if (rows < start).sum() < 5 or (rows > end).sum() < 5:
        return None
    middle = (left + right) / 2
    healthy = np.array([np.polyval(np.polyfit(rows - at, middle[rows, axis], 2), 0) for axis in (0, 1)])
    centre = float((healthy - walls.points[at]) @ walls.normals[at])
    a = walls.left[at] - (centre - d_ref / 2)
    b = (centre + d_ref / 2) - walls.right[at]
    low, high = sorted((max(float(a), 0.0), max(float(b), 0.0)))
    return low / high if high > 0.25 else None
