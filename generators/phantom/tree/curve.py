"""Smooth vessel courses: a spline through way points on the heart, wandering the way vessels do."""

from __future__ import annotations

import math

import numpy as np
import scipy

from lesionforge.generators.phantom.tree.heart import Floats, Heart

STEP_MM = 0.5  # spacing of centreline points
GRID_MM = 2.0**-10  # centrelines lie on this grid, which swallows the last bits that differ between CPUs
_FINE_MM = 0.25


def course(rng: np.random.Generator, heart: Heart, way: Floats, *, wander: float, wiggle: float, free: bool) -> Floats:
    """A smooth centreline (n, 3) in mm, about ``STEP_MM`` apart, from the first way point to the last.

    Args:
        rng: draws the wander.
        heart: the surface.
        way: way points (k, 3), k >= 2, LPS mm, at any depth.
        wander: amplitude in mm of the slow sideways wander (25 to 60 mm long waves).
        wiggle: amplitude in mm of the fast one (10 to 18 mm), which grows towards the far end: small distal
            vessels are the tortuous ones.
        free: whether the vessel leaves the surface (septals); otherwise it keeps the depth of its way points.
    """
    points = _spline(way)
    if not free:
        # the spline cuts the corners of the surface: give each point the depth the way points ask for
        depth = _spline(np.column_stack([way, heart.depth(way)]))[:, 3]
        points = heart.onto(points, depth)
    points = _resample(points, _FINE_MM)
    tangent = tangents(points)
    across = np.cross(heart.axes[0] if free else heart.normal(points), tangent)
    across /= np.maximum(np.sqrt((across * across).sum(axis=1)), 1e-6)[:, None]
    along = _length(points)
    points = points + _sway(rng, along, wander, wiggle)[:, None] * across
    if not free:  # the same, flatter, through the fat under the epicardium
        points = points + _sway(rng, along, 0.2 * wander, 0.4 * wiggle)[:, None] * heart.normal(points)
    points = _smooth(points, reach=round(3.0 / _FINE_MM))
    out: Floats = np.rint(_resample(points, STEP_MM) / GRID_MM) * GRID_MM
    return out


def tangents(points: Floats) -> Floats:
    """Unit tangents (n, 3) of a polyline (n, 3), by central differences."""
    step = np.gradient(points, axis=0)
    out: Floats = step / np.maximum(np.sqrt((step * step).sum(axis=1)), 1e-9)[:, None]
    return out


def _length(points: Floats) -> Floats:
    """Arc length (n,) in mm from the first point."""
    step = np.diff(points, axis=0)
    return np.concatenate([[0.0], np.cumsum(np.sqrt((step * step).sum(axis=1)))])


def _spline(way: Floats) -> Floats:
    """Akima spline through rows whose first three columns are a position: no overshoot, and no LAPACK."""
    along = _length(way[:, :3])
    if len(way) == 2:
        way = np.stack([way[0], 0.5 * (way[0] + way[1]), way[1]])
        along = np.array([0.0, 0.5 * along[1], along[1]])
    count = max(math.ceil(along[-1] / _FINE_MM), 8)
    out: Floats = scipy.interpolate.Akima1DInterpolator(along, way)(np.linspace(0.0, along[-1], count + 1))
    return out


def _resample(points: Floats, step: float) -> Floats:
    along = _length(points)
    at = np.linspace(0.0, along[-1], max(round(along[-1] / step), 4) + 1)
    return np.stack([np.interp(at, along, points[:, k]) for k in range(3)], axis=1)


def _sway(rng: np.random.Generator, along: Floats, wander: float, wiggle: float) -> Floats:
    """Sideways offset (n,) in mm: sines of drawn wavelength and phase, held at zero at the origin."""
    total = along[-1]
    out = np.zeros_like(along)
    for amplitude, low, high, distal in ((wander, 25.0, 60.0, False), (wiggle, 10.0, 18.0, True)):
        for share in (0.65, 0.45):
            wave, phase = rng.uniform(low, high), rng.uniform(0.0, 2.0 * math.pi)
            ripple = amplitude * share * np.sin(2.0 * math.pi * along / wave + phase)
            out += ripple * (along / total) if distal else ripple * min(total / 60.0, 1.0)
    rise = np.minimum(along / min(12.0, 0.5 * total), 1.0)
    held: Floats = out * rise * rise * (3.0 - 2.0 * rise)
    return held


def _smooth(points: Floats, reach: int) -> Floats:
    """Hann-weighted moving mean with both ends held (odd reflection)."""
    reach = min(reach, len(points) - 1)
    before = 2.0 * points[0] - points[reach:0:-1]
    after = 2.0 * points[-1] - points[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, points, after])
    out, total = np.zeros_like(points), 0.0
    for k in range(-reach, reach + 1):
        weight = 0.5 + 0.5 * math.cos(math.pi * k / (reach + 1))
        out += weight * padded[reach + k : reach + k + len(points)]
        total += weight
    smooth: Floats = out / total
    return smooth
