"""Left and right coronary trees of one binary label volume: by connected components and world centroids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.types import BadCase, CoronaryTree, Side

MIN_SIDE_GAP_MM = 10.0  # left and right centroids lie further apart than this along left-right in any heart
MIN_TREE_SHARE = 0.05  # a second component smaller than this share of the first is no tree
MAX_FRAGMENT_SHARE = 0.1  # a third component larger than this share of the second is no stray


@dataclass(frozen=True)
class VoxelLabel:
    """A binary label volume: occupied voxel indices (n, 3) int32 and the 4x4 affine index -> LPS mm."""

    voxels: NDArray[np.int32]
    affine: NDArray[np.float64]

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along LPS; of a turned one those of a box as large."""
        steps = self.affine[:3, :3]
        a, b, c = (float(np.sqrt((row**2).sum())) for row in steps)
        if np.count_nonzero(steps) == 3:
            return a, b, c
        size = (abs(float(np.linalg.det(steps))) / (a * b * c)) ** (1 / 3)
        return size * a, size * b, size * c

    def world(self, voxels: NDArray[np.int32]) -> NDArray[np.float32]:
        """Voxel centres in LPS mm, (n, 3). Spelled out, since a BLAS product differs in the last bit by CPU."""
        a, x = self.affine, voxels.astype(np.float64)
        rows = [x[:, 0] * a[r, 0] + x[:, 1] * a[r, 1] + x[:, 2] * a[r, 2] + a[r, 3] for r in range(3)]
        return np.stack(rows, axis=1).astype(np.float32)


def components(voxels: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """26-connected components of a set of voxel indices, largest first (ties by first voxel).

    By runs along the last axis: a label of both trees spans a box of which they fill a three-hundredth.
    """
    at = voxels.T.astype(np.int64) - voxels.min(0)[:, None] + 1  # nothing lies at the faces: no run meets the next line
    _, rows, line = shape = at.max(axis=1) + 2
    flat = np.ravel_multi_index(tuple(at), shape)
    order = np.argsort(flat, kind="stable")
    sorted_flat = flat[order]
    ends = np.flatnonzero(np.diff(sorted_flat) != 1)
    first, last = sorted_flat[np.r_[0, ends + 1]], sorted_flat[np.r_[ends, -1]]
    pairs = list[NDArray[np.int64]]()
    for step in (line, (rows - 1) * line, rows * line, (rows + 1) * line):  # the lines beside each that follow it
        low, high = np.searchsorted(last, first + step - 1), np.searchsorted(first, last + step + 1, side="right")
        run = np.repeat(np.arange(len(first)), high - low)
        pairs.append(np.stack([run, np.arange(len(run)) + (high - np.cumsum(high - low))[run]]))
    one, other = np.concatenate(pairs, axis=1)
    graph = scipy.sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(len(first), len(first)))
    _, found = scipy.sparse.csgraph.connected_components(graph, directed=False)
    _, begin, part = np.unique(found, return_index=True, return_inverse=True)
    marks = np.empty(len(voxels), np.int64)
    marks[order] = np.repeat(begin[part], last - first + 1)  # the first run of each, in the voxels' order
    order = np.argsort(marks, kind="stable")
    parts = np.split(voxels[order], np.flatnonzero(np.diff(marks[order])) + 1)
    return sorted(parts, key=len, reverse=True)


def split(label: VoxelLabel, subject: str, licence: str, only: Side | None = None) -> dict[Side, CoronaryTree]:
    """The trees of a label.

    Args:
        label: both trees in one label, or a single tree where ``only`` names its side.
        only: the side of a label that may hold one tree.

    Raises:
        BadCase: for an empty label, touching or missing trees, a broken tree, or centroids that tell no side.
    """
    if not len(label.voxels):
        raise BadCase("the label is empty")
    parts = components(label.voxels)
    paired = len(parts) > 1 and len(parts[1]) >= MIN_TREE_SHARE * len(parts[0])
    if not paired and only is None:
        second = len(parts[1]) if len(parts) > 1 else 0
        raise BadCase(
            f"left and right tree touch, or one is missing: the largest components have {len(parts[0])} and {second} "
            "voxels; part them, or name the one side in the source's option sides"
        )
    trees, strays = (parts[:2], parts[2:]) if paired else (parts[:1], parts[1:])
    if strays and len(strays[0]) > MAX_FRAGMENT_SHARE * len(trees[-1]):
        raise BadCase(
            f"a third component has {len(strays[0])} voxels beside {', '.join(str(len(t)) for t in trees)}: "
            "a tree is broken; repair the label"
        )
    sides: tuple[Side, ...] = (only,) if only and not paired else _sides([label.world(tree) for tree in trees])
    notes = {"components": len(parts), "stray_voxels": sum(map(len, strays))}
    return {
        side: tree_of(VoxelLabel(tree, label.affine), subject, licence, side, notes)
        for side, tree in zip(sides, trees, strict=True)
    }


def tree_of(label: VoxelLabel, subject: str, licence: str, side: Side, notes: Mapping[str, Any]) -> CoronaryTree:
    """All voxels of a label as one tree."""
    world = np.ascontiguousarray(label.world(label.voxels))
    return CoronaryTree(
        subject, _hash(label), licence, side, world, label.voxel_mm, notes=notes, lattice=label.affine[:3, :3].copy()
    )


def _sides(points: list[NDArray[np.float32]]) -> tuple[Side, Side]:
    first, second = (p.astype(np.float64).mean(0) for p in points)
    gap = float(first[0] - second[0])
    if abs(gap) < MIN_SIDE_GAP_MM:
        raise BadCase(
            f"the two trees' centroids lie {abs(gap):.1f} mm apart from left to right; {MIN_SIDE_GAP_MM:g} mm or more "
            "tell left from right. Is the affine right?"
        )
    return ("left", "right") if gap > 0 else ("right", "left")  # LPS: +x is the patient's left


def _hash(label: VoxelLabel) -> str:
    digest = hashlib.sha256(label.voxels.astype("<i4").tobytes())
    digest.update(label.affine.astype("<f8").tobytes())
    return digest.hexdigest()[:32]
