"""What the views show of one plaque: its box, its minimum, how well it is seen, and its stenosis read there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.angio_ct.densitometry import areas, percent_ds
from lesionforge.generators.angio_ct.lumen import LumenCells
from lesionforge.generators.carm.projector import project_views
from lesionforge.generators.carm.view import View

STEP_MM = 0.25  # between the points of a segment
FLANK_MM = 1.75  # of the vessel beside a plaque, kept healthy by the generator: the references
REACH = 1.35  # radii of the healthy vessel: half-width of a profile
OWN = 1.6  # radii about the centreline that are this vessel
BEYOND = 6.0  # radii past the ends that still are: rays at a slant pass there
DIGITS = 3  # of stored figures

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlaqueSegment:
    """A plaque's stretch of vessel, LPS mm from the isocentre.

    ``points`` (n, 3) every ``STEP_MM``, flanks included; ``inner``: the rows of the plaque; ``vessel`` (m, 3):
    the same further on; ``mld`` (3,): where the lumen is least; ``radius_mm`` of the healthy vessel.
    """

    points: Floats
    inner: slice
    vessel: Floats
    mld: Floats
    radius_mm: float

    @staticmethod
    def of(lesion: Mapping[str, Any], isocentre_mm: Floats) -> PlaqueSegment:
        """From a plaque's label in a lesion sample."""
        line = np.array(lesion["centreline_lps_mm"], np.float64) - isocentre_mm
        along = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(line, axis=0) ** 2).sum(axis=1)))])
        steps = np.arange(0, along[-1], STEP_MM)
        points = np.stack([np.interp(steps, along, line[:, axis]) for axis in range(3)], axis=1)
        middle = np.array(lesion["centre_lps_mm"]) - isocentre_mm
        row = int(np.argmin(((points - middle) ** 2).sum(axis=1)))
        half, flank = math.ceil(lesion["length_mm"] / 2 / STEP_MM), round(FLANK_MM / STEP_MM)
        start, stop = max(0, row - half), min(len(points), row + half + 1)
        first, beyond = max(0, start - flank), round(BEYOND * lesion["reference_mm"] / 2 / STEP_MM)
        return PlaqueSegment(
            points=points[first : stop + flank],
            inner=slice(start - first, stop - first),
            vessel=points[max(0, first - beyond) : stop + flank + beyond],
            mld=np.array(lesion["mld_lps_mm"]) - isocentre_mm,
            radius_mm=lesion["reference_mm"] / 2,
        )


def shadows(
    segment: PlaqueSegment,
    lumen: LumenCells,
    views: list[View],
    integrals: list[NDArray[np.float32]],
    threads: int | None,
) -> list[dict[str, Any]]:
    """One record per view, for the label.

    ``box`` (x0, y0, x1, y1) and ``mld_xy`` in COCO's coordinates, the box cut to the detector (None where it lies
    outside) about the healthy vessel over the plaque's length; ``visible``: the minimum lies on the detector.
    ``foreshortening``: share of the segment's length that the view hides. ``overlap``: share of the attenuation across
    the segment that is other vessels'. ``densitometric_ds``: percent diameter stenosis read from the line integrals.
    """
    own = project_views(lumen.near(segment.vessel, OWN * segment.radius_mm), lumen.grid, views, threads=threads)
    out = []
    for view, whole, alone in zip(views, integrals, own, strict=True):
        visible = bool(view.sees(segment.mld[None])[0])
        row, col = view.project(segment.mld[None])[0]
        total, part = (areas(i, view, segment.points, REACH * segment.radius_mm) for i in (whole, alone))
        read = percent_ds(total, segment.inner) if bool(view.sees(segment.points).all()) else math.nan
        out.append(
            {
                "box": _box(segment, view),
                "mld_xy": [round(float(col) + 0.5, DIGITS), round(float(row) + 0.5, DIGITS)],
                "visible": visible,
                "foreshortening": round(_foreshortening(segment, view), DIGITS),
                "overlap": round(max(0.0, 1 - float(part.sum()) / max(float(total.sum()), 1e-9)), DIGITS),
                "densitometric_ds": round(read, DIGITS) if math.isfinite(read) else None,
            }
        )
    return out


def _box(segment: PlaqueSegment, view: View) -> list[float] | None:
    """Bounds of the healthy vessel's shadow along the plaque."""
    points = segment.points[segment.inner]
    shadow = view.project(points) + 0.5
    depth = ((points - view.source_mm) * view.direction).sum(axis=1)
    reach = (segment.radius_mm * view.sid_mm / depth)[:, None] / np.array(view.pixel_mm)
    y0, x0 = np.maximum((shadow - reach).min(axis=0), 0)
    y1, x1 = np.minimum((shadow + reach).max(axis=0), (view.rows, view.cols))
    return [round(float(v), DIGITS) for v in (x0, y0, x1, y1)] if x0 < x1 and y0 < y1 else None


def _foreshortening(segment: PlaqueSegment, view: View) -> float:
    """1 - length across the rays / length, over the plaque."""
    points = segment.points[segment.inner]
    step = np.diff(points, axis=0)
    ray = (points[:-1] + points[1:]) / 2 - view.source_mm
    ray /= np.sqrt((ray**2).sum(axis=1))[:, None]
    length = np.sqrt((step**2).sum(axis=1))
    across = np.sqrt(np.maximum(length**2 - (step * ray).sum(axis=1) ** 2, 0))
    return 1 - float(across.sum() / length.sum())
