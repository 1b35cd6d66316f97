"""The closed loop (promise P5): what the drawn lesion measures on the pixels, by a meter that is not told the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators.stenosis.sites import Vessel
from generators.vessel.densitometry import fit_lumen
from generators.vessel.qca import Reading, read
from generators.vessel.walls import grey_walls

CONTEXT = 45  # rows beyond the lesion: the meter's references and its neighbourhood of contrast
MARGIN = 24  # px of frame about these rows


@dataclass(frozen=True)
class Measured:
    """``percent_ds``: of the diameter in view; ``densitometric`` reads the circle of the same area, ``geometric`` edges."""

    percent_ds: float
    densitometric: Reading
    geometric: Reading | None


def measure(
    image: NDArray[np.uint8], vessel: Vessel, at: int, half: int, depth: float = 0.0, edges: bool = False
) -> Measured:
    """Measure the lesion of ``half`` rows to either side of row ``at``.

    Args:
        image: the frame with the lesion.
        vessel: as measured before the lesion was drawn: gives the centreline and the mask's radii, no diameters.
        at: row of the minimum.
        half: rows to either side that are no reference.
        depth: of the drawn section (see ``Narrowing``): an ellipse of keep x keep^(1 - depth) has the area of a circle
            of keep^(1 - depth / 2), and is read as that.
        edges: measure by edges as well, a meter that shares nothing with the densitometric one.
    """
    n = len(vessel.radii)
    rows = slice(max(0, at - half - CONTEXT), min(n, at + half + CONTEXT + 1))
    points, radii = vessel.lumen.points[rows], vessel.radii[rows]
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - MARGIN - int(radii.max()), 0)
    high = np.ceil(points.max(axis=0)).astype(int) + MARGIN + int(radii.max())
    crop = image[low[1] : high[1], low[0] : high[0]]
    row = at - rows.start
    sigma = vessel.lumen.psf_sigma
    dense = read(fit_lumen(crop, points - low, radii, sigma), at=row, lesion=half)
    left = np.clip(1 - dense.percent_ds / 100, 0, None) ** (2 / (2 - depth))
    percent_ds = dense.percent_ds if depth == 0 else float(100 * (1 - left))
    walls = read(grey_walls(crop, points - low, radii, sigma), at=row, lesion=half) if edges else None
    return Measured(percent_ds, dense, walls)
