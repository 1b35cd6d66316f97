"""Centrelines and lumen radii of the vessels in a scene, from its label or from known trees, and cross-sections.

Positions are mm from the centre of the scene's first voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.types import CoronaryTree

STEP_MM = 0.25  # between points of a centreline
SMOOTH_MM = 1.0  # sigma along it: a skeleton runs in steps of a voxel
SHORT_MM = 6.0  # stretches between forks below this length are spurs, or too short for a plaque
TWIG = 0.5  # of a vessel's radius: branches below it do not keep plaques off
CLEAR_MM = 1.0  # kept between a plaque's vessel and its neighbours


@dataclass(frozen=True)
class CtVessel:
    """A stretch of vessel between forks: ``points`` (n, 3) mm every ``STEP_MM``, ``radii`` (n,) mm of the lumen.

    ``free`` (n,): no other vessel is near, but for twigs, and the end of the stretch is not. ``first`` and ``second``
    (n, 3): unit vectors across the vessel that turn as little as possible along it.
    """

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    free: NDArray[np.bool_]
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def from_label(lumen: NDArray[np.bool_], spacing: tuple[float, float, float]) -> list[CtVessel]:
    """Skeleton and distance transform of a lumen's label."""
    from skimage.morphology import skeletonize  # not with the module: a plan needs none of it

    found = scipy.ndimage.find_objects(lumen.astype(np.uint8))
    if not found or found[0] is None:
        return []
    start = np.array([s.start for s in found[0]])
    inner = np.pad(lumen[found[0]], 1)
    depth = scipy.ndimage.distance_transform_edt(inner, sampling=spacing)
    chains = _chains(np.argwhere(skeletonize(inner)))
    scale = np.array(spacing)
    lines = []
    for chain in chains:
        points = _even(chain * scale)
        if points is None:
            continue
        radii = scipy.ndimage.map_coordinates(depth, (points / scale).T, order=1)
        lines.append((points + (start - 1) * scale, _smooth(radii)))
    return _vessels(lines)


def from_trees(
    trees: Sequence[CoronaryTree], origin: tuple[float, float, float], extent: NDArray[np.float64]
) -> list[CtVessel]:
    """The known branches as far as they lie in a scene of ``extent`` mm whose first voxel lies at ``origin``."""
    lines = []
    for branch in (branch for tree in trees for branch in tree.branches):
        points, radii = branch.points - np.array(origin), branch.radii
        inside = ((points > 0) & (points < extent)).all(axis=1)
        for run in np.split(np.arange(len(points)), np.flatnonzero(np.diff(inside)) + 1):
            if not inside[run[0]] or (line := _even(points[run])) is None:
                continue
            along = np.linspace(0, len(run) - 1, len(line))
            lines.append((line, np.interp(along, np.arange(len(run)), radii[run])))
    return _vessels(lines)


def _chains(voxels: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Voxels of a skeleton in order, from fork or end to fork or end."""
    if not len(voxels):
        return []
    pairs = scipy.spatial.cKDTree(voxels).query_pairs(1.8, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    near: list[list[int]] = [[] for _ in voxels]
    for a, b in pairs.tolist():
        near[a].append(b)
        near[b].append(a)
    inner = [len(n) == 2 for n in near]
    seen = [False] * len(voxels)
    out = []
    for start in range(len(voxels)):
        if inner[start]:
            continue
        for step in near[start]:
            if not inner[step] or seen[step]:
                continue
            chain, last, here = [start], start, step
            while inner[here] and not seen[here]:
                seen[here] = True
                chain.append(here)
                a, b = near[here]
                last, here = here, b if a == last else a
            chain.append(here)
            out.append(voxels[chain].astype(np.float64))
    return out


def _even(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Smoothed, at equal steps; None where it is too short."""
    if (fine := _stepped(points)) is None:
        return None
    return _stepped(np.stack([_smooth(fine[:, axis]) for axis in range(3)], axis=1))


def _stepped(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    gaps = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    if along[-1] < SHORT_MM:
        return None
    steps = np.arange(int(along[-1] / STEP_MM) + 1) * STEP_MM
    return np.stack([np.interp(steps, along, points[:, axis]) for axis in range(3)], axis=1)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth: NDArray[np.float64] = scipy.ndimage.gaussian_filter1d(values, SMOOTH_MM / STEP_MM, mode="nearest")
    return smooth


def _vessels(lines: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> list[CtVessel]:
    out = []
    for number, (points, radii) in enumerate(lines):
        others = [line for n, line in enumerate(lines) if n != number]
        free = np.ones(len(points), bool)
        margin = int((radii.max() + CLEAR_MM) / STEP_MM)
        free[:margin] = free[len(free) - margin :] = False
        for other, wide in others:
            gap, at = scipy.spatial.cKDTree(other).query(points)
            free &= (gap > radii + wide[at] + CLEAR_MM) | (wide[at] < TWIG * radii)
        out.append(CtVessel(points, radii, free, *frame(points)))
    return out


def frame(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors across a line at each of its points, transported along it."""
    tangents = np.gradient(points, axis=0)
    tangents /= np.sqrt((tangents**2).sum(axis=1))[:, None]
    first = np.empty_like(points)
    start = np.zeros(3)
    start[np.argmin(np.abs(tangents[0]))] = 1
    for n, t in enumerate(tangents):
        start = start - (start[0] * t[0] + start[1] * t[1] + start[2] * t[2]) * t
        start = start / np.sqrt((start * start).sum())
        first[n] = start
    return first, np.cross(tangents, first)


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
    out: NDArray[np.float32] = scipy.ndimage.map_coordinates(
        volume.astype(np.float32), np.moveaxis(at, -1, 0), order=1, mode="nearest"
    )
    return out
