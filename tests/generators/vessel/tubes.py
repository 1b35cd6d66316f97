"""Angiograms of tubes whose diameter is known, rendered without a line of the code under test.

Chord integrals at the nearest point of a finely sampled centreline, four samples a pixel in each direction, blurred as
intensities by scipy, averaged to pixels, with noise of a real frame's size and correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

FINE = 4  # samples per pixel and axis
Diameter = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Tube:
    """``image`` uint8; ``mask`` bool (pixel centres inside); ``points`` (n, 2) x, y every 1 px; ``diameter`` (n,)."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    points: NDArray[np.float64]
    diameter: NDArray[np.float64]

    @property
    def middle(self) -> int:
        return len(self.points) // 2


def line(angle_deg: float, length: float = 120, at: tuple[float, float] = (80.0, 80.0)) -> NDArray[np.float64]:
    s = np.arange(-length / 2, length / 2 + 1e-9, 0.1)
    way = np.array([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))])
    return np.array(at) + s[:, None] * way


def arc(bend_radius: float, angle_deg: float = 0, length: float = 120) -> NDArray[np.float64]:
    """A circular arc through (80, 80) at its middle."""
    phi = np.arange(-length / 2, length / 2 + 1e-9, 0.1) / bend_radius
    local = bend_radius * np.column_stack([np.sin(phi), np.cos(phi) - 1])
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([80.0, 80.0]) + local @ np.array([[c, s], [-s, c]])


def lesion(width: float, percent_ds: float, half_length: float, taper: float = 0.0) -> Diameter:
    """Diameter against arc length from the middle: a cosine narrowing on a vessel that tapers (px per px)."""

    def diameter(s: NDArray[np.float64]) -> NDArray[np.float64]:
        bump = np.where(np.abs(s) < half_length, 0.5 + 0.5 * np.cos(np.pi * s / half_length), 0)
        return (width - taper * s) * (1 - percent_ds / 100 * bump)

    return diameter


def render(
    centre: NDArray[np.float64],
    diameter: Diameter,
    rng: np.random.Generator | None,
    mu: float,
    psf: float = 0.9,
    noise: float = 3.4,
    size: int = 160,
) -> Tube:
    """``centre`` (n, 2) every .1 px; ``mu`` per px. Without ``rng`` no noise."""
    s = np.arange(len(centre)) * 0.1 - (len(centre) - 1) * 0.05
    d = diameter(s)
    axis = (np.arange(size * FINE) + 0.5) / FINE - 0.5
    x, y = np.meshgrid(axis, axis)
    pixels = np.column_stack([x.ravel(), y.ravel()])
    distance, nearest = cKDTree(centre).query(pixels, distance_upper_bound=float(d.max()))
    hit = np.isfinite(distance)
    path = np.zeros(len(pixels))
    radius = d[nearest[hit]] / 2
    path[hit] = 2 * np.sqrt(np.maximum(radius**2 - distance[hit] ** 2, 0))
    grey = 118 * np.exp(-0.0004 * (x - 80) - 0.0007 * (y - 80) - mu * path.reshape(x.shape))
    grey = ndimage.gaussian_filter(grey, psf * FINE).reshape(size, FINE, size, FINE).mean(axis=(1, 3))
    if rng is not None:
        grain = ndimage.gaussian_filter(rng.standard_normal((size + 16, size + 16)), 0.65)[8:-8, 8:-8]
        grey = grey + grain * (noise * 2 * 0.65 * np.sqrt(np.pi))
    image = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    at = np.column_stack([g.ravel() for g in np.meshgrid(np.arange(size), np.arange(size))])
    distance, nearest = cKDTree(centre).query(at)
    ends = (nearest == 0) | (nearest == len(centre) - 1)
    mask = ((distance < d[nearest] / 2) & ~ends).reshape(size, size)
    return Tube(image, mask, centre[::10], d[::10])
