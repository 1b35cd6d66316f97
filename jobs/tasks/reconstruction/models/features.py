"""What is known of each cell of the hull from the views: the sparse network's input.

Per view: signed distance to the shadow's edge, to its centreline, the radius there (all in mm at the cell's depth), the
vessel's direction in the picture (double angle), how many cells of the hull the ray holds, and where among them this
one lies. Between views: how far their radii disagree. Beside: the views' angles and the side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.pairs import Pair

Floats = NDArray[np.float32]
PLANE = 64  # cells an edge of a view's plane, on which tokens of one ray meet
FAR_MM = 8.0  # beyond it a distance says no more
RAYS = 8  # cells of a plane pixel's ray that count as many
PER_VIEW = 9


@dataclass(frozen=True)
class Tokens:
    """The hull's cells (n, 3), their features (n, f), and in each view the plane's pixel (v, n) that they fall on."""

    cells: NDArray[np.int64]
    features: Floats
    rays: NDArray[np.int64]


def tokens(pair: Pair) -> Tokens:
    """Of a pair's hull."""
    cells = np.argwhere(pair.hull)
    points = pair.grid.centres(cells)
    parts, rays, radii = [], [], []
    for view, shadow in zip(pair.views, pair.shadows, strict=True):
        part, ray, radius = _of_view(points, view, shadow)
        parts.append(part)
        rays.append(ray)
        radii.append(radius)
    low, high = np.minimum.reduce(radii), np.maximum.reduce(radii)
    mismatch = np.log((high + 0.2) / (low + 0.2))[:, None]
    alike = np.concatenate([_angles(view) for view in pair.views] + [[1.0 if pair.side == "left" else -1.0]])
    every = np.broadcast_to(alike, (len(cells), len(alike)))
    features = np.concatenate([*parts, mismatch, every], axis=1).astype(np.float32)
    return Tokens(cells, features, np.stack(rays))


def width(views: int) -> int:
    """Features of a token."""
    return views * (PER_VIEW + 4) + 2


def _of_view(
    points: NDArray[np.float64], view: View, shadow: NDArray[np.uint8]
) -> tuple[Floats, NDArray[np.int64], Floats]:
    rows, cols = shadow.shape
    pixels = view.project(points)
    at = tuple(np.clip(np.rint(pixels).astype(int).T, 0, [[rows - 1], [cols - 1]]))
    lit = shadow > 0
    inside, outside = ndimage.distance_transform_edt(lit), ndimage.distance_transform_edt(~lit)
    line = skeletonize(lit)
    far, nearest = ndimage.distance_transform_edt(~line, return_indices=True)
    near = tuple(nearest[:, at[0], at[1]])
    depth = view.sod_mm + points @ view.direction
    mm = view.pixel_mm[0] * depth / view.sid_mm
    radius = inside[near] * mm
    twice = _direction(line)
    ray = _plane(pixels, rows, cols)
    number, place = _along(ray, depth)
    part = np.stack(
        [
            np.clip((inside - outside)[at] * mm, -FAR_MM, FAR_MM) / 2,
            np.clip(far[at] * mm, 0, FAR_MM) / 2,
            np.clip(radius, 0, FAR_MM),
            far[at] * mm / np.maximum(radius, 0.2) / 2,
            twice[0][near],
            twice[1][near],
            np.minimum(number / RAYS, 3),
            place,
            lit[at],
        ],
        axis=1,
    )
    return part.astype(np.float32), ray, radius.astype(np.float32)


def _direction(line: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """cos and sin of twice the angle of a centreline at each of its pixels, by the scatter of its neighbours."""
    rows, cols = np.nonzero(line)
    weight = ndimage.gaussian_filter(line.astype(np.float32), 4)
    centre = [ndimage.gaussian_filter(np.where(line, axis, 0).astype(np.float32), 4) for axis in _axes(line)]
    r, c = _axes(line)
    square = [
        ndimage.gaussian_filter(np.where(line, value, 0).astype(np.float32), 4) for value in (r * r, c * c, r * c)
    ]
    out = np.zeros(line.shape, np.float32), np.zeros(line.shape, np.float32)
    w = np.maximum(weight[rows, cols], 1e-6)
    mr, mc = centre[0][rows, cols] / w, centre[1][rows, cols] / w
    rr, cc, rc = (value[rows, cols] / w for value in square)
    difference, mixed = (cc - mc * mc) - (rr - mr * mr), 2 * (rc - mr * mc)
    size = np.maximum(np.sqrt(difference**2 + mixed**2), 1e-6)
    out[0][rows, cols], out[1][rows, cols] = difference / size, mixed / size
    return out


def _axes(line: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Rows and columns, small about the middle, so that squares keep their digits."""
    rows, cols = line.shape
    r = np.broadcast_to((np.arange(rows, dtype=np.float32) - rows / 2)[:, None] / 64, line.shape)
    c = np.broadcast_to((np.arange(cols, dtype=np.float32) - cols / 2)[None] / 64, line.shape)
    return r, c


def _plane(pixels: NDArray[np.float64], rows: int, cols: int) -> NDArray[np.int64]:
    row, col = (
        np.clip((pixels[:, a] + 0.5) * PLANE / n, 0, PLANE - 1).astype(np.int64) for a, n in ((0, rows), (1, cols))
    )
    out: NDArray[np.int64] = row * PLANE + col
    return out


def _along(ray: NDArray[np.int64], depth: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """How many tokens each one's ray holds, and its place among them, -1 nearest the source to 1."""
    order = np.lexsort((depth, ray))
    number = np.bincount(ray, minlength=PLANE * PLANE)
    first = np.concatenate([[0], np.cumsum(number)])[ray[order]]
    place = np.empty(len(ray), np.float32)
    place[order] = np.arange(len(ray)) - first
    many = number[ray].astype(np.float32)
    return many, (2 * place / np.maximum(many - 1, 1) - 1).astype(np.float32)


def _angles(view: View) -> NDArray[np.float64]:
    a, b = math.radians(view.primary_deg), math.radians(view.secondary_deg)
    return np.array([math.sin(a), math.cos(a), math.sin(b), math.cos(b)])
