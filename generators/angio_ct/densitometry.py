"""The lumen's area read from line integrals: what a projection keeps of a section, whatever its shape.

A plane through the source and across the vessel's shadow cuts the vessel in its section's area over the cosine of the
plane's slant. With t along the vessel, r along the ray and e along the profile on the detector (unit vectors), the
integral of the chord lengths L over the profile's length x at the vessel's depth is

    integral of L dx = area / |(r x e) . t|

(a volume element of the fan is |r x e| dL dx across the plane's normal; the vessel's section is larger in that plane by
one over its normal's cosine with t). Foreshortening is in it; vessels that overlap add theirs.
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.vessel.reference import interpolated

STEP_MM = 0.05  # of a profile, at the vessel's depth
MLD_ROWS = 3  # the minimum is that of a mean over so many rows

Floats = NDArray[np.float64]


def areas(image: NDArray[np.float32], view: View, points: Floats, reach_mm: float) -> Floats:
    """Areas (n,) in mm2 of the sections of a vessel at the points of its centreline.

    Args:
        image: line integrals in mm of lumen, (rows, cols) of the view.
        view: the view.
        points: centreline (n, 3), LPS mm from the isocentre.
        reach_mm: half-width of the profiles at the vessel's depth.
    """
    tangent = _unit(np.gradient(points, axis=0))
    ray = points - view.source_mm
    depth = (ray * view.direction).sum(axis=1)
    ray = _unit(ray)
    shadow = view.project(points)
    along = np.gradient(shadow, axis=0) * view.pixel_mm  # (down, right), mm on the detector
    across = _unit(np.stack([-along[:, 1], along[:, 0]], axis=1))
    right, down, _ = view.axes
    profile = across[:, :1] * down + across[:, 1:] * right
    share = np.abs((np.cross(ray, profile) * tangent).sum(axis=1))
    x = STEP_MM * np.arange(-math.ceil(reach_mm / STEP_MM), math.ceil(reach_mm / STEP_MM) + 1)
    on_detector = x * (view.sid_mm / depth)[:, None]
    at = shadow[:, :, None] + across[:, :, None] * on_detector[:, None] / np.array(view.pixel_mm)[:, None]
    chords = scipy.ndimage.map_coordinates(image, [at[:, 0], at[:, 1]], order=1)
    out: Floats = share * chords.astype(np.float64).sum(axis=1) * STEP_MM
    return out


def percent_ds(area_mm2: Floats, inner: slice) -> float:
    """Percent diameter stenosis within the rows ``inner``, by circles of the areas; NaN without healthy rows beside.

    The reference is interpolated between both sides (DICOM PS3.17 T.4.2), read at the minimum.
    """
    diameters = 2 * np.sqrt(area_mm2 / math.pi)
    reference = interpolated(diameters, diameters > 0, inner.start, inner.stop - 1)
    smooth = scipy.ndimage.uniform_filter1d(diameters, MLD_ROWS, mode="nearest")
    least = inner.start + int(np.argmin(smooth[inner]))
    return float(100 * (1 - smooth[least] / reference[least]))


def _unit(vectors: Floats) -> Floats:
    out: Floats = vectors / np.maximum(np.sqrt((vectors**2).sum(axis=1)), 1e-12)[:, None]
    return out
