"""The densitometric lumen: a round vessel fitted to the attenuation across it, its contrast coefficient held locally.

Across a vessel -log(grey) is a background line plus mu times the chord through a disc, blurred by the system's point
spread. One row alone cannot tell a wide pale vessel from a narrow dark one, so mu is taken from all rows of the
neighbourhood together (the value under which they fit best with a radius of their own each), and the radii follow with
mu held: then the depth of the profile counts, and a lumen far below the blur still has a diameter.

What it measures is the diameter of the circle of the same area. That is right for round lumens; one that is narrow in
the view and deep along the beam reads too wide (half the width at full depth as 29 %DS near the blur, 36 in a wide
vessel). Not to be believed for vessels under 6 px, beyond 90 %DS, and as an absolute %DS of a lesion that nobody drew:
side branches and the background make healthy vessels wander by about 10 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.vessel.chord import RADIUS_STEP, STEP, Chords, chord_tables, line_of, without_line
from lesionforge.generators.vessel.graph import arc_length
from lesionforge.generators.vessel.kernels import (
    best_radius,
    correlate,
    least_cost,
    lowest,
    mean_along,
    products,
    smooth_path,
)
from lesionforge.generators.vessel.order import median, quantile
from lesionforge.generators.vessel.profile import Points, Spline, attenuation, normals

Rows = NDArray[np.float64]
Table = NDArray[np.float64]

WIDEST = 40  # px, half-width of the largest window
PSF_SIGMA = 1.0  # px, where nobody knows better; half a pixel off costs about half a point of %DS
MU = np.geomspace(0.004, 0.25, 24)  # per px, the contrast coefficients tried
MU_REACH = 25.0  # rows, sd of the neighbourhood that shares one mu
MU_WEIGHTS = np.exp(-0.5 * (np.arange(int(2.5 * MU_REACH + 0.5) + 1) / MU_REACH) ** 2)
MU_WEIGHTS /= 2 * MU_WEIGHTS.sum() - 1
LINE_REACH = 4.0  # rows, sd of the neighbourhood that shares one background line
BEND = 1.25  # times 1 / diameter: sd of the radius' second derivative along the vessel, that of a cosine lesion
SHIFT_REACH = 8  # samples, how far off the centreline may be
GRAIN = 2.3  # px, integral of the noise's correlation along one axis (white noise blurred by .65 px)


@dataclass(frozen=True)
class Lumen:
    """A vessel fitted row by row; row i belongs to point i of the centreline that was given.

    ``points`` (n, 2) recentred, ``normals`` (n, 2), ``s`` (n,) arc length in px, ``diameter`` (n,) of the circle of the
    same area in px, ``mu`` (n,) per px, ``offset`` and ``slope`` (n,) of the background line in attenuation and per px,
    ``psf_sigma`` px, ``noise_sd`` of the attenuation, ``cnr`` (n,) the row's depth over the noise, ``valid`` (n,):
    inside the picture and where the neighbourhood has contrast.
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

    kind: ClassVar[Literal["densitometric"]] = "densitometric"


def fit_lumen(image: NDArray[Any], points: Points, radii: Rows, psf_sigma: float | None = None) -> Lumen:
    """Fit a round, blurred vessel along a centreline.

    Args:
        image: grey levels 0 ... 255 (rows, cols), vessels dark.
        points: (n, 2) x, y about 1 px apart, within half a radius of the vessel's middle.
        radii: (n,) px, roughly (the mask's): how far to look, not what to find.
        psf_sigma: of the system's point spread in px; PSF_SIGMA if None.

    Raises ValueError for fewer than 8 points, and for vessels wider than the largest window can hold.
    """
    sigma = PSF_SIGMA if psf_sigma is None else float(psf_sigma)
    half_width = window(radii)
    spline = Spline(attenuation(image), points, half_width + 4)
    across = normals(points)
    rows, _ = spline.along(points, across, half_width, STEP)
    fit = _fit(rows, sigma, half_width)
    for _ in range(2):
        points = points + _shift(rows, fit)[:, None] * across
        across = normals(points)
        rows, _ = spline.along(points, across, half_width, STEP)
    fit = _fit(rows, sigma, half_width).with_shared_line()
    radius = fit.radius.copy()
    # The point spread also works along the vessel, which a row knows nothing of: it fills a tip. Undone to first order.
    radius[1:-1] = np.maximum(radius[1:-1] - 0.5 * sigma**2 * np.diff(radius, 2), RADIUS_STEP)
    size = np.array(image.shape[::-1])
    inside = ((points > radius[:, None]) & (points < size - 1 - radius[:, None])).all(axis=1)
    noise = fit.noise()
    cnr = fit.mu * fit.chords.deepest(radius) / noise
    seen = scipy.ndimage.median_filter(cnr, 41, mode="nearest") >= 2
    s = arc_length(points)
    line = fit.offset, fit.slope
    return Lumen(points, across, s, 2 * radius, fit.mu, *line, sigma, noise, cnr, inside & seen)


