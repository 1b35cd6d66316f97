"""Smooth vessel courses: a spline through way points on the heart, wandering the way vessels do."""

from __future__ import annotations

import math

import numpy as np

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.tree.heart import Floats, Heart, surface

STEP_MM = 0.5  # spacing of centreline points
GRID_MM = 2.0**-10  # centrelines lie on this grid, which swallows the last bits that differ between CPUs
_FINE_MM = 0.25
_REACH = 12  # fine steps to either side that a course is smoothed over: 3 mm


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
    depth = np.zeros(len(way)) if free else heart.depth(way)
    draws = rng.random((1 if free else 2, 4, 2))
    out: Floats = _course(np.column_stack([way, depth]), *heart.frame, draws, wander, wiggle, free)
    return out


def tangents(points: Floats) -> Floats:
    """Unit tangents (n, 3) of a polyline (n, 3), by central differences."""
    out: Floats = _tangents(points)
    return out


@jit
def _course(way: Floats, axes: Floats, semi: Floats, draws: Floats, wander: float, wiggle: float, free: bool) -> Floats:
    """``course`` after its draws.

    Args:
        way: way points with their depth (k, 4).
        axes, semi: the heart's unit vectors (3, 3) and its semi-axes ahead and behind (2, 3).
        draws: length and phase of the four waves of one sway or two (n, 4, 2).
    """
    points = _spline(way)
    if not free:  # the spline cuts the corners of the surface: give each point the depth the way points ask for
        for n in range(len(points)):
            x, y, z = points[n, 0], points[n, 1], points[n, 2]
            keep = 1.0 / surface(x, y, z, axes, semi)[3] - points[n, 3] / math.sqrt(x * x + y * y + z * z)
            points[n, 0], points[n, 1], points[n, 2] = x * keep, y * keep, z * keep
    points = _resample(points, _FINE_MM)
    tangent, along = _tangents(points), _length(points)
    aside = _sway(along, draws[0], wander, wiggle)
    lift = aside if free else _sway(along, draws[1], 0.2 * wander, 0.4 * wiggle)
    a, b, c = axes[0, 0], axes[0, 1], axes[0, 2]
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if not free:
            a, b, c, _ = surface(x, y, z, axes, semi)
        u, v, w = tangent[n, 0], tangent[n, 1], tangent[n, 2]
        i, j, k = b * w - c * v, c * u - a * w, a * v - b * u
        share = aside[n] / max(math.sqrt(i * i + j * j + k * k), 1e-6)
        x, y, z = x + share * i, y + share * j, z + share * k
        if not free:  # the same, flatter, through the fat under the epicardium
            i, j, k, _ = surface(x, y, z, axes, semi)
            x, y, z = x + lift[n] * i, y + lift[n] * j, z + lift[n] * k
        points[n, 0], points[n, 1], points[n, 2] = x, y, z
    points = _resample(_smooth(points), STEP_MM)
    for n in range(len(points)):
        for axis in range(3):
            points[n, axis] = np.rint(points[n, axis] / GRID_MM) * GRID_MM  # a zero keeps its sign
    return points


@jit
def _tangents(points: Floats) -> Floats:
    out = np.empty_like(points)
    last = len(points) - 1
    for n in range(last + 1):
        before, after = max(n - 1, 0), min(n + 1, last)
        total = 0.0
        for axis in range(3):
            out[n, axis] = (points[after, axis] - points[before, axis]) / (after - before)
            total += out[n, axis] * out[n, axis]
        size = max(math.sqrt(total), 1e-9)
        for axis in range(3):
            out[n, axis] /= size
    return out


@jit
def _length(points: Floats) -> Floats:
    """Arc length (n,) in mm from the first point."""
    out = np.zeros(len(points))
    for n in range(1, len(points)):
        x, y, z = points[n, 0] - points[n - 1, 0], points[n, 1] - points[n - 1, 1], points[n, 2] - points[n - 1, 2]
        out[n] = out[n - 1] + math.sqrt(x * x + y * y + z * z)
    return out


