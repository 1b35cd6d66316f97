"""What a drawn lesion measures on the pixels, by a meter that is not told the target (promise P5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.vessel.densitometry import Lumen, fit_lumen
from lesionforge.generators.vessel.order import median
from lesionforge.generators.vessel.qca import Reading, read
from lesionforge.generators.vessel.reference import FLANK_PX, reference_curve
from lesionforge.generators.vessel.walls import Walls, grey_walls

CONTEXT = 45  # rows beyond the lesion: the meter's references and its neighbourhood of contrast
MARGIN = 24  # px of frame about these rows


# What a reading of a real lesion means to those who graded it: readings of 40 % they call 60, of 56 % they call 80. Got
# on the lesions of ARCADE's train and val frames that DiGDA's experts graded, medians of moderate and of severe ones
# (``python -m tests.benchmarks.lesion_shapes``: train 44 and 55, val 37 and 55). By the edges they are the same.
READ, GRADE = (0.0, 40.0, 56.0, 100.0), (0.0, 60.0, 80.0, 100.0)
WIDE = 9.0  # px from which edges are read: below, the blur makes them
LEAST_SD = 2.0  # points of %DS that a method repeats itself by, at best
ALIKE = 8.0  # rows over which a vessel's wander is one and the same


@dataclass(frozen=True)
class Graded:
    """One method's reading, and what it means: ``percent_ds`` on the scale of experts' grades, and its ``sd``.

    ``raw``: as the meter has it. The sd says how far the vessel beside the lesion wanders about its reference.
    """

    percent_ds: float
    sd: float
    raw: Reading


@dataclass(frozen=True)
class Measured:
    """By ``density``: the circle of the lumen's area, its depth not assumed. By ``edges``: None where none are seen."""

    density: Graded
    edges: Graded | None

    @property
    def percent_ds(self) -> float:
        """What is said: the mean of what both methods say, else what density says."""
        if self.edges is None:
            return self.density.percent_ds
        return (self.density.percent_ds + self.edges.percent_ds) / 2

    @property
    def sd(self) -> float:
        """Of ``percent_ds``; what both methods have in common (the vessel's own wander) does not average out."""
        return self.density.sd if self.edges is None else (self.density.sd + self.edges.sd) / 2

    @property
    def apart(self) -> float:
        """How far the methods are apart, in standard deviations of their difference; 0 of one."""
        if self.edges is None:
            return 0.0
        spread = max(float(np.hypot(self.density.sd, self.edges.sd)), LEAST_SD)
        return abs(self.density.percent_ds - self.edges.percent_ds) / spread


def graded(percent_ds: float) -> float:
    """A meter's %DS on the experts' scale; below 0 it stays as it is."""
    return min(percent_ds, 0.0) + float(np.interp(percent_ds, READ, GRADE))


def ungraded(percent_ds: float) -> float:
    """What a meter reads where experts would say ``percent_ds``."""
    return float(np.interp(percent_ds, GRADE, READ))


def measure(image: NDArray[np.uint8], lumen: Lumen, radii: NDArray[np.float64], at: int, half: int) -> Measured:
    """Measure the lesion of ``half`` rows to either side of row ``at``.

    Args:
        image: the frame with the lesion.
        lumen: as measured before the lesion was drawn: gives the centreline and the blur, no diameters.
        radii: (n,) of the mask along it, px.
        at: row of the minimum.
        half: rows to either side that are no reference.
    """
    crop, points, near, row = _about(image, lumen, radii, at, half)
    density = _graded(fit_lumen(crop, points, near, lumen.psf_sigma), row, half)
    edges = None
    if density.raw.d_ref_px >= WIDE:
        found = _graded(grey_walls(crop, points, near, lumen.psf_sigma), row, half)
        edges = found if found.raw.valid and np.isfinite(found.sd) else None
    return Measured(density, edges)


def _graded(vessel: Lumen | Walls, row: int, half: int) -> Graded:
    reading = read(vessel, at=row, lesion=half)
    first, last = reading.gap
    rows = np.arange(len(vessel.diameter))
    beside = vessel.valid & ((rows < first) | (rows > last)) & (rows >= first - FLANK_PX) & (rows <= last + FLANK_PX)
    curve = reference_curve(vessel.diameter, vessel.valid, reading.gap, reading.reference)
    off = np.abs(vessel.diameter - curve)[beside]
    off = off[np.isfinite(off)]
    if not len(off) or not np.isfinite(reading.percent_ds):
        return Graded(np.nan, np.nan, reading)
    wander = 148.26 * median(off) / reading.d_ref_px
    left = max(0.0, reading.mld_px / reading.d_ref_px)
    # The lumen wanders as a share of itself, the reference by what its rows leave of that.
    sd = wander * left * float(np.sqrt(1 + ALIKE / len(off)))
    steep = graded(reading.percent_ds + 1) - graded(reading.percent_ds)
    return Graded(graded(reading.percent_ds), sd * steep, reading)


def _about(
    image: NDArray[np.uint8], lumen: Lumen, radii: NDArray[np.float64], at: int, half: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], int]:
    """The frame about a lesion, the centreline in it, the mask's radii and the lesion's row."""
    rows = slice(max(0, at - half - CONTEXT), at + half + CONTEXT + 1)
    points, near = lumen.points[rows], radii[rows]
    margin = MARGIN + int(near.max())
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin, 0)
    high = np.ceil(points.max(axis=0)).astype(int) + margin
    return image[low[1] : high[1], low[0] : high[0]], points - low, near, at - rows.start