def window(radii: Rows) -> int:
    """Half-width in px of the window across a vessel: the vessel and as much background beside it.

    Raises ValueError for fewer than 8 rows, and for vessels that leave no background in the widest window.
    """
    if len(radii) < 8:
        raise ValueError(f"a centreline of {len(radii)} points is too short to measure: give 8 or more")
    wide = quantile(radii, 0.95)
    half_width = int(np.ceil(1.5 * wide + 6))
    if half_width > WIDEST:
        raise ValueError(f"a vessel of radius {wide:.0f} px is too wide to measure: downsample the picture")
    return half_width


@dataclass
class _Fit:
    rows: Table
    chords: Chords
    radius: Rows
    mu: Rows
    variance: Rows
    bend: float

    def __post_init__(self) -> None:
        self.drawn = self.chords.at(self.radius)
        self.rest = self.rows - self.mu[:, None] * self.drawn
        self.offset, self.slope = line_of(self.rest, self.chords.t)

    def noise(self) -> float:
        """Standard deviation of what is left, by its median: some rows have a side branch."""
        return max(float(1.4826 * np.median(np.abs(without_line(self.rest, self.chords.t)))), 1e-4)

    def with_shared_line(self) -> _Fit:
        """The radii again, the background line now smooth along the vessel: fewer unknowns, less noise."""
        level, slope = (
            scipy.ndimage.gaussian_filter1d(a, LINE_REACH, mode="nearest") for a in (self.offset, self.slope)
        )
        rest = self.rows - level[:, None] - slope[:, None] * self.chords.t
        c = self.chords
        near = c.by_radius, c.push, c.firm
        radius = smooth_path(rest, *near, self.mu, self.variance, self.radius, self.bend, RADIUS_STEP)
        return _Fit(self.rows, c, radius, self.mu, self.variance, self.bend)


def _shift(rows: NDArray[np.float32], fit: _Fit) -> Rows:
    """How far the vessel lies from the centreline along the normal, in px: where the fitted chords match the rows."""
    flat, chords = (without_line(a, fit.chords.t) for a in (rows.astype(np.float64), fit.drawn))
    score = correlate(flat, chords, SHIFT_REACH)
    score = scipy.ndimage.gaussian_filter1d(fit.mu[:, None] * score, 3.0, axis=0, mode="nearest")
    shifts: Rows = scipy.ndimage.gaussian_filter1d((lowest(-score) - SHIFT_REACH) * STEP, 3.0, mode="nearest")
    return shifts


def _fit(rows: NDArray[np.float32], sigma: float, half_width: int) -> _Fit:
    """Radius and contrast coefficient of each row, a background line of its own under each."""
    chords, bare = chord_tables(sigma, half_width)
    flat = without_line(rows.astype(np.float64), bare.t)
    match = products(flat, bare.columns)
    cost = least_cost(match, bare.energy, MU)
    left = np.maximum(np.einsum("nk,nk->n", flat, flat) + cost.min(axis=1), 1e-9) / (len(bare.t) - 4)
    left = left + median(left)  # a row that fits badly counts less, one that fits by chance no more
    mu = MU[0] * (MU[1] / MU[0]) ** lowest(mean_along(cost / left[:, None], MU_WEIGHTS))
    start = bare.radius[best_radius(match, bare.energy, mu)]
    start[2:-2] = scipy.ndimage.median_filter(start, 5)[2:-2]
    bend = BEND / (2 * median(start))
    variance = left / 2 * GRAIN * GRAIN / STEP
    radius = smooth_path(flat, bare.by_radius, bare.push, bare.firm, mu, variance, start, bend, RADIUS_STEP)
    return _Fit(rows.astype(np.float64), chords, radius, mu, variance, bend)
