"""Smooth vessel courses: a spline through way points on the heart, wandering the way vessels do.

Loops over the points of a course are compiled, one small function each: one large one takes four times as long to
compile. What is worked out once a course is left to NumPy.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.tree.heart import Floats, Heart

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
    points = _spline(np.column_stack([way, depth]))
    if not free:  # the spline cuts the corners of the surface: give each point the depth the way points ask for
        points = heart.onto(points, points[:, 3])
    points = _resample(points, _FINE_MM)
    along = _length(points)
    if free:
        normal = np.empty((len(points), 5))
        normal[:, :3] = heart.axes[0]
    else:
        normal = heart.chart(points)
    off = np.empty(len(points))
    _sway(along, draws[0], wander, wiggle, off)
    _shift(points.copy(), normal, off, points)
    if not free:  # the same, flatter, through the fat under the epicardium
        _sway(along, draws[1], 0.2 * wander, 0.4 * wiggle, off)
        points += off[:, None] * heart.normal(points)
    out: Floats = np.rint(_resample(_smooth(points), STEP_MM) / GRID_MM) * GRID_MM  # a zero keeps its sign
    return out


def tangent(points: Floats, index: int) -> Floats:
    """Unit tangent (3,) of a polyline (n, 3) at one of its points, by central differences."""
    before, after = max(index - 1, 0), min(index + 1, len(points) - 1)
    step: Floats = (points[after] - points[before]) / (after - before)
    x, y, z = step.tolist()
    return step / max(math.sqrt(x * x + y * y + z * z), 1e-9)


def _spline(way: Floats) -> Floats:
    """Akima spline (1970) through way points with their depth (k, 4), every quarter of a mm: no overshoot."""
    along = _length(way)
    if len(way) == 2:
        way, along = np.stack([way[0], 0.5 * (way[0] + way[1]), way[1]]), np.array([0.0, 0.5 * along[1], along[1]])
    wide = (along[1:] - along[:-1])[:, None]
    m = np.empty((len(way) + 3, 4))  # slopes between the points, with two more at either end
    m[2:-2] = (way[1:] - way[:-1]) / wide
    m[1] = 2.0 * m[2] - m[3]
    m[0] = 2.0 * m[1] - m[2]
    m[-2] = 2.0 * m[-3] - m[-4]
    m[-1] = 2.0 * m[-2] - m[-3]
    turn = np.abs(m[1:] - m[:-1])
    both = turn[2:] + turn[:-2]
    *place, depth = (1e-9 * both.max(axis=0)).tolist()
    flat = max(place)  # the depth's slopes do not say which of the places' are flat
    bent = both > np.array([flat, flat, flat, max(flat, depth)])
    akima = m[1:-2] + turn[:-2] / np.where(bent, both, 1.0) * (m[2:-1] - m[1:-2])
    slope = np.where(bent, akima, 0.5 * (m[3:] + m[:-3]))
    cube = (slope[:-1] + slope[1:] - 2.0 * m[2:-2]) / wide
    square = (m[2:-2] - slope[:-1]) / wide - cube
    terms = np.array([way[:-1], slope[:-1], square, cube / wide])
    return _places(along, terms, max(math.ceil(along[-1] / _FINE_MM), 8))


def _resample(points: Floats, step: float) -> Floats:
    """Points (n, 3) on a polyline (m, 3 or more), about ``step`` mm apart, the last where it ends."""
    along, points = _length(points), points[:, :3]
    legs = (points[1:] - points[:-1]) / (along[1:] - along[:-1])[:, None]
    out = _places(along, np.array([points[:-1], legs]), max(round(along[-1] / step), 4))
    out[-1] = points[-1]
    return out


def _places(along: Floats, terms: Floats, count: int) -> Floats:
    """Values (count + 1, c), evenly spaced, of a piecewise polynomial: knots (k,) and terms (order, k - 1, c)."""
    at = np.arange(count + 1) * (along[-1] / count)
    at[-1] = along[-1]
    out = np.empty((count + 1, terms.shape[2]))
    _evaluate(at, along, terms, out)
    return out


@jit
def _evaluate(at: Floats, along: Floats, terms: Floats, out: Floats) -> None:
    i = 0
    for n in range(len(at)):
        while i < len(along) - 2 and at[n] >= along[i + 1]:
            i += 1
        for c in range(out.shape[1]):
            total, power = terms[0, i, c], at[n] - along[i]
            for order in range(1, len(terms)):
                total += terms[order, i, c] * power
                power *= at[n] - along[i]
            out[n, c] = total


def _length(points: Floats) -> Floats:
    """Arc length (n,) in mm from the first point; columns after the third do not count."""
    out = np.empty(len(points))
    _lengthen(points, out)
    return out


@jit
def _lengthen(points: Floats, out: Floats) -> None:
    total = out[0] = 0.0
    for n in range(1, len(points)):
        square = 0.0
        for axis in range(3):
            step = points[n, axis] - points[n - 1, axis]
            square += step * step
        total += math.sqrt(square)
        out[n] = total


@jit
def _sway(along: Floats, draws: Floats, wander: float, wiggle: float, out: Floats) -> None:
    """Sideways offset (n,) in mm: sines of drawn wavelength and phase (4, 2), held at zero at the origin."""
    total = along[-1]
    hold = min(12.0, 0.5 * total)
    slow = min(total / 60.0, 1.0)
    for n in range(len(along)):
        ripple = 0.0
        for k in range(4):
            low, high = (25.0, 60.0) if k < 2 else (10.0, 18.0)
            wave, phase = low + (high - low) * draws[k, 0], 2.0 * math.pi * draws[k, 1]
            sine = math.sin(2.0 * math.pi * along[n] / wave + phase) * (0.65 if k % 2 == 0 else 0.45)
            ripple += wander * sine * slow if k < 2 else wiggle * sine * (along[n] / total)
        rise = min(along[n] / hold, 1.0)
        out[n] = ripple * rise * rise * (3.0 - 2.0 * rise)


@jit
def _shift(points: Floats, normal: Floats, aside: Floats, out: Floats) -> None:
    """Move points (n, 3) by ``aside`` (n,) mm, at right angles to the course and to normals (n, 3 or more)."""
    last = len(points) - 1
    for n in range(last + 1):
        before = max(n - 1, 0)
        after = min(n + 1, last)
        u = (points[after, 0] - points[before, 0]) / (after - before)
        v = (points[after, 1] - points[before, 1]) / (after - before)
        w = (points[after, 2] - points[before, 2]) / (after - before)
        size = max(math.sqrt(u * u + v * v + w * w), 1e-9)
        u /= size
        v /= size
        w /= size
        i = normal[n, 1] * w - normal[n, 2] * v
        j = normal[n, 2] * u - normal[n, 0] * w
        k = normal[n, 0] * v - normal[n, 1] * u
        share = aside[n] / max(math.sqrt(i * i + j * j + k * k), 1e-6)
        out[n, 0] += share * i
        out[n, 1] += share * j
        out[n, 2] += share * k


def _smooth(points: Floats) -> Floats:
    """Hann-weighted moving mean with both ends held (odd reflection)."""
    reach = min(_REACH, len(points) - 1)
    weights, whole = _hann(reach)
    ends = 2.0 * points[0] - points[reach:0:-1], 2.0 * points[-1] - points[-2 : -reach - 2 : -1]
    out = np.empty_like(points)
    _mean(np.concatenate([ends[0], points, ends[1]]), weights, out)
    out /= whole
    return out


@functools.cache
def _hann(reach: int) -> tuple[Floats, float]:
    """Weights (2 reach + 1,) and their sum."""
    weights = [0.5 + 0.5 * math.cos(math.pi * k / (reach + 1)) for k in range(-reach, reach + 1)]
    return np.array(weights), sum(weights)


@jit
def _mean(padded: Floats, weights: Floats, out: Floats) -> None:
    for n in range(len(out)):
        for c in range(out.shape[1]):
            total = 0.0
            for k in range(len(weights)):
                total += weights[k] * padded[n + k, c]
            out[n, c] = total
