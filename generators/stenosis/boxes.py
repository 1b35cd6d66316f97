"""The boxes of a drawn lesion. All in whole pixels, half-open, which are COCO coordinates as well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.stenosis.attenuation import REACH
from lesionforge.generators.stenosis.pixels import PixelBox
from lesionforge.generators.stenosis.texture import BLOCK

Rows = NDArray[np.float64]
LEAST_SIDE = 34.0  # px: the tenth percentile of DiGDA's boxes in frames of 512 px
LENGTHS = 2.5  # side in visible lengths: 34, 45, 75 px at p10, median, p90; DiGDA's boxes have 34, 51, 72


def square(x: float, y: float, visible: float) -> tuple[float, float, float, float]:
    """The detection label: a square centred on the minimal lumen diameter, as DiGDA's boxes are.

    Its side is LENGTHS times the visible length of the lesion, at least LEAST_SIDE. It may reach over the border.

    Args:
        x, y: the minimum, index coordinates.
        visible: length of the lesion that the eye sees, px.
    """
    half = max(LENGTHS * visible, LEAST_SIDE) / 2
    return x + 0.5 - half, y + 0.5 - half, x + 0.5 + half, y + 0.5 + half


def tight(points: Rows, normals: Rows, diameter: Rows, shape: tuple[int, ...]) -> PixelBox:
    """Bounds the walls before the edit over the rows given, those that the eye sees; ``shape`` of the frame."""
    return _bounds(points, normals, diameter / 2, shape)


def edit(points: Rows, normals: Rows, diameter: Rows, shape: tuple[int, ...], blocks: bool) -> PixelBox:
    """Bounds every pixel that may change, given the lesion's rows; grown to whole JPEG ``blocks``."""
    x0, y0, x1, y1 = _bounds(points, normals, diameter / 2 + REACH + 1, shape)
    if blocks:
        x0, y0 = x0 // BLOCK * BLOCK, y0 // BLOCK * BLOCK
        x1, y1 = min(-(-x1 // BLOCK) * BLOCK, shape[1]), min(-(-y1 // BLOCK) * BLOCK, shape[0])
    return x0, y0, x1, y1


def overlap(a: PixelBox, b: PixelBox) -> bool:
    """Whether two boxes share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _bounds(points: Rows, normals: Rows, reach: Rows, shape: tuple[int, ...]) -> PixelBox:
    corners = np.concatenate([points - reach[:, None] * normals, points + reach[:, None] * normals])
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, (shape[1], shape[0]))
    return int(x0), int(y0), int(x1), int(y1)
