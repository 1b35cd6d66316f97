"""What a round vessel looks like in projection: the chord through a disc, blurred by a Gaussian point spread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

Rows = NDArray[np.float64]
Table = NDArray[np.float64]

NODES = 64  # of the quadrature: exact to 1e-6 as long as they lie closer than the blur, radius < 20 sigma
RADIUS_STEP = 0.125  # px between tabulated radii
STEP = 0.5  # px between samples across the vessel: the pixels hold no more


def blurred_chord(radius: Rows, t: Rows, sigma: float) -> Table:
    """Path length 2 sqrt(r^2 - t^2) through a cylinder, blurred across it: shape (radii, t), in px.

    ``radius`` (m,), ``t`` (k,) distance from the axis and ``sigma`` > 0 in px. Gauss-Chebyshev quadrature of the second
    kind over the disc, whose weight sqrt(1 - u^2) is the chord itself, so the mass over t is pi r^2 whatever sigma.
    """
    angle = np.arange(1, NODES + 1) * np.pi / (NODES + 1)
    nodes, weights = np.cos(angle), np.pi / (NODES + 1) * np.sin(angle) ** 2
    out = np.zeros((len(radius), len(t)))
    for node, weight in zip(nodes, weights, strict=True):
        distance = (t - radius[:, None] * node) / sigma
        out += weight * np.exp(-0.5 * distance**2)
    out *= 2 * radius[:, None] ** 2 / (sigma * np.sqrt(2 * np.pi))
    return out


@dataclass(frozen=True)
class Chords:
    """Blurred chords of every radius over one window, and what a least-squares fit needs of them.

    ``radius`` (m,) px at steps of RADIUS_STEP, ``t`` (k,) px; ``full`` (m, k) the chords, ``columns`` (k, m) the same
    by columns, ``by_radius`` (m, k) their derivative; (m,) each: ``energy`` sum of squares of a chord, ``push`` chord
    times derivative, ``firm`` derivative squared.
    """

    radius: Rows
    t: Rows
    full: Table
    columns: Table
    by_radius: Table
    energy: Rows
    push: Rows
    firm: Rows

    @classmethod
    def of(cls, full: Table, radius: Rows, t: Rows) -> Chords:
        by_radius = np.gradient(full, RADIUS_STEP, axis=0)
        squares = (np.einsum("rk,rk->r", a, b) for a, b in ((full, full), (full, by_radius), (by_radius, by_radius)))
        return cls(radius, t, full, np.ascontiguousarray(full.T), by_radius, *squares)

    def at(self, radius: Rows) -> Table:
        """Chords of any radii (n,), between the tabulated ones: (n, k)."""
        return _between(self.full, radius / RADIUS_STEP - 1)

    def deepest(self, radius: Rows) -> Rows:
        """The most of each chord (n,), which it has at its middle."""
        middle = len(self.t) // 2
        return _between(np.ascontiguousarray(self.full[:, middle : middle + 1]), radius / RADIUS_STEP - 1)[:, 0]


@jit
def _between(table: Table, place: Rows) -> Table:
    """Rows of a table (m, k) at places between them."""
    m, k = table.shape
    out = np.empty((place.shape[0], k))
    for i in range(place.shape[0]):
        at = min(max(place[i], 0.0), m - 1.001)
        part = at - int(at)
        low, high, own = table[int(at)], table[int(at) + 1], out[i]
        for j in range(k):
            own[j] = (1 - part) * low[j] + part * high[j]
    return out


@lru_cache(maxsize=64)
def chord_tables(sigma: float, half_width: int) -> tuple[Chords, Chords]:
    """Chords over -half_width ... half_width at steps of STEP, as they are and with their best line in t taken out.

    Radii up to half_width - 4 px, so that background remains on both sides.
    """
    side = round(half_width / STEP)
    t: Rows = np.arange(-side, side + 1) * np.float64(STEP)
    radius: Rows = np.arange(1, int((half_width - 4) / RADIUS_STEP) + 1) * np.float64(RADIUS_STEP)
    half = blurred_chord(radius, t[side:], sigma)
    full = np.concatenate([half[:, :0:-1], half], axis=1)
    return Chords.of(full, radius, t), Chords.of(without_line(full, t), radius, t)


@jit
def without_line(rows: Table, t: Rows) -> Table:
    """Rows (n, k) less each one's best line in t (k,), which is symmetric about 0."""
    level, slope = line_of(rows, t)
    out = np.empty(rows.shape)
    for i in range(rows.shape[0]):
        for j in range(t.shape[0]):
            out[i, j] = rows[i, j] - level[i] - slope[i] * t[j]
    return out


@jit
def line_of(rows: Table, t: Rows) -> tuple[Rows, Rows]:
    """Level at t = 0 and slope (n,) of each row's best line in t (k,), which is symmetric about 0."""
    n, k = rows.shape
    level, slope, square = np.zeros(n), np.zeros(n), 0.0
    for j in range(k):
        square += t[j] * t[j]
    for i in range(n):
        for j in range(k):
            level[i] += rows[i, j]
            slope[i] += rows[i, j] * t[j]
        level[i] /= k
        slope[i] /= square
    return level, slope
