"""What lies before and behind the heart: lungs, spine, ribs, diaphragm, as a background in the absorbance.

Bodies are ellipsoids and tubes in the patient's coordinates, so the spine wanders across the picture with the C-arm's
angle as it does in the laboratory. Their weights are of this phantom's making; the result is scaled to the spread that
angiograms show (``angiogram_detector``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View

Floats = NDArray[np.float64]
STEP = 2  # pixels between the places where the background is worked out
SPINE_LPS = (-22.0, 62.0)  # mm from the heart's centre: to the patient's right, behind
VERTEBRA_MM, DISC_SHARE = 27.0, 0.17


def chest(rng: np.random.Generator, view: View) -> Floats:
    """Absorbance (rows, cols) of a chest around the isocentre, of no particular level or spread."""
    rows, cols = -(-view.rows // STEP), -(-view.cols // STEP)
    row: Floats = np.arange(rows, dtype=np.float64)[:, None] * STEP
    col: Floats = np.arange(cols, dtype=np.float64)[None, :] * STEP
    rays = _Rays(view, row, col)
    heart = rays.chord((3.0, -2.0, -2.0), (60.0, 58.0, 50.0), 3.0)
    level = float(rng.uniform(-58, -8))  # of the diaphragm, mm
    liver = rays.chord((float(rng.uniform(-45, -20)), 5.0, level - 62), (78.0, 80.0, 62.0), 1.0)
    left = float(rng.uniform(45, 75)), 0.0, level - float(rng.uniform(54, 72))
    weights = rng.uniform((0.15, 0.6, 0.6), (0.9, 2.2, 2.0))
    out = weights[0] * 0.005 * heart + weights[1] * 0.0065 * liver
    out += weights[2] * 0.0055 * rays.chord(left, (62.0, 75.0, 58.0), 1.0)
    out -= float(rng.uniform(0, 0.012)) * rays.chord((left[0] - 5, -10.0, left[2] + 33), (24.0, 22.0, 16.0), 1.5)  # gas
    out += 0.0025 * rays.chord((-18.0, 5.0, 75.0), (30.0, 45.0, 60.0), 8.0)  # great vessels
    out += 0.0045 * rays.chord((-38.0, 20.0, -10.0), (58.0, 60.0, 150.0), 10.0)  # mediastinum and right heart
    out += float(rng.uniform(0.16, 0.45)) * _spine(rng, view, row, col)
    out += _ribs(rng, view, row, col)
    out += _texture(rng, (rows, cols))
    grown = np.kron(out, np.ones((STEP, STEP)))[: view.rows, : view.cols]
    smooth: Floats = scipy.ndimage.uniform_filter(grown, STEP + 1, mode="nearest")  # bilinear, up to half a pixel
    return smooth


class _Rays:
    """Parallel rays through the isocentre's plane: chords of ellipsoids."""

    def __init__(self, view: View, row: Floats, col: Floats) -> None:
        u, v, self.d = view.axes
        mm = view.pixel_mm[0] / view.magnification
        x, y = (col - (view.cols - 1) / 2) * mm, (row - (view.rows - 1) / 2) * mm
        self.points = [x * u[k] + y * v[k] for k in range(3)]
        self.mm = mm

    def chord(self, centre: Sequence[float], semi: Sequence[float], soft_mm: float) -> Floats:
        """Length in mm inside an ellipsoid with axes along the patient's, its edge softened."""
        p = [(self.points[k] - centre[k]) / semi[k] for k in range(3)]
        d = [self.d[k] / semi[k] for k in range(3)]
        a = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
        b = p[0] * d[0] + p[1] * d[1] + p[2] * d[2]
        c = p[0] * p[0] + p[1] * p[1] + p[2] * p[2] - 1
        length: Floats = 2 * np.sqrt(np.maximum(b * b - a * c, 0)) / a
        soft: Floats = scipy.ndimage.gaussian_filter(length, soft_mm / self.mm / STEP, mode="nearest", truncate=3)
        return soft


