"""A tree's surface from its voxels, and how far rays run inside it: what images of it are made from.

Shadows of whole cells are a fifth too large, as some cell always reaches out along a ray. The surface is marching
cubes' on the voxels, smoothed without shrinking (Taubin 1995: each step back is a little longer than the one forth).
On tubes of 0.5 to 3 mm radius in voxels of 0.33 to 0.5 mm its shadow is right to 2 % (tests).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.marching import marched
from lesionforge.generators.carm.view import Constants, View
from lesionforge.generators.kernels import inline, jit
from lesionforge.generators.types import CoronaryTree

Offset = NDArray[np.float64] | tuple[float, float, float]
Whole = Any  # np.int64; mypy follows no scalar arithmetic of numpy
FORTH, BACK, TURNS = 0.5, -0.53, 4
GRID_MM = 2.0**-12  # vertices lie on this grid, which swallows last bits
_BITS = 10
PARTS = 1 << _BITS  # of a pixel, in which a vertex lies in an image
TOUCH_MM = 1e-6  # what is less deep is rounding
_FAR = 2.0**19  # pixels: what lies farther off is taken there, so that areas stay whole numbers


@dataclass(frozen=True)
class Surface:
    """Triangles (m, 3) int32 of vertices (n, 3) float32, LPS mm: closed, and outwards where their corners turn left."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]


def surface(tree: CoronaryTree) -> Surface:
    """The surface of a tree's voxels."""
    lattice = np.diag(tree.voxel_mm) if tree.lattice is None else tree.lattice
    first = tree.points[0].astype(np.float64)
    inverse = np.linalg.inv(lattice)
    steps = tree.points.astype(np.float64) - first
    voxels = np.stack([steps[:, 0] * a + steps[:, 1] * b + steps[:, 2] * c for a, b, c in inverse], axis=1)
    found, triangles = marched(np.rint(voxels).astype(np.int64))
    smooth = np.empty_like(found)
    _smooth(found, triangles, smooth)
    columns = [first[r] + smooth[:, 0] * a + smooth[:, 1] * b + smooth[:, 2] * c for r, (a, b, c) in enumerate(lattice)]
    if np.linalg.det(lattice) > 0:  # their corners turn left, seen from outside, whatever the array's handedness
        triangles = triangles[:, ::-1]
    vertices = np.rint(np.stack(columns, axis=1) / GRID_MM) * GRID_MM
    return Surface(vertices.astype(np.float32), np.ascontiguousarray(triangles, np.int32))


def shadow(surface: Surface, view: View, offset_mm: Offset = (0, 0, 0)) -> NDArray[np.uint8]:
    """1 (rows, cols) where ``chords``, whose arguments and errors it has, are not 0."""
    return (_depth(surface, view, offset_mm) > TOUCH_MM).view(np.uint8)


def chords(surface: Surface, view: View, offset_mm: Offset = (0, 0, 0)) -> NDArray[np.float32]:
    """Length in mm (rows, cols) of the ray to each pixel's centre inside a surface.

    Args:
        offset_mm: (3,) LPS mm that is taken from the vertices: where the isocentre lies among them.

    Raises:
        ValueError: a vertex lies at or behind the source.
    """
    depth = _depth(surface, view, offset_mm)
    out = np.zeros(depth.shape, np.float32)
    _lengthen(depth, view.constants(), out)
    return out


def _depth(surface: Surface, view: View, offset_mm: Offset) -> NDArray[np.float64]:
    """How much deeper (rows, cols) rays leave the surface than they enter it, mm."""
    corners, nearness = np.empty((len(surface.vertices), 2), np.int32), np.empty(len(surface.vertices))
    x, y, z = np.asarray(offset_mm, np.float64).tolist()
    nearest = _project(surface.vertices, (x, y, z), view.constants(), corners, nearness)
    if nearest <= 0:
        raise ValueError(f"a vertex lies {-nearest:.1f} mm behind the source: centre on the isocentre")
    depth = np.zeros((view.rows, view.cols))
    _cross(corners, nearness, surface.triangles, depth)
    return depth


@jit
def _project(
    points: NDArray[np.float32],
    offset: tuple[float, float, float],
    g: Constants,
    corners: NDArray[np.int32],
    nearness: NDArray[np.float64],
) -> float:
    """Row and column of each vertex (``View.project``) in ``PARTS``, and 1 / depth; returns the least depth."""
    ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = g
    least = math.inf
    for n in range(len(points)):
        x, y, z = points[n, 0] - offset[0], points[n, 1] - offset[1], points[n, 2] - offset[2]
        depth = sod + (dx * x + dy * y + dz * z)
        least = min(least, depth)
        inverse = 1.0 / depth
        row = ((vx * x + vy * y + vz * z) * inverse) * fv + cr
        col = ((ux * x + uy * y) * inverse) * fu + cc
        corners[n, 0] = math.floor(min(max(row, -_FAR), _FAR) * PARTS + 0.5)
        corners[n, 1] = math.floor(min(max(col, -_FAR), _FAR) * PARTS + 0.5)
        nearness[n] = inverse
    return least


