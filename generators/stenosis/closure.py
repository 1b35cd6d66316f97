"""What a drawn lesion measures on the pixels, by a meter that is not told the target (promise P5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.vessel.densitometry import Lumen, fit_lumen
from lesionforge.generators.vessel.qca import Reading, read
from lesionforge.generators.vessel.walls import grey_walls

CONTEXT = 45  # rows beyond the lesion: the meter's references and its neighbourhood of contrast
MARGIN = 24  # px of frame about these rows


@dataclass(frozen=True)
class Measured:
    """``percent_ds`` of the diameter in view, worked out from ``densitometric``, the circle of the same area."""

    percent_ds: float
    densitometric: Reading


def measure(
    image: NDArray[np.uint8], lumen: Lumen, radii: NDArray[np.float64], at: int, half: int, depth: float = 0.0
) -> Measured:
    """Measure the lesion of ``half`` rows to either side of row ``at`` by densitometry.

    Args:
        image: the frame with the lesion.
        lumen: as measured before the lesion was drawn: gives the centreline and the blur, no diameters.
        radii: (n,) of the mask along it, px.
        at: row of the minimum.
        half: rows to either side that are no reference.
        depth: of the drawn section (see ``FrameNarrowing``): an ellipse of keep x keep^(1 - depth) has the area of a
            circle of keep^(1 - depth / 2), and is read as that.
    """
    crop, points, near, row = _about(image, lumen, radii, at, half)
    reading = read(fit_lumen(crop, points, near, lumen.psf_sigma), at=row, lesion=half)
    left = max(0.0, 1 - reading.percent_ds / 100) ** (2 / (2 - depth))
    return Measured(reading.percent_ds if depth == 0 else 100 * (1 - left), reading)


def by_edges(image: NDArray[np.uint8], lumen: Lumen, radii: NDArray[np.float64], at: int, half: int) -> Reading:
    """The same by the edges alone, a meter that shares nothing with densitometry; arguments as ``measure``'s."""
    crop, points, near, row = _about(image, lumen, radii, at, half)
    return read(grey_walls(crop, points, near, lumen.psf_sigma), at=row, lesion=half)


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
