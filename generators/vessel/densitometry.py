"""The densitometric lumen: a round vessel fitted to the attenuation across it, its contrast coefficient held locally.

Across a vessel -log(grey) is a background line plus mu times the chord through a disc, blurred by the system's point
spread. One row alone cannot tell a wide pale vessel from a narrow dark one, so mu is taken from all rows of the
neighbourhood together (the value under which they fit best with a radius of their own each) and the radii follow with mu
held: then the depth of the profile counts and a lumen far below the blur still has a diameter.

What it measures is the diameter of the circle of the same area: right for round lumens, too large for one that is
narrow in the view and deep along the beam. Not to be believed for vessels under 6 px, beyond 90 %DS, and as an absolute
%DS of a lesion that nobody drew: side branches and the background make healthy vessels wander by about 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal
from scipy.linalg import solveh_banded

from generators.carm.jit import jit
from generators.vessel.chord import RADIUS_STEP, chord_table
from generators.vessel.graph import arc_length, smooth
from generators.vessel.profile import Points, Spline, attenuation, normals

Rows = NDArray[np.float64]

STEP = 0.5  # px between samples across: the pixels hold no more
TABLE_HALF_WIDTH = 48.0  # px; wider vessels are refused
PSF_SIGMA = 1.0  # px, where nobody knows better; half a pixel off costs about one point of %DS
MU = np.geomspace(0.004, 0.25, 32)  # per px, the contrast coefficients tried
MU_REACH = 25.0  # rows, sd of the neighbourhood that shares one mu
BEND = 0.5  # sd of the radius' second derivative along the vessel is BEND / diameter per px: a cosine lesion's
GRAIN = 2.3  # px, integral of the noise's correlation along one axis (white noise blurred by .65 px)


@dataclass(frozen=True)
class Lumen:
    """A vessel fitted row by row; row i belongs to point i of the centreline that was given.

    ``points`` (n, 2) recentred, ``normals`` (n, 2), ``s`` (n,) arc length in px, ``diameter`` (n,) of the circle of equal
    area in px, ``mu`` (n,) per px, ``offset`` and ``slope`` (n,) of the background line in attenuation and per px,
    ``psf_sigma`` px, ``noise_sd`` of the attenuation, ``cnr`` (n,) the row's depth over the noise, ``valid`` (n,).
    """

    points: Points
    normals: Points
    s: Rows
    diameter: Rows
    mu: Rows
    offset: Rows
    slope: Rows
    psf_sigma: float
    noise_sd: float
    cnr: Rows
    valid: NDArray[np.bool_]

    kind: Literal["densitometric"] = "densitometric"


def fit_lumen(image: NDArray[Any], points: Points, radii: Rows, psf_sigma: float | None = None) -> Lumen:
    """Fit a round, blurred vessel along a centreline.

    Args:
        image: grey levels 0 ... 255 (rows, cols), vessels dark.
        points: (n, 2) x, y about 1 px apart, within half a radius of the vessel's middle.
        radii: (n,) px, roughly (the mask's): how far to look, not what to find.
        psf_sigma: of the system's point spread in px; PSF_SIGMA if None.

    Raises ValueError for fewer than 8 points or vessels too wide.
    """
    if len(points) < 8:
        raise ValueError(f"a centreline of {len(points)} points is too short to measure: give 8 or more")
    sigma = PSF_SIGMA if psf_sigma is None else psf_sigma
    wide = float(np.percentile(radii, 95))
    half_width = np.ceil(1.5 * wide + 6)
    if half_width > TABLE_HALF_WIDTH - 4:
        raise ValueError(f"a vessel of radius {wide:.0f} px is too wide to fit: downsample the picture")
    spline = Spline(attenuation(image), points, half_width + 4)
    chords = _Chords(sigma, half_width)
    across = normals(points)
    fit = None
    for _ in range(2):
        rows, t = spline.along(points, across, half_width, STEP)
        fit = _fit(rows, t, chords, radii)
        shift = _shift(rows, chords, fit.radius, fit.mu, half_width)
        points = points + shift[:, None] * across
        points = ndimage.gaussian_filter1d(points, 1.5, axis=0, mode="nearest")
        across = normals(points)
    rows, t = spline.along(points, across, half_width, STEP)
    fit = _fit(rows, t, chords, radii)
    size = np.array(image.shape[::-1])
    inside = ((points > fit.radius[:, None]) & (points < size - 1 - fit.radius[:, None])).all(axis=1)
    cnr = fit.depth / fit.noise
    seen = ndimage.median_filter(cnr, 41, mode="nearest") >= 2
    return Lumen(
        points,
        across,
        arc_length(points),
        2 * fit.radius,
        fit.mu,
        fit.offset,
        fit.slope,
        sigma,
        fit.noise,
        cnr,
        inside & seen,
    )


class _Chords:
    """Chord templates of every radius with their background line taken out, and their derivatives by the radius."""

    def __init__(self, sigma: float, half_width: float) -> None:
        table = chord_table(sigma, TABLE_HALF_WIDTH, STEP)
        side, middle = round(half_width / STEP), table.shape[1] // 2
        count = int((half_width - 4) / RADIUS_STEP)
        full = table[:count, middle - side : middle + side + 1]
        self.radius = (np.arange(count) + 1) * RADIUS_STEP
        self.t = np.arange(-side, side + 1) * STEP
        self.full = full
        self.flat = _flatten(full, self.t)
        self.by_radius = np.gradient(self.flat, RADIUS_STEP, axis=0)
        self.energy = np.einsum("rk,rk->r", self.flat, self.flat)


def _flatten(rows: NDArray[Any], t: Rows) -> NDArray[np.float64]:
    """Rows (n, k) less their best line in t, which is symmetric about 0."""
    mean = rows.mean(axis=1, keepdims=True)
    return rows - mean - (rows @ t / (t @ t))[:, None] * t


@dataclass
class _Fit:
    radius: Rows
    mu: Rows
    offset: Rows
    slope: Rows
    depth: Rows
    noise: float


def _fit(rows: NDArray[np.float32], t: Rows, chords: _Chords, radii: Rows) -> _Fit:
    flat = _flatten(rows, t)
    match = flat @ chords.flat.T  # (n, radii)
    total = np.einsum("nk,nk->n", flat, flat)
    energy = _best(match, chords.energy, MU)  # (n, mu), of the best radius each
    left = np.maximum(total + energy.min(axis=1), 1e-12) / (len(t) - 4)
    weight = 1 / (left + np.median(left))
    cost = ndimage.gaussian_filter1d(energy * weight[:, None], MU_REACH, axis=0, mode="nearest")
    mu = _valley(cost)
    start = _start(match, chords.energy, mu) * RADIUS_STEP
    slope_of = flat @ chords.by_radius.T
    cross = np.einsum("rk,rk->r", chords.flat, chords.by_radius)
    stiff = np.einsum("rk,rk->r", chords.by_radius, chords.by_radius)
    variance = (left + np.median(left)) / 2 * (GRAIN / STEP) * GRAIN
    radius = _path(slope_of, cross, stiff, mu, start, variance, BEND / (2 * np.median(radii)))
    index = np.clip(radius / RADIUS_STEP - 1, 0, len(chords.radius) - 1.001)
    low = index.astype(int)
    part = (index - low)[:, None]
    model = mu[:, None] * ((1 - part) * chords.full[low] + part * chords.full[low + 1])
    rest = rows - model
    noise = float(1.4826 * np.median(np.abs(_flatten(rest, t))))
    return _Fit(radius, mu, rest.mean(axis=1), rest @ t / (t @ t), model.max(axis=1), max(noise, 1e-4))


@jit
def _best(match: NDArray[np.float64], energy: Rows, mus: Rows) -> NDArray[np.float64]:
    """Least mu^2 E(r) - 2 mu P(s, r) over r, for each row and each mu."""
    n, radii = match.shape
    out = np.zeros((n, mus.shape[0]))
    for i in range(n):
        for j in range(mus.shape[0]):
            mu = mus[j]
            least = 0.0
            for r in range(radii):
                value = mu * (mu * energy[r] - 2 * match[i, r])
                least = min(least, value)
            out[i, j] = least
    return out


@jit
def _start(match: NDArray[np.float64], energy: Rows, mu: Rows) -> Rows:
    """The radius of each row, in steps, with its mu held."""
    n, radii = match.shape
    out = np.ones(n)
    for i in range(n):
        least = 0.0
        for r in range(radii):
            value = mu[i] * energy[r] - 2 * match[i, r]
            if value < least:
                least = value
                out[i] = r + 1
    return out


def _valley(cost: NDArray[np.float64]) -> Rows:
    """Contrast coefficient of least cost per row, between the tried ones by a parabola in log mu."""
    rows = np.arange(len(cost))
    best = np.clip(cost.argmin(axis=1), 1, len(MU) - 2)
    a, b, c = cost[rows, best - 1], cost[rows, best], cost[rows, best + 1]
    bend = np.maximum(a - 2 * b + c, 1e-12)
    part = np.clip((a - c) / (2 * bend), -0.5, 0.5)
    mu: Rows = MU[best] * np.exp(part * np.log(MU[1] / MU[0]))
    return mu


def _path(
    slope_of: NDArray[np.float64], cross: Rows, stiff: Rows, mu: Rows, start: Rows, variance: Rows, bend: float
) -> Rows:
    """Radii that fit the rows and bend little along the vessel: Gauss-Newton on a pentadiagonal system.

    The second derivative is what the prior holds down, so neither a taper nor, to second order, a tip is rounded.
    """
    n = len(start)
    prior = np.zeros((3, n))
    prior[2] = 6
    prior[2, [0, -1]], prior[2, [1, -2]] = 1, 5
    prior[1, 1:] = -4
    prior[1, [1, -1]] = -2
    prior[0, 2:] = 1
    prior /= bend**2
    radius = signal.medfilt(start, 5)
    radius[[0, 1, -2, -1]] = start[[0, 1, -2, -1]]
    top = (len(cross) - 1) * RADIUS_STEP
    for _ in range(8):
        index = np.clip(radius / RADIUS_STEP - 1, 0, len(cross) - 1.001)
        low = index.astype(int)
        part = index - low
        rows = np.arange(n)
        pull = (1 - part) * slope_of[rows, low] + part * slope_of[rows, low + 1]
        push = (1 - part) * cross[low] + part * cross[low + 1]
        firm = (1 - part) * stiff[low] + part * stiff[low + 1]
        gradient = mu * (mu * push - pull) / variance
        gradient[2:] += (bent := np.diff(radius, 2) / bend**2)
        gradient[1:-1] -= 2 * bent
        gradient[:-2] += bent
        matrix = prior.copy()
        matrix[2] += mu**2 * firm / variance + 1e-9
        change = np.clip(solveh_banded(matrix, -gradient), -1, 1)
        radius = np.clip(radius + change, RADIUS_STEP, top)
        if np.abs(change).max() < 0.01:
            break
    return radius


def _shift(rows: NDArray[np.float32], chords: _Chords, radius: Rows, mu: Rows, half_width: float) -> Rows:
    """How far the vessel lies from the centreline, along the normal, in px; smooth along the vessel."""
    tried = np.arange(-8, 9)  # in steps
    index = np.clip(np.rint(radius / RADIUS_STEP).astype(int) - 1, 0, len(chords.radius) - 1)
    flat = _flatten(rows, chords.t) * mu[:, None]
    score = _correlate(flat, chords.flat[index], tried)
    score = ndimage.gaussian_filter1d(score, 3.0, axis=0, mode="nearest")
    at = np.arange(len(rows))
    best = np.clip(score.argmax(axis=1), 1, len(tried) - 2)
    a, b, c = score[at, best - 1], score[at, best], score[at, best + 1]
    part = np.clip((a - c) / np.minimum(2 * (a - 2 * b + c), -1e-12), -0.5, 0.5)
    shift = (tried[best] + part) * STEP
    return ndimage.gaussian_filter1d(shift, 2.0, mode="nearest")


@jit
def _correlate(
    rows: NDArray[np.float64], templates: NDArray[np.float64], shifts: NDArray[np.int64]
) -> NDArray[np.float64]:
    n, k = rows.shape
    out = np.zeros((n, shifts.shape[0]))
    for i in range(n):
        for j in range(shifts.shape[0]):
            low, high = max(0, shifts[j]), min(k, k + shifts[j])
            total = 0.0
            for c in range(low, high):
                total += rows[i, c] * templates[i, c - shifts[j]]
            out[i, j] = total
    return out
