"""Centrelines and lumen radii of the vessels in a scene, from its label or from known trees.

Positions are mm from the centre of the scene's first voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    return _stepped(_smooth(fine))


def _stepped(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    gaps = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    if along[-1] < SHORT_MM:
        return None
    steps = np.arange(int(along[-1] / STEP_MM) + 1) * STEP_MM
    return np.stack([np.interp(steps, along, points[:, axis]) for axis in range(3)], axis=1)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth: NDArray[np.float64] = scipy.ndimage.gaussian_filter1d(values, SMOOTH_MM / STEP_MM, axis=0, mode="nearest")
    return smooth


def _vessels(lines: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> list[CtVessel]:
    out = []
    trees = [scipy.spatial.cKDTree(points) for points, _ in lines]
    boxes = [(points.min(axis=0), points.max(axis=0)) for points, _ in lines]
    for number, (points, radii) in enumerate(lines):
        free = np.ones(len(points), bool)
        margin = int((radii.max() + CLEAR_MM) / STEP_MM)
        free[:margin] = free[len(free) - margin :] = False
        for other, (_, wide) in enumerate(lines):
            reach = float(radii.max() + wide.max()) + CLEAR_MM + STEP_MM  # further off, nothing keeps a plaque away
            apart = np.maximum(boxes[number][0] - boxes[other][1], boxes[other][0] - boxes[number][1])
            if other == number or apart.max() > reach:
                continue
            gap, at = trees[other].query(points, distance_upper_bound=reach)
            near = np.flatnonzero(np.isfinite(gap))
            gap, at = gap[near], at[near]
            free[near] &= (gap > radii[near] + wide[at] + CLEAR_MM) | (wide[at] < TWIG * radii[near])
        if free.any():  # what bears no plaque needs no frame
            out.append(CtVessel(points, radii, free, *frame(points)))
    return out


def frame(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors across a line at each of its points, transported along it."""
    tangents = np.gradient(points, axis=0)
    tangents /= np.sqrt((tangents**2).sum(axis=1))[:, None]
    start = [0.0, 0.0, 0.0]
    start[int(np.argmin(np.abs(tangents[0])))] = 1.0
    a, b, c = start
    across = []
    for t, u, v in tangents.tolist():  # numbers of Python's: numpy takes ten times as long for three of them
        along = a * t + b * u + c * v
        a, b, c = a - along * t, b - along * u, c - along * v
        length = math.sqrt(a * a + b * b + c * c)
        a, b, c = a / length, b / length, c / length
        across.append((a, b, c))
    first = np.array(across)
    return first, np.cross(tangents, first)
