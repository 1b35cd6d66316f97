"""A tree's surface from its voxels, and how far rays run inside it: what images of it are made from.

Shadows of whole cells are a fifth too large, as some cell always reaches out along a ray. The surface is marching
cubes' on the voxels, smoothed without shrinking (Taubin 1995: each step back is a little longer than the one forth).
On tubes of 0.5 to 3 mm radius in voxels of 0.33 to 0.5 mm its shadow is right to 2 % (tests).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import Constants, View
from lesionforge.generators.kernels import jit
from lesionforge.generators.types import CoronaryTree

FORTH, BACK, TURNS = 0.5, -0.53, 4
GRID_MM = 2.0**-12  # vertices lie on this grid, which swallows last bits


@dataclass(frozen=True)
class Surface:
    """Triangles (m, 3) int32 of vertices (n, 3) float32, LPS mm: closed, and outwards where their corners turn left."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]


def surface(tree: CoronaryTree) -> Surface:
    """The surface of a tree's voxels."""
    from skimage.measure import marching_cubes  # takes a second to import

    lattice = np.diag(tree.voxel_mm) if tree.lattice is None else tree.lattice
    first = tree.points[0].astype(np.float64)
    inverse = np.linalg.inv(lattice)
    steps = tree.points.astype(np.float64) - first
    at = [np.rint(steps[:, 0] * a + steps[:, 1] * b + steps[:, 2] * c).astype(np.int64) for a, b, c in inverse]
    low = [int(axis.min()) - 1 for axis in at]
    volume = np.zeros([int(axis.max()) - corner + 2 for axis, corner in zip(at, low, strict=True)], np.float32)
    volume[tuple(axis - corner for axis, corner in zip(at, low, strict=True))] = 1
    found, triangles, _, _ = marching_cubes(volume, 0.5, allow_degenerate=False)
    smooth = _smoothed(found.astype(np.float64), triangles) + np.array(low)
    columns = [first[r] + smooth[:, 0] * a + smooth[:, 1] * b + smooth[:, 2] * c for r, (a, b, c) in enumerate(lattice)]
    if np.linalg.det(lattice) > 0:  # their corners turn left, seen from outside, whatever the array's handedness
        triangles = triangles[:, ::-1]
    vertices = np.rint(np.stack(columns, axis=1) / GRID_MM) * GRID_MM
    return Surface(vertices.astype(np.float32), np.ascontiguousarray(triangles, np.int32))


def chords(
    surface: Surface, view: View, offset_mm: NDArray[np.float64] | tuple[float, float, float] = (0, 0, 0)
) -> NDArray[np.float32]:
    """Length in mm (rows, cols) of the ray to each pixel's centre inside a surface; its shadow is where that is not 0.

    Args:
        offset_mm: (3,) LPS mm that is taken from the vertices: where the isocentre lies among them.

    Raises:
        ValueError: a vertex lies at or behind the source.
    """
    points = surface.vertices - np.asarray(offset_mm, np.float64)
    corners = np.empty((len(points), 3))
    corners[:, :2] = view.project(points)
    dx, dy, dz = view.constants()[5:8]
    corners[:, 2] = 1 / (view.sod_mm + (dx * points[:, 0] + dy * points[:, 1] + dz * points[:, 2]))
    depth = np.zeros((view.rows, view.cols))
    _cross(corners, surface.triangles, depth)
    out = np.zeros(depth.shape, np.float32)
    _lengthen(depth, view.constants(), out)
    return out


def _smoothed(vertices: NDArray[np.float64], triangles: NDArray[np.integer]) -> NDArray[np.float64]:
    one = np.concatenate([triangles[:, a] for a in (0, 1, 2, 1, 2, 0)])
    other = np.concatenate([triangles[:, a] for a in (1, 2, 0, 0, 1, 2)])
    edges = scipy.sparse.coo_array((np.ones(len(one)), (one, other)), shape=(len(vertices),) * 2).tocsr()
    edges.data[:] = 1
    share = 1 / np.maximum(edges.sum(axis=1), 1)[:, None]
    for step in (FORTH, BACK) * TURNS:
        vertices = vertices + step * (share * (edges @ vertices) - vertices)
    return vertices


@jit
def _side(corners: NDArray[np.float64], a: int, b: int, row: int, col: int) -> float:
    """Positive on one side of an edge; the same number for both triangles that share it."""
    r, c = corners[a, 0], corners[a, 1]
    side: float = (corners[b, 0] - r) * (col - c) - (corners[b, 1] - c) * (row - r)
    return side


@jit
def _cross(corners: NDArray[np.float64], triangles: NDArray[np.int32], depth: NDArray[np.float64]) -> None:
    """Add the depth where a ray leaves the surface and take away that where it enters.

    A pixel's centre on an edge belongs to one of the two triangles there, always: no ray enters without leaving.

    Args:
        corners: row, column and inverse depth of each vertex (n, 3).
    """
    rows, cols = depth.shape
    for n in range(len(triangles)):
        a, b, c = triangles[n]
        area = (corners[b, 0] - corners[a, 0]) * (corners[c, 1] - corners[a, 1])
        area -= (corners[b, 1] - corners[a, 1]) * (corners[c, 0] - corners[a, 0])
        if area == 0:
            continue
        if area < 0:  # seen from the other side: two corners change places
            b, c = c, b
        sign = 1.0 if area > 0 else -1.0
        r0, r1, r2 = corners[a, 0], corners[b, 0], corners[c, 0]
        c0, c1, c2 = corners[a, 1], corners[b, 1], corners[c, 1]
        for row in range(max(math.ceil(min(r0, r1, r2)), 0), min(math.floor(max(r0, r1, r2)), rows - 1) + 1):
            for col in range(max(math.ceil(min(c0, c1, c2)), 0), min(math.floor(max(c0, c1, c2)), cols - 1) + 1):
                ab = _side(corners, min(a, b), max(a, b), row, col)
                bc = _side(corners, min(b, c), max(b, c), row, col)
                ca = _side(corners, min(c, a), max(c, a), row, col)
                if (ab >= 0) == (a < b) and (bc >= 0) == (b < c) and (ca >= 0) == (c < a):
                    ab, bc, ca = abs(ab), abs(bc), abs(ca)
                    inverse = (bc * corners[a, 2] + ca * corners[b, 2] + ab * corners[c, 2]) / (ab + bc + ca)
                    depth[row, col] += sign / inverse


@jit
def _lengthen(depth: NDArray[np.float64], g: Constants, out: NDArray[np.float32]) -> None:
    """From depth to length along the ray; rounding, where surfaces touch, is no vessel."""
    for row in range(depth.shape[0]):
        b = (row - g[12]) / g[10]
        for col in range(depth.shape[1]):
            if depth[row, col] > 1e-6:
                a = (col - g[11]) / g[9]
                out[row, col] = depth[row, col] * math.sqrt(1.0 + a * a + b * b)
