"""Cross-sections of a vessel, sampled from a volume, and the curved-planar picture made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.lesion.vessels import Vessel


def sections(
    volume: NDArray[Any],
    spacing: tuple[float, float, float],
    vessel: Vessel,
    rows: slice,
    half_mm: float,
    step_mm: float,
) -> NDArray[np.float32]:
    """Planes across a vessel, float32 (rows, m, m), by linear interpolation; its centreline runs through the middle.

    The second axis runs along ``vessel.first``, the third along ``vessel.second``.
    """
    reach = round(half_mm / step_mm)
    offset = step_mm * np.arange(-reach, reach + 1)
    centre = vessel.points[rows][:, None, None, :]
    a = vessel.first[rows][:, None, None, :] * offset[:, None, None]
    b = vessel.second[rows][:, None, None, :] * offset[:, None]
    at = (centre + a + b) / np.array(spacing)
    # Only the neighbourhood is converted and read, whatever the volume's size.
    line, corner = vessel.points[rows], 1.5 * half_mm
    low = np.maximum(np.floor((line.min(axis=0) - corner) / spacing).astype(int) - 1, 0)
    high = np.ceil((line.max(axis=0) + corner) / spacing).astype(int) + 2
    near = volume[tuple(slice(x, y) for x, y in zip(low, high, strict=True))].astype(np.float32)
    out: NDArray[np.float32] = ndimage.map_coordinates(near, np.moveaxis(at - low, -1, 0), order=1, mode="nearest")
    return out


def areas(planes: NDArray[np.float32], level: float, radii: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """Area at or above a level within a radius of the centreline, mm2 per plane."""
    inside = planes >= level
    return np.asarray((inside & (_distance(planes, step_mm) <= radii[:, None, None])).sum(axis=(1, 2)) * step_mm**2)


def _distance(planes: NDArray[np.float32], step_mm: float) -> NDArray[np.float64]:
    offset = step_mm * (np.arange(planes.shape[1]) - planes.shape[1] // 2)
    return np.asarray(np.sqrt(offset[:, None] ** 2 + offset**2))[None]


def curved_planar(
    volume: NDArray[Any], spacing: tuple[float, float, float], vessel: Vessel, angle: float, half_mm: float
) -> NDArray[np.float32]:
    """The vessel straightened: (length, width) at the centreline's steps, cut along a direction across it.

    ``angle``: of the cut from ``vessel.first`` towards ``vessel.second``, radians.
    """
    step = 0.25
    offset = step * np.arange(-round(half_mm / step), round(half_mm / step) + 1)
    across = np.cos(angle) * vessel.first + np.sin(angle) * vessel.second
    at = (vessel.points[:, None] + across[:, None] * offset[:, None]) / np.array(spacing)
    out: NDArray[np.float32] = ndimage.map_coordinates(
        volume.astype(np.float32), np.moveaxis(at, -1, 0), order=1, mode="nearest"
    )
    return out
