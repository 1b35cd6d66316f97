"""What a round vessel looks like in projection: the chord through a disc, blurred by a Gaussian point spread."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NODES = 64  # of the quadrature: exact to 1e-6 as long as they lie closer than the blur, radius < 20 sigma
RADIUS_STEP = 0.125  # px


def blurred_chord(radius: NDArray[np.float64], t: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
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
    return out * (2 * radius[:, None] ** 2 / (sigma * np.sqrt(2 * np.pi)))


@lru_cache(maxsize=16)
def chord_table(sigma: float, half_width: float, step: float) -> NDArray[np.float64]:
    """Blurred chords of all radii up to ``half_width`` at steps of RADIUS_STEP: (radii, k), t as ``straighten``'s."""
    side = round(half_width / step)
    radii = np.arange(1, int(half_width / RADIUS_STEP) + 1) * RADIUS_STEP
    half = blurred_chord(radii, np.arange(side + 1) * step, sigma)
    table = np.concatenate([half[:, :0:-1], half], axis=1)
    table.setflags(write=False)
    return table
