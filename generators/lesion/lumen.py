"""What a vessel's lumen measures on the HU, section by section, as a reader of CT angiography measures it.

Across the vessel, rays leave the middle of the lumen. Each ends where the HU pass the level half way between the
lumen (its HU beside the lesion) and its surroundings in that section (the median of what lies ``SKIN_MM`` beyond the
edge); or, where something brighter than the lumen lies on the ray, half way between the lumen and that. The area
inside gives the diameter of a circle. The meter knows neither label map nor class nor what was asked for.

Blooming: an edge between two wide tissues is read where it is, whatever the blur. A round lumen is read by
r(half) of a blurred disc: 5 % too small at a diameter of 3.6 sigma (1.5 FWHM) of the blur, not at all below 2.36 sigma
(1 FWHM), where its middle is no brighter than the level: such a lumen reads as occluded. Calcium and lumen that both
are narrower than the blur are mixed; there the reading errs to the tight side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.sections import sections
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel

SEARCH = 1.8  # radii of the vessel that a section reaches
REFERENCE_MM = 1.5  # healthy vessel to either side of a lesion
MLD_MM = 0.75  # the minimum is that of a mean over so much
SKIN_MM = (0.6, 1.3)  # beyond the lumen's edge: its surroundings
RAYS = 24
ALONG_MM = 0.1  # between points of a ray
PLANE_MM = 0.25  # between those in which the lumen's middle is looked for
OFF = 0.95  # of the radius: how far from the old centreline that may lie
CALCIUM = 0.4  # of the lumen's contrast above it: brighter is calcium, not noise
TURNS = 2  # of surroundings, for which an edge must be known
SOFT = 0.6  # of the contrast of lumen to fat: least contrast to what is soft, where blur leaves less

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stenosis:
    """Percent diameter stenosis, reference and least diameter (those of circles of the areas), and its row."""

    percent_ds: float
    reference_mm: float
    mld_mm: float
    row: int

    @property
    def area_mm2(self) -> float:
        """Least area of the lumen."""
        return math.pi / 4 * self.mld_mm**2

    @property
    def area_stenosis(self) -> float:
        """Percent of the lumen's area that is gone."""
        return 100 * (1 - (1 - self.percent_ds / 100) ** 2)


def flanked(vessel: CtVessel, rows: slice) -> tuple[slice, slice]:
    """The rows with the references beside them, and where the rows lie in those."""
    flank = int(REFERENCE_MM / STEP_MM)
    wide = slice(max(0, rows.start - flank), min(len(vessel.points), rows.stop + flank))
    return wide, slice(rows.start - wide.start, rows.stop - wide.start)


def stenosis(diameters: Floats, inner: slice, first: int) -> Stenosis:
    """Least diameter in rows ``inner``; the reference is a straight line through the means beside them, read there.

    The interpolated reference of DICOM PS3.17 T.4.2. ``first``: the vessel's row of the first diameter.
    """
    before, after = diameters[: inner.start], diameters[inner.stop :]
    ends = [float(part.mean()) if len(part) else float(diameters.max()) for part in (before, after)]
    smooth = scipy.ndimage.uniform_filter1d(diameters, max(1, round(MLD_MM / STEP_MM)), mode="nearest")
    least = inner.start + int(np.argmin(smooth[inner]))
    share = (least - inner.start) / max(1, inner.stop - inner.start - 1)
    reference, mld = (1 - share) * ends[0] + share * ends[1], float(smooth[least])
    return Stenosis(100 * (1 - mld / reference) if reference else 0.0, reference, mld, first + least)


def read(hu: NDArray[np.int16], spacing: tuple[float, float, float], vessel: CtVessel, rows: slice) -> Stenosis:
    """The stenosis of a stretch of vessel on the HU.

    Args:
        hu: (i, j, k).
        spacing: of its voxels, mm.
        vessel: its course before the lesion, mm from the centre of the first voxel.
        rows: of the lesion; healthy vessel lies beside.
    """
    wide, inner = flanked(vessel, rows)
    beside = np.ones(wide.stop - wide.start, bool)
    beside[inner] = False
    if not beside.any():
        beside[:] = True
    radii = vessel.radii[wide]
    half = float(OFF * radii.max() + 2 * PLANE_MM)
    planes = sections(hu, spacing, vessel, wide, half, PLANE_MM)
    middle = planes.shape[1] // 2
    reach = 0.4 * float(np.median(radii[beside]))
    offset = PLANE_MM * (np.arange(planes.shape[1]) - middle)
    far = np.sqrt(offset[:, None] ** 2 + offset**2)
    lumen = float(np.median(planes[beside][:, far <= reach]))
    centres = np.zeros((len(radii), 2))
    rays = _rays(hu, spacing, vessel, wide, centres, float(SEARCH * radii.max()) + SKIN_MM[1])
    at = np.rint((radii[beside] + sum(SKIN_MM) / 2) / ALONG_MM).astype(int)
    around = np.full(len(radii), float(np.median(rays[beside][np.arange(len(at)), :, at])))
    span = lumen - around[0]
    if span <= 0:
        return Stenosis(0.0, 2 * float(np.median(radii)), 2 * float(np.median(radii)), wide.start + inner.start)
    centres = _middles(planes, lumen - span / 2, lumen + 1.25 * CALCIUM * span, far, offset, radii)
    rays = _rays(hu, spacing, vessel, wide, centres, float(SEARCH * radii.max()) + SKIN_MM[1])
    high = _calcium(rays, lumen, span)
    width = max(1, round(MLD_MM / STEP_MM))
    for _ in range(TURNS):
        edges = _edges(rays, (lumen + around) / 2, high)
        around = np.minimum(_surroundings(rays, edges, high), lumen - SOFT * span)
        around = scipy.ndimage.median_filter(around, width, mode="nearest")
    edges = np.minimum(_edges(rays, (lumen + around) / 2, high), SEARCH * radii[:, None])
    areas = math.pi * (edges * edges).mean(axis=1)
    return stenosis(2 * np.sqrt(areas / math.pi), inner, wide.start)