@jit
def _smooth(vertices: NDArray[np.float64], triangles: NDArray[np.int32], out: NDArray[np.float64]) -> None:
    """Towards the mean of a vertex's neighbours and back; each is told by one of the two triangles at their edge."""
    count, total = np.zeros(len(vertices)), np.empty(vertices.shape)
    for n in range(len(vertices)):
        for axis in range(3):
            out[n, axis] = vertices[n, axis]
    for n in range(len(triangles)):
        for corner in range(3):
            count[triangles[n, corner]] += 1
    for turn in range(2 * TURNS):
        total[:] = 0
        for n in range(len(triangles)):
            a, b, c = triangles[n]
            for axis in range(3):
                total[a, axis] += out[b, axis]
                total[b, axis] += out[c, axis]
                total[c, axis] += out[a, axis]
        step = FORTH if turn % 2 == 0 else BACK
        for n in range(len(vertices)):
            for axis in range(3):
                out[n, axis] += step * (total[n, axis] / count[n] - out[n, axis])


@inline
def _corner(corners: NDArray[np.int32], n: int) -> tuple[Any, Any]:
    return np.int64(corners[n, 0]), np.int64(corners[n, 1])


@inline
def _side(r0: Whole, c0: Whole, r1: Whole, c1: Whole, row: Whole, col: Whole) -> Any:
    """Twice the area that an edge spans with a point, exactly; its sign tells the side."""
    return (r1 - r0) * (col - c0) - (c1 - c0) * (row - r0)


@inline
def _mine(r0: Whole, c0: Whole, r1: Whole, c1: Whole) -> int:
    """1 where a point on an edge belongs to the triangle that runs along it so; to the one beyond it does not."""
    return 1 if r1 > r0 or (r1 == r0 and c1 > c0) else 0


@inline
def _between(one: Whole, two: Whole, three: Whole, count: int) -> tuple[Any, Any]:
    """First and last of ``count`` rows, or columns, of pixels whose centres lie between three corners."""
    return max((min(one, two, three) + (PARTS - 1)) >> _BITS, 0), min(max(one, two, three) >> _BITS, count - 1)


@jit
def _cross(
    corners: NDArray[np.int32], nearness: NDArray[np.float64], triangles: NDArray[np.int32], depth: NDArray[np.float64]
) -> None:
    """Add the depth where a ray leaves the surface and take away that where it enters.

    In whole numbers, so that no ray enters without leaving: a pixel's centre on an edge belongs to one of the two
    triangles there, always.

    Args:
        corners: row and column of each vertex (n, 2), in ``PARTS`` of a pixel.
        nearness: (n,) 1 / depth.
    """
    rows, cols = depth.shape
    for n in range(len(triangles)):
        a, b, c = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        (ra, ca), (rb, cb), (rc, cc) = _corner(corners, a), _corner(corners, b), _corner(corners, c)
        top, bottom = _between(ra, rb, rc, rows)
        left, right = _between(ca, cb, cc, cols)
        if bottom < top or right < left:  # between the centres of pixels, as half of them are
            continue
        area = _side(ra, ca, rb, cb, rc, cc)
        if area == 0:
            continue
        sign = 1.0
        if area < 0:  # seen from the other side: two corners change places
            sign, area = -1.0, -area
            b, c, rb, rc, cb, cc = c, b, rc, rb, cc, cb
        at_a, at_b, at_c = _mine(rb, cb, rc, cc), _mine(rc, cc, ra, ca), _mine(ra, ca, rb, cb)
        for row in range(top, bottom + 1):
            for col in range(left, right + 1):
                y, x = row * PARTS, col * PARTS
                wa = _side(rb, cb, rc, cc, y, x)
                wb = _side(rc, cc, ra, ca, y, x)
                wc = _side(ra, ca, rb, cb, y, x)
                if wa + at_a > 0 and wb + at_b > 0 and wc + at_c > 0:
                    depth[row, col] += sign * area / (wa * nearness[a] + wb * nearness[b] + wc * nearness[c])


@jit
def _lengthen(depth: NDArray[np.float64], g: Constants, out: NDArray[np.float32]) -> None:
    """From depth to length along the ray; rounding, where surfaces touch, is no vessel."""
    for row in range(depth.shape[0]):
        b = (row - g[12]) / g[10]
        for col in range(depth.shape[1]):
            if depth[row, col] > TOUCH_MM:
                a = (col - g[11]) / g[9]
                out[row, col] = depth[row, col] * math.sqrt(1.0 + a * a + b * b)