def _spine(rng: np.random.Generator, view: View, row: Floats, col: Floats) -> Floats:
    """A column of vertebrae, about 1 where a body is met."""
    z = np.linspace(-160, 160, 65)
    line = np.stack([np.full_like(z, SPINE_LPS[0]), np.full_like(z, SPINE_LPS[1]), z], axis=1)
    seen = view.project(line)
    order = np.argsort(seen[:, 0])
    centre = np.interp(row, seen[order, 0], seen[order, 1])
    height = np.interp(row, seen[order, 0], z[order])
    mm = view.pixel_mm[0] / view.magnification * 0.92  # nearer to the source than the isocentre
    across = np.abs(col - centre) * mm
    phase = (height / VERTEBRA_MM + float(rng.uniform())) % 1
    disc = (np.abs(phase - 0.5) - 0.5 * DISC_SHARE) * VERTEBRA_MM  # mm from the nearest end plate, negative in a disc
    plate = np.exp(-((disc / 1.0) ** 2))
    waist = 16.5 + 1.6 * np.cos(2 * math.pi * phase) ** 2
    body = _step(waist - across, 1.5)
    rim = np.exp(-(((across - waist + 1.2) / 1.5) ** 2))
    pedicle = np.exp(-(((across - 9.5) / 3) ** 2) - ((np.abs(phase - 0.12) * VERTEBRA_MM / 4.5) ** 2))
    process = np.exp(-((across / 3) ** 2) - ((np.abs(phase - 0.75) * VERTEBRA_MM / 6) ** 2))
    inside = 0.75 + 0.25 * _step(disc, 1.0) + 0.22 * plate
    out: Floats = body * inside + 0.2 * rim * _step(disc, 2.0) + 0.28 * pedicle + 0.25 * process
    return out


def _ribs(rng: np.random.Generator, view: View, row: Floats, col: Floats) -> Floats:
    """Back ribs: bands that fall away from the spine on both sides, dense at their rims."""
    mm = view.pixel_mm[0] / view.magnification
    spine = float(view.project([[SPINE_LPS[0], SPINE_LPS[1], 0.0]])[0, 1])
    x, y = (col - spine) * mm, (row - view.rows / 2) * mm
    slope, bend = float(rng.uniform(0.3, 1.1)), float(rng.uniform(0.001, 0.004))
    offset, spacing = float(rng.uniform(0, 30)), float(rng.uniform(26, 34))
    strength = float(rng.uniform(0.01, 0.065))
    along = y - slope * np.abs(x) + bend * x * x + offset
    away = np.abs((along / spacing) % 1 - 0.5) * spacing  # mm from a rib's middle line
    half = float(rng.uniform(5, 7.5))
    band = _step(half - away, 0.8) + 0.6 * np.exp(-(((away - half + 1) / 1.2) ** 2))
    out: Floats = strength * band * _step(np.abs(x) - 20, 5)
    return out


def _texture(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Soft tissue and lung markings: Gaussian fields of falling power, and dark strands where one changes its sign."""
    rows, cols = shape
    f = np.sqrt(np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(cols)[None, :] ** 2) / STEP  # cycles per pixel
    f[0, 0] = np.inf
    slow, fine, strands = float(rng.uniform(0.6, 1.2)), float(rng.lognormal(0, 0.3)), float(rng.lognormal(0, 0.4))
    cut = np.exp(-((f / 0.2) ** 2))
    cloud = slow * 0.0009 / (f + 0.004) ** 1.3 + fine * 0.0045 / (f + 0.02)
    web = np.exp(-((f / 0.035) ** 2)) / (f + 0.008) ** 1.5
    fields = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * a, s=shape) for a in (cloud * cut, web, web)]
    where = fields[2] / fields[2].std()
    strand = np.exp(-((fields[1] / fields[1].std() / 0.16) ** 2)) / (1 + np.exp(-2 * where))
    out: Floats = fields[0] + strands * 0.07 * strand
    return out


def _step(distance: Floats, soft: float) -> Floats:
    """0 far below zero, 1 far above, over about ``soft`` mm."""
    return 0.5 + 0.5 * np.tanh(distance / soft)
