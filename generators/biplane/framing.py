"""Where the table stands: the tree in the middle of every picture, and wholly in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.view import Constants, View
from lesionforge.generators.kernels import jit

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
    some = points[::_SOME].copy()
    for _ in range(_TURNS):
        shift = np.zeros(3)
        for view in views:
            low, high = box(some, centre, view)
            row, col = (low + high) / 2 - (np.array([view.rows, view.cols]) - 1) / 2
            u, v, _ = view.axes
            shift += (col * view.pixel_mm[1] * u + row * view.pixel_mm[0] * v) / view.magnification
        centre = centre + shift / len(views)
    need = 1.0
    for view in views:
        low, high = box(points, centre, view)
        size = np.array([view.rows, view.cols])
        reach = np.maximum(high - (size - 1) / 2, (size - 1) / 2 - low)
        need = max(need, float((reach / ((0.5 - BORDER) * size)).max()))
    if need == 1.0:
        return centre, list(views)
    return centre, [replace(v, pixel_mm=(v.pixel_mm[0] * need, v.pixel_mm[1] * need)) for v in views]


def box(
    points: NDArray[np.float32], centre: NDArray[np.float64], view: View
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest (row, column) at which a view has points (n, 3), seen from the isocentre at ``centre``."""
    x, y, z = centre.tolist()
    least_row, least_col, row, col = _ends(points, (x, y, z), view.constants())
    return np.array([least_row, least_col]), np.array([row, col])


@jit
def _ends(
    points: NDArray[np.float32], centre: tuple[float, float, float], g: Constants
) -> tuple[float, float, float, float]:
    """Of all points at once: to write down where each falls takes five times as long."""
    ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = g
    top, bottom, left, right = math.inf, -math.inf, math.inf, -math.inf
    for n in range(len(points)):
        x, y, z = points[n, 0] - centre[0], points[n, 1] - centre[1], points[n, 2] - centre[2]
        inverse = 1.0 / (sod + (dx * x + dy * y + dz * z))
        row = ((vx * x + vy * y + vz * z) * inverse) * fv + cr
        col = ((ux * x + uy * y) * inverse) * fu + cc
        top, bottom = min(top, row), max(bottom, row)
        left, right = min(left, col), max(right, col)
    return top, left, bottom, right
