"""Where the table stands: the tree in the middle of every picture, and wholly in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View

BORDER = 0.02  # of the picture, kept free at each side
_TURNS = 6
_SOME = 16  # every so many vertices are enough to find the middle


def framed(
    points: NDArray[np.float32], centre: NDArray[np.float64], views: Sequence[View]
) -> tuple[NDArray[np.float64], list[View]]:
    """The isocentre that puts points in the middle of every view, and the views, with larger pixels where they need be.

    A tree wider than the detector shows is taken with the next larger field: the number of pixels stays.

    Args:
        points: (n, 3) LPS mm.
        centre: (3,) LPS mm to begin from.
        views: all of one case.
    """
    for _ in range(_TURNS):
        shift = np.zeros(3)
        for view in views:
            low, high = _box(points[::_SOME] - centre, view)
            row, col = (low + high) / 2 - (np.array([view.rows, view.cols]) - 1) / 2
            u, v, _ = view.axes
            shift += (col * view.pixel_mm[1] * u + row * view.pixel_mm[0] * v) / view.magnification
        centre = centre + shift / len(views)
    need = 1.0
    for view in views:
        low, high = _box(points - centre, view)
        size = np.array([view.rows, view.cols])
        reach = np.maximum(high - (size - 1) / 2, (size - 1) / 2 - low)
        need = max(need, float((reach / ((0.5 - BORDER) * size)).max()))
    if need == 1.0:
        return centre, list(views)
    return centre, [replace(v, pixel_mm=(v.pixel_mm[0] * need, v.pixel_mm[1] * need)) for v in views]


def _box(points: NDArray[np.float64], view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row, col = view.project(points).T
    return np.array([row.min(), col.min()]), np.array([row.max(), col.max()])