@jit
def _spline(way: Floats) -> Floats:
    """Akima spline (1970) through way points with their depth (k, 4), every quarter of a mm: no overshoot."""
    k = len(way)
    if k == 2:
        k, ends = 3, way
        way = np.empty((3, 4))
        for c in range(4):
            way[0, c], way[1, c], way[2, c] = ends[0, c], 0.5 * (ends[0, c] + ends[1, c]), ends[1, c]
        along = _length(ends)
        along = np.array([0.0, 0.5 * along[1], along[1]])
    else:
        along = _length(way)
    m, slope = np.empty((k + 3, 4)), np.empty((k, 4))  # between the points, with two more at either end; at them
    least = 0.0
    for c in range(4):
        for i in range(k - 1):
            m[i + 2, c] = (way[i + 1, c] - way[i, c]) / (along[i + 1] - along[i])
        m[1, c] = 2.0 * m[2, c] - m[3, c]
        m[0, c] = 2.0 * m[1, c] - m[2, c]
        m[k + 1, c] = 2.0 * m[k, c] - m[k - 1, c]
        m[k + 2, c] = 2.0 * m[k + 1, c] - m[k, c]
    for c in range(4):
        if c == 0 or c == 3:  # the depth's slopes do not say which of the places' are flat
            for i in range(k):
                for d in range(c + 1 if c == 3 else 3):
                    both = abs(m[i + 3, d] - m[i + 2, d]) + abs(m[i + 1, d] - m[i, d])
                    least = max(least, 1e-9 * both)
        for i in range(k):
            before, after = abs(m[i + 1, c] - m[i, c]), abs(m[i + 3, c] - m[i + 2, c])
            if after + before > least:
                slope[i, c] = m[i + 1, c] + before / (after + before) * (m[i + 2, c] - m[i + 1, c])
            else:
                slope[i, c] = 0.5 * (m[i + 3, c] + m[i, c])
    count = max(math.ceil(along[-1] / _FINE_MM), 8)
    out = np.empty((count + 1, 4))
    i = 0
    for n in range(count + 1):
        at = along[-1] if n == count else n * (along[-1] / count)
        while i < k - 2 and at >= along[i + 1]:
            i += 1
        wide, s = along[i + 1] - along[i], at - along[i]
        for c in range(4):
            t = (slope[i, c] + slope[i + 1, c] - 2.0 * m[i + 2, c]) / wide
            square = (m[i + 2, c] - slope[i, c]) / wide - t
            out[n, c] = way[i, c] + slope[i, c] * s + square * (s * s) + t / wide * (s * s * s)
    return out


@jit
def _resample(points: Floats, step: float) -> Floats:
    """Points (n, 3) on a polyline (m, 3 or more), about ``step`` mm apart, the last where it ends."""
    along = _length(points)
    count = max(round(along[-1] / step), 4)
    out = np.empty((count + 1, 3))
    i = 0
    for n in range(count + 1):
        at = n * (along[-1] / count)
        while i < len(points) - 2 and at >= along[i + 1]:
            i += 1
        for c in range(3):
            rise = (points[i + 1, c] - points[i, c]) / (along[i + 1] - along[i])
            out[n, c] = points[-1, c] if n == count else rise * (at - along[i]) + points[i, c]
    return out


@jit
def _sway(along: Floats, draws: Floats, wander: float, wiggle: float) -> Floats:
    """Sideways offset (n,) in mm: sines of drawn wavelength and phase (4, 2), held at zero at the origin."""
    total = along[-1]
    hold = min(12.0, 0.5 * total)
    slow, out = min(total / 60.0, 1.0), np.empty_like(along)
    for n in range(len(along)):
        ripple = 0.0
        for k in range(4):
            low, high = (25.0, 60.0) if k < 2 else (10.0, 18.0)
            wave, phase = low + (high - low) * draws[k, 0], 2.0 * math.pi * draws[k, 1]
            sine = math.sin(2.0 * math.pi * along[n] / wave + phase) * (0.65 if k % 2 == 0 else 0.45)
            ripple += wander * sine * slow if k < 2 else wiggle * sine * (along[n] / total)
        rise = min(along[n] / hold, 1.0)
        out[n] = ripple * rise * rise * (3.0 - 2.0 * rise)
    return out


@jit
def _smooth(points: Floats) -> Floats:
    """Hann-weighted moving mean with both ends held (odd reflection)."""
    last = len(points) - 1
    reach = min(_REACH, last)
    out, total = np.zeros_like(points), 0.0
    for k in range(-reach, reach + 1):
        weight = 0.5 + 0.5 * math.cos(math.pi * k / (reach + 1))
        total += weight
        for n in range(last + 1):
            at = n + k
            for c in range(3):
                if at < 0:
                    value = 2.0 * points[0, c] - points[-at, c]
                elif at > last:
                    value = 2.0 * points[last, c] - points[2 * last - at, c]
                else:
                    value = points[at, c]
                out[n, c] += weight * value
    for n in range(last + 1):
        for c in range(3):
            out[n, c] /= total
    return out
