"""A third meter, for tests alone: the walls of a drawn mask, against which those of the grey values are held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.vessel.chord import STEP
from lesionforge.generators.vessel.graph import arc_length
from lesionforge.generators.vessel.profile import Points, around, normals, straighten
from lesionforge.generators.vessel.walls import Rows, Walls, crossings

MASK_BLUR = 0.6  # px; turns the stairs of a mask into a slope whose half is the wall


def mask_walls(mask: NDArray[Any], points: Points, radii: Rows) -> Walls:
    """Walls of a mask (rows, cols), non-zero inside: where the slightly blurred mask falls to one half.

    Each wall within 1 px of the drawn one and unbiased for vessels of 2 px or more. A mask is somebody's drawing: as a
    measure of a real lesion it is worth little (the study's ARCADE polygons show 9 %DS where the grey values show 40).
    """
    across = normals(points)
    half_width = np.ceil(2 * float(np.max(radii)) + 4)
    part, corner = around(points, half_width + 8, mask.shape)
    blurred = ndimage.gaussian_filter((mask[part] > 0).astype(np.float32), MASK_BLUR, truncate=5)
    rows, t = straighten(blurred, points - corner, across, half_width, STEP)
    left, right, valid = crossings(rows.astype(np.float64), t, np.full(len(points), 0.5))
    return Walls(points, across, arc_length(points), left, right, 1.0, np.full(len(points), np.inf), valid, "mask")
