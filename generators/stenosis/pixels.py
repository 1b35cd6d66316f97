"""From the straightened vessel back to the pixels of the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

SPACING = 1.5  # px, more than two neighbouring points of a centreline lie apart
PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1, half-open: columns x0 ... x1 - 1, rows y0 ... y1 - 1


@jit
def locate(
    points: NDArray[np.float64], normals: NDArray[np.float64], reach: float, x0: int, y0: int, x1: int, y1: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vessel coordinates of every pixel of a box, by its nearest point of the centreline.

    Args:
        points: (n, 2) x, y, index coordinates of the frame, about 1 px apart.
        normals: (n, 2) unit normals.
        reach: px; pixels further from every point may be left out.
        x0, y0, x1, y1: the box, half-open.

    Returns:
        ``row`` (y1 - y0, x1 - x0): fractional index into ``points``, -1 beyond either end or reach; ``across``: signed
        distance along the normal in px.
    """
    n = len(points)
    row = np.full((y1 - y0, x1 - x0), -1.0)
    across = np.zeros((y1 - y0, x1 - x0))
    near = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            # The last pixel's nearest point is a good first guess.
            best = np.sqrt((points[near, 0] - x) ** 2 + (points[near, 1] - y) ** 2)
            if best > reach:
                near, best = 0, reach
            i = 0
            while i < n:
                d = np.sqrt((points[i, 0] - x) ** 2 + (points[i, 1] - y) ** 2)
                if d < best:
                    best, near = d, i
                # Points lie about 1 px apart: none of those skipped can be nearer than the best.
                i += max(1, int((d - best) / SPACING))
            if near == 0 or near == n - 1:
                continue
            # Along the chord between the neighbours, so that rows vary smoothly from pixel to pixel.
            ax, ay = points[near - 1, 0], points[near - 1, 1]
            cx, cy = points[near + 1, 0] - ax, points[near + 1, 1] - ay
            f = 2 * ((x - ax) * cx + (y - ay) * cy) / (cx * cx + cy * cy)  # 0 ... 2, 1 is the point itself
            s = near - 1 + min(2.0, max(0.0, f))
            i = min(n - 2, int(s))
            w = s - i
            px = points[i, 0] * (1 - w) + points[i + 1, 0] * w
            py = points[i, 1] * (1 - w) + points[i + 1, 1] * w
            nx = normals[i, 0] * (1 - w) + normals[i + 1, 0] * w
            ny = normals[i, 1] * (1 - w) + normals[i + 1, 1] * w
            row[y - y0, x - x0] = s
            across[y - y0, x - x0] = ((x - px) * nx + (y - py) * ny) / np.sqrt(nx * nx + ny * ny)
    return row, across


@jit
def spread(
    patch: NDArray[np.float64], row: NDArray[np.float64], across: NDArray[np.float64], first: float, step: float
) -> NDArray[np.float64]:
    """Bilinear values of a straightened patch at pixels; 0 outside it.

    Args:
        patch: (n, k) one row per point of the centreline, columns ``first`` + j ``step`` px across.
        row, across: (h, w) from ``locate``.
        first, step: px.
    """
    n, k = patch.shape
    out = np.zeros(row.shape)
    for y in range(row.shape[0]):
        for x in range(row.shape[1]):
            s, t = row[y, x], (across[y, x] - first) / step
            if s < 0 or t < 0 or t > k - 1:
                continue
            i, j = min(n - 2, int(s)), min(k - 2, int(t))
            u, v = s - i, t - j
            out[y, x] = (1 - u) * ((1 - v) * patch[i, j] + v * patch[i, j + 1]) + u * (
                (1 - v) * patch[i + 1, j] + v * patch[i + 1, j + 1]
            )
    return out
