"""Sections of a volume across a vessel and along it, and what the lumen measures on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.kernels import typed
from lesionforge.generators.lesion.vessels import CtVessel


def sections(
    volume: NDArray[Any],
    spacing: tuple[float, float, float],
    vessel: CtVessel,
    rows: slice,
    half_mm: float,
    step_mm: float,
) -> NDArray[np.float32]:
    """Planes across a vessel, float32 (rows, m, m), by linear interpolation; its centreline runs through the middle.

    The second axis runs along ``vessel.first``, the third along ``vessel.second``.
    """
    reach = round(half_mm / step_mm)
    offset = step_mm * np.arange(-reach, reach + 1)
    # Only the neighbourhood is converted and read, whatever the volume's size.
    line, corner = vessel.points[rows], 1.5 * half_mm
    low = np.maximum(np.floor((line.min(axis=0) - corner) / spacing).astype(int) - 1, 0)
    high = np.ceil((line.max(axis=0) + corner) / spacing).astype(int) + 2
    near = volume[tuple(slice(x, y) for x, y in zip(low, high, strict=True))].astype(np.float32)
    at = np.empty((3, len(line), len(offset), len(offset)))
    for k, along in enumerate(at):
        a = vessel.first[rows, k, None, None] * offset[:, None]
        b = vessel.second[rows, k, None, None] * offset
        np.add(line[:, k, None, None] + a, b, out=along)
        along /= spacing[k]
        along -= low[k]
    out: NDArray[np.float32] = scipy.ndimage.map_coordinates(near, at, order=1, mode="nearest")
    return out


def areas(planes: NDArray[np.float32], level: float, radii: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """Area at or above a level within a radius of the centreline, mm2 per plane."""
    inside = planes >= level
    return np.asarray((inside & (_distance(planes, step_mm) <= radii[:, None, None])).sum(axis=(1, 2)) * step_mm**2)


def lumen_areas(
    lumen: NDArray[np.bool_],
    spacing: tuple[float, float, float],
    vessel: CtVessel,
    rows: slice,
    radii: NDArray[np.float64],
    step_mm: float,
) -> NDArray[np.float64]:
    """``areas`` of a label's ``sections`` at 0.5, whose planes are not made: mm2 per row.

    Args:
        lumen: bool (i, j, k), which voxels are the vessel's.
        spacing: of the voxels, mm.
        vessel, rows: where the planes lie.
        radii: how far about the centreline counts, mm per row.
        step_mm: between points of a plane.
    """
    reach = round(float(radii.max()) / step_mm)
    offset = np.asarray(step_mm * np.arange(-reach, reach + 1), np.float64)
    counts = np.empty(len(radii), np.float64)
    lines = (vessel.points[rows], vessel.first[rows], vessel.second[rows])
    _count(lumen.view(np.uint8), lines, np.array(spacing), offset, radii, counts)
    return np.asarray(counts * step_mm**2)


@typed("void(u1[:,:,:], UniTuple(f8[:,:], 3), f8[:], f8[:], f8[:], f8[:])")
def _count(
    lumen: NDArray[np.uint8],
    lines: tuple[NDArray[np.float64], ...],
    spacing: NDArray[np.float64],
    offset: NDArray[np.float64],
    radii: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> None:
    """How many points of each plane lie in the lumen, the sums those of ``scipy.ndimage.map_coordinates``.

    Args:
        lines: points of the centreline, unit vectors across it (rows, 3).
        offset: of a plane's points along both (m,).
        radii, counts: per row.
    """
    points, first, second = lines
    most_i, most_j, most_k = lumen.shape[0] - 1.0, lumen.shape[1] - 1.0, lumen.shape[2] - 1.0
    for n in range(len(counts)):
        found = 0
        for p in offset:
            x = points[n, 0] + first[n, 0] * p
            y = points[n, 1] + first[n, 1] * p
            z = points[n, 2] + first[n, 2] * p
            for q in offset:
                if math.sqrt(p * p + q * q) > radii[n]:
                    continue
                a = min(max((x + second[n, 0] * q) / spacing[0], 0.0), most_i)
                b = min(max((y + second[n, 1] * q) / spacing[1], 0.0), most_j)
                c = min(max((z + second[n, 2] * q) / spacing[2], 0.0), most_k)
                i, j, k = int(a), int(b), int(c)
                di, dj, dk = int(a < most_i), int(b < most_j), int(c < most_k)
                corners = 0
                for h in range(8):
                    corners += lumen[i + di * (h >> 2), j + dj * (h >> 1 & 1), k + dk * (h & 1)]
                if corners == 0:
                    continue
                total = float(corners)
                if corners < 8:
                    near_i, near_j, near_k = 1.0 - (a - i), 1.0 - (b - j), 1.0 - (c - k)
                    total = 0.0
                    for h in range(8):
                        if lumen[i + di * (h >> 2), j + dj * (h >> 1 & 1), k + dk * (h & 1)]:
                            total += (
                                (1.0 - near_i if h >> 2 else near_i)
                                * (1.0 - near_j if h >> 1 & 1 else near_j)
                                * (1.0 - near_k if h & 1 else near_k)
                            )
                if np.float32(total) >= np.float32(0.5):
                    found += 1
        counts[n] = found


def _distance(planes: NDArray[np.float32], step_mm: float) -> NDArray[np.float64]:
    offset = step_mm * (np.arange(planes.shape[1]) - planes.shape[1] // 2)
    return np.asarray(np.sqrt(offset[:, None] ** 2 + offset**2))[None]


def curved_planar(
    volume: NDArray[Any], spacing: tuple[float, float, float], vessel: CtVessel, angle: float, half_mm: float
) -> NDArray[np.float32]:
    """The vessel straightened: (length, width) at the centreline's steps, cut along a direction across it.

    ``angle``: of the cut from ``vessel.first`` towards ``vessel.second``, radians.
    """
    step = 0.25
    offset = step * np.arange(-round(half_mm / step), round(half_mm / step) + 1)
    across = np.cos(angle) * vessel.first + np.sin(angle) * vessel.second
    at = (vessel.points[:, None] + across[:, None] * offset[:, None]) / np.array(spacing)
    # Only the neighbourhood is converted and read, whatever the volume's size.
    low = np.clip(np.floor(at.min(axis=(0, 1))).astype(int), 0, np.array(volume.shape) - 1)
    high = np.ceil(at.max(axis=(0, 1))).astype(int) + 2
    near = volume[tuple(slice(x, max(x + 1, y)) for x, y in zip(low, high, strict=True))].astype(np.float32)
    out: NDArray[np.float32] = scipy.ndimage.map_coordinates(
        near, np.moveaxis(at - low, -1, 0), order=1, mode="nearest"
    )
    return out