def _middles(
    planes: NDArray[np.float32], low: float, high: float, far: Floats, offset: Floats, radii: Floats
) -> Floats:
    """Where the lumen is thickest in every plane, (rows, 2) mm along ``first`` and ``second``."""
    smooth = scipy.ndimage.uniform_filter1d(planes, 3, axis=0, mode="nearest")
    inside = (smooth >= low) & (smooth <= high) & (far <= OFF * radii[:, None, None])
    inside[:, [0, -1]] = False
    inside[:, :, [0, -1]] = False
    depth = scipy.ndimage.distance_transform_edt(inside, sampling=(1e6, PLANE_MM, PLANE_MM)) - 0.05 * far
    best = depth.reshape(len(planes), -1).argmax(axis=1)
    return np.stack([offset[best // len(offset)], offset[best % len(offset)]], axis=1)


def _rays(
    hu: NDArray[np.int16],
    spacing: tuple[float, float, float],
    vessel: CtVessel,
    rows: slice,
    centres: Floats,
    reach_mm: float,
) -> Floats:
    """HU along rays from the lumen's middles across the vessel, (rows, RAYS, points)."""
    angle = 2 * math.pi / RAYS * np.arange(RAYS)
    far = ALONG_MM * np.arange(int(reach_mm / ALONG_MM) + 1)
    a = centres[:, 0, None, None] + np.cos(angle)[:, None] * far
    b = centres[:, 1, None, None] + np.sin(angle)[:, None] * far
    line, at = vessel.points[rows], np.empty((3, *a.shape))
    low = np.maximum(np.floor((line.min(axis=0) - 2 * reach_mm) / spacing).astype(int) - 1, 0)
    high = np.ceil((line.max(axis=0) + 2 * reach_mm) / spacing).astype(int) + 2
    near = hu[tuple(slice(x, y) for x, y in zip(low, high, strict=True))].astype(np.float64)
    for k in range(3):
        along = line[:, k, None, None] + a * vessel.first[rows, k, None, None] + b * vessel.second[rows, k, None, None]
        at[k] = along / spacing[k] - low[k]
    out: Floats = scipy.ndimage.map_coordinates(near, at, order=1, mode="nearest")
    return out


def _calcium(rays: Floats, lumen: float, span: float) -> Floats:
    """The level half way from the lumen to what is brighter on each ray, (rows, RAYS); infinite where nothing is."""
    peak = rays.max(axis=2)
    return np.where(peak > lumen + CALCIUM * span, (lumen + peak) / 2, np.inf)


def _edges(rays: Floats, low: Floats, high: Floats) -> Floats:
    """Where each ray leaves the lumen, mm from its middle, (rows, RAYS)."""
    low = low[:, None, None]
    dark, bright = rays < low, rays >= high[:, :, None]
    out = dark | bright
    last = rays.shape[2] - 1
    at = np.where(out.any(axis=2), out.argmax(axis=2), last)
    n, m = np.indices(at.shape)
    here, before = rays[n, m, at], rays[n, m, np.maximum(at - 1, 0)]
    level = np.where(dark[n, m, at], low[:, 0], high)
    step = here - before
    ended = out[n, m, at] & (at > 0) & (step != 0) & np.isfinite(level)
    share = np.where(ended, (np.where(ended, level, 0.0) - before) / np.where(ended, step, 1.0), 1.0)
    return ALONG_MM * np.maximum(np.where(at > 0, at - 1 + np.clip(share, 0.0, 1.0), 0.0), 0.0)


def _surroundings(rays: Floats, edges: Floats, high: Floats) -> Floats:
    """Median HU beyond the lumen's edge in every section, calcium's rays left out where others are."""
    start, stop = (np.rint((edges + mm) / ALONG_MM).astype(int) for mm in SKIN_MM)
    at = np.arange(rays.shape[2])
    skin = (at >= start[:, :, None]) & (at <= stop[:, :, None])
    soft = skin & ~np.isfinite(high)[:, :, None]
    out = np.empty(len(rays))
    for row, values in enumerate(rays):
        use = soft[row] if soft[row].any() else skin[row]
        out[row] = np.median(values[use]) if use.any() else values[:, -1].mean()
    return out
