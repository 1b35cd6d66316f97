"""Profiles across a vessel: attenuation, the normals of a centreline, a field straightened along it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.kernels import inline, jit

Points = NDArray[np.float64]

_ATTENUATION = (-np.log(np.maximum(np.arange(256), 1) / 255)).astype(np.float32)


def attenuation(image: NDArray[Any]) -> NDArray[np.float32]:
    """-log(max(grey, 1) / 255): by Beer and Lambert the background's path integral plus the vessel's.

    ``image`` grey levels 0 ... 255, uint8 or float, any shape. Display grey levels are not detector counts, so the
    result is proportional to iodine only within one small neighbourhood.
    """
    if image.dtype == np.uint8:
        grey = np.ravel(image).view()
        grey.flags.writeable = False  # some frames are: of both kinds it would be compiled twice
        looked_up: NDArray[np.float32] = _look_up(grey, _ATTENUATION).reshape(image.shape)
        return looked_up
    values: NDArray[np.float32] = (-np.log(np.maximum(image, 1) / 255)).astype(np.float32)
    return values


@jit
def _look_up(grey: NDArray[np.uint8], table: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty(grey.shape[0], np.float32)
    for i in range(grey.shape[0]):
        out[i] = table[grey[i]]
    return out


def normals(points: Points) -> Points:
    """Unit normals (n, 2) of a centreline (n, 2): its direction (x, y) turned to (-y, x).

    With rows counted downwards that is the right-hand side of somebody who walks along the line in the picture.
    Raises ValueError for fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"a centreline of {len(points)} points has no direction: give two or more")
    way = np.gradient(points, axis=0)
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-12)
    return np.column_stack([-way[:, 1], way[:, 0]])


def straighten(
    field: NDArray[Any], points: Points, normals: Points, half_width: float, step: float = 0.25
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Sample a field (rows, cols) along the normals with cubic splines.

    Returns the straightened field float32 (n, k), one row per point, and t float64 (k,): the signed distance in px of
    each column, from -half_width to half_width. Beyond the border of the picture the field is mirrored.
    """
    return Spline(field, points, half_width).along(points, normals, half_width, step)


def around(points: Points, margin: float, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], Points]:
    """The part (rows, cols) of a picture within ``margin`` px of a centreline, and x, y of its first pixel."""
    size = np.array(shape[::-1])
    low = np.clip(np.floor(points.min(axis=0) - margin).astype(int), 0, size - 1)
    high = np.clip(np.ceil(points.max(axis=0) + margin).astype(int) + 1, low + 1, size)
    return (slice(low[1], high[1]), slice(low[0], high[0])), low.astype(np.float64)


class Spline:
    """Cubic spline of a field (rows, cols) about a centreline, made once to be sampled several times."""

    def __init__(self, field: NDArray[Any], points: Points, half_width: float) -> None:
        """``half_width``: how far from ``points`` (n, 2) samples will be taken, in px."""
        window, self._corner = around(points, half_width + 8, field.shape)  # the spline's memory is 8 px long
        crop = field[window].astype(np.float32)
        self._coefficients = scipy.ndimage.spline_filter(crop, order=3, output=np.float32, mode="mirror")

    def along(
        self, points: Points, normals: Points, half_width: float, step: float = 0.25
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See ``straighten``."""
        side = round(half_width / step)
        t: NDArray[np.float64] = np.arange(-side, side + 1) * np.float64(step)
        return _sample(self._coefficients, points - self._corner, normals, t), t


@jit
def _sample(
    coefficients: NDArray[np.float32], points: Points, normals: Points, t: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Cubic B-spline at points + t * normals, mirrored about the outermost pixels as scipy's mode "mirror"."""
    rows, cols = coefficients.shape
    out = np.empty((points.shape[0], t.shape[0]), np.float32)
    wx, wy = np.empty(4), np.empty(4)
    for i in range(points.shape[0]):
        for j in range(t.shape[0]):
            x = points[i, 0] + t[j] * normals[i, 0]
            y = points[i, 1] + t[j] * normals[i, 1]
            x0, y0 = np.floor(x), np.floor(y)
            fx, fy = x - x0, y - y0
            cx, cy = int(x0) - 1, int(y0) - 1
            wx[0], wx[3] = (1 - fx) ** 3 / 6, fx**3 / 6
            wx[1], wx[2] = 2 / 3 - fx**2 + fx**3 / 2, 2 / 3 - (1 - fx) ** 2 + (1 - fx) ** 3 / 2
            wy[0], wy[3] = (1 - fy) ** 3 / 6, fy**3 / 6
            wy[1], wy[2] = 2 / 3 - fy**2 + fy**3 / 2, 2 / 3 - (1 - fy) ** 2 + (1 - fy) ** 3 / 2
            total = 0.0
            if cx >= 0 and cy >= 0 and cx + 3 < cols and cy + 3 < rows:
                for a in range(4):
                    line = 0.0
                    for b in range(4):
                        line += wx[b] * coefficients[cy + a, cx + b]
                    total += wy[a] * line
            else:
                for a in range(4):
                    for b in range(4):
                        total += wy[a] * wx[b] * coefficients[_mirror(cy + a, rows), _mirror(cx + b, cols)]
            out[i, j] = total
    return out


@inline
def _mirror(index: int, size: int) -> int:
    if 0 <= index < size:
        return index
    period = max(2 * size - 2, 1)
    index = abs(index) % period
    return period - index if index >= size else index
