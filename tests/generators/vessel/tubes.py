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


def line(angle_deg: float, length: float = 160, at: tuple[float, float] = (96.0, 96.0)) -> NDArray[np.float64]:
    """A straight centreline, points every .1 px."""
    s = np.arange(-length / 2, length / 2 + 1e-9, 0.1)
    return np.array(at) + s[:, None] * np.array([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))])


def arc(bend_radius: float, angle_deg: float = 0, length: float = 160) -> NDArray[np.float64]:
    """A circular arc, points every .1 px, its middle at (96, 96)."""
    phi = np.arange(-length / 2, length / 2 + 1e-9, 0.1) / bend_radius
    local = bend_radius * np.column_stack([np.sin(phi), np.cos(phi) - 1])
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([96.0, 96.0]) + local @ np.array([[c, s], [-s, c]])


def lesion(width: float, percent_ds: float, half_length: float, taper: float = 0.0) -> Diameter:
    """Diameter against arc length from the middle: a cosine narrowing on a vessel that tapers (px per px)."""

    def diameter(s: NDArray[np.float64]) -> NDArray[np.float64]:
        bump = np.where(np.abs(s) < half_length, 0.5 + 0.5 * np.cos(np.pi * s / half_length), 0)
        return (width - taper * s) * (1 - percent_ds / 100 * bump)

    return diameter


def grain(shape: tuple[int, int], sd: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of a real frame's correlation: white noise blurred by .65 px (study: rho(1) about .55)."""
    white = rng.standard_normal((shape[0] + 16, shape[1] + 16))
    return ndimage.gaussian_filter(white, 0.65)[8:-8, 8:-8] * (sd * 2 * 0.65 * np.sqrt(np.pi))


def render(
    centre: NDArray[np.float64],
    diameter: Diameter,
    rng: np.random.Generator | None,
    mu: float,
    psf: float = 0.9,
    noise: float = 3.4,
    size: int = 192,
    depth: float | None = None,
) -> Tube:
    """``centre`` (n, 2) every .1 px; ``mu`` per px; ``noise`` grey levels, none without ``rng``.

    ``depth``: of the lumen along the beam in px, the same everywhere, its section an ellipse; None a circle.
    """
    s = np.arange(len(centre)) * 0.1 - (len(centre) - 1) * 0.05
    d = diameter(s)
    tree = cKDTree(centre)
    near = np.ones((size, size), bool)
    inside = np.rint(centre).astype(int)
    inside = inside[((inside >= 0) & (inside < size)).all(axis=1)]
    near[inside[:, 1], inside[:, 0]] = False
    near = ndimage.distance_transform_edt(near) < d.max() / 2 + 2
    axis = (np.arange(size * FINE) + 0.5) / FINE - 0.5
    x, y = np.meshgrid(axis, axis)
    fine = np.kron(near, np.ones((FINE, FINE), bool))
    distance, nearest = tree.query(np.column_stack([x[fine], y[fine]]))
    path = np.zeros(fine.shape)
    path[fine] = 2 * np.sqrt(np.maximum((d[nearest] / 2) ** 2 - distance**2, 0))
    if depth is not None:
        path[fine] *= depth / d[nearest]
    grey = 118 * np.exp(-0.0004 * (x - 96) - 0.0007 * (y - 96) - mu * path)
    grey = ndimage.gaussian_filter(grey, psf * FINE).reshape(size, FINE, size, FINE).mean(axis=(1, 3))
    if rng is not None:
        grey = grey + grain((size, size), noise, rng)
    rows, cols = np.nonzero(near)
    distance, nearest = tree.query(np.column_stack([cols, rows]))
    mask = np.zeros((size, size), bool)
    mask[rows, cols] = (distance < d[nearest] / 2) & (nearest > 0) & (nearest < len(centre) - 1)
    return Tube(np.clip(np.rint(grey), 0, 255).astype(np.uint8), mask, centre[::10], d[::10])


@dataclass(frozen=True)
class Case:
    """A tube and what is in it."""

    width: float
    percent_ds: float
    half_length: float
    shape: str
    tube: Tube


@dataclass(frozen=True)
class Frame:
    """A real frame: ``boxes`` of its drawn lesions [x, y, w, h]."""

    name: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    boxes: list[list[float]]
