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
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from lesionforge.generators.carm.view import View
from lesionforge.jobs.tasks.reconstruction.pairs import Pair

Floats = NDArray[np.float32]
FAR_MM = 8.0  # beyond it a distance says no more
RAYS = 8  # cells of a plane pixel's ray that count as many
FAR_PIXELS = 64.0
NEIGHBOURS_PIXELS = 8.0  # of a centreline's pixel that say where it runs
PER_VIEW = 9


@dataclass(frozen=True)
class Tokens:
    """The hull's cells (n, 3), their features (n, f), and in each view the plane's pixel (v, n) that they fall on.

    ``plane``: pixels an edge of a view's plane, on which tokens of one ray meet.
    """

    cells: NDArray[np.int64]
    features: Floats
    rays: NDArray[np.int64]
    plane: int


def tokens(pair: Pair) -> Tokens:
    """Of a pair's hull."""
    cells = np.argwhere(pair.hull)
    points = pair.grid.centres(cells)
    plane = pair.grid.shape[0]  # about as fine as the cells
    parts, rays, radii = [], [], []
    for view, shadow in zip(pair.views, pair.shadows, strict=True):
        part, ray, radius = _of_view(points, view, shadow, plane)
        parts.append(part)
        rays.append(ray)
        radii.append(radius)
    low, high = np.minimum.reduce(radii), np.maximum.reduce(radii)
    mismatch = np.log((high + 0.2) / (low + 0.2))[:, None]
    alike = np.concatenate([_angles(view) for view in pair.views] + [[1.0 if pair.side == "left" else -1.0]])
    every = np.broadcast_to(alike, (len(cells), len(alike)))
    features = np.concatenate([*parts, mismatch, every], axis=1).astype(np.float32)
    return Tokens(cells, features, np.stack(rays), plane)


def width(views: int) -> int:
    """Features of a token."""
    return views * (PER_VIEW + 4) + 2


def _of_view(
    points: NDArray[np.float64], view: View, shadow: NDArray[np.uint8], plane: int
) -> tuple[Floats, NDArray[np.int64], Floats]:
    rows, cols = shadow.shape
    pixels = view.project(points)
    lit = np.pad(shadow > 0, 1)
    edge = cKDTree(_outline(lit))
    line = np.argwhere(skeletonize(lit)).astype(np.float64) - 1
    mm = view.pixel_mm_at(points)
    nearest = np.clip(np.rint(pixels).astype(int).T, -1, [[rows], [cols]]) + 1
    inside = lit[tuple(nearest)]
    away = np.minimum(edge.query(pixels, distance_upper_bound=FAR_PIXELS)[0], FAR_PIXELS)
    signed = np.where(inside, away, -away)
    far, near = cKDTree(line).query(pixels)
    radius = edge.query(line)[0][near] * mm
    twice = _directions(line)[near]
    ray = _plane(pixels, rows, cols, plane)
    number, place = _along(ray, points @ view.direction, plane)
    part = np.stack(
        [
            np.clip(signed * mm, -FAR_MM, FAR_MM) / 2,
            np.clip(far * mm, 0, FAR_MM) / 2,
            np.clip(radius, 0, FAR_MM),
            far * mm / np.maximum(radius, 0.2) / 2,
            twice[:, 0],
            twice[:, 1],
            np.minimum(number / RAYS, 3),
            place,
            inside,
        ],
        axis=1,
    )
    return part.astype(np.float32), ray, radius.astype(np.float32)


def _outline(lit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Midpoints (n, 2) of lit pixels and dark ones beside or below each other; of a mask with a margin of one pixel."""
    down, right = np.argwhere(lit[1:] != lit[:-1]), np.argwhere(lit[:, 1:] != lit[:, :-1])
    return np.concatenate([down - np.array([0.5, 1]), right - np.array([1, 0.5])])


def _directions(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """cos and sin (n, 2) of twice the angle of a centreline at each of its pixels, by the scatter of its neighbours."""
    pairs = cKDTree(line).query_pairs(NEIGHBOURS_PIXELS, output_type="ndarray")
    step = line[pairs[:, 1]] - line[pairs[:, 0]]
    weight = np.exp(-(step**2).sum(1) / (NEIGHBOURS_PIXELS**2 / 2))
    values = np.stack([step[:, 1] ** 2 - step[:, 0] ** 2, 2 * step[:, 0] * step[:, 1]], 1) * weight[:, None]
    out = np.zeros_like(line)
    for end in (0, 1):
        for axis in (0, 1):
            out[:, axis] += np.bincount(pairs[:, end], values[:, axis], len(line))
    out /= np.maximum(np.sqrt((out**2).sum(1))[:, None], 1e-6)
    return out


def _plane(pixels: NDArray[np.float64], rows: int, cols: int, plane: int) -> NDArray[np.int64]:
    row, col = (
        np.clip((pixels[:, a] + 0.5) * plane / n, 0, plane - 1).astype(np.int64) for a, n in ((0, rows), (1, cols))
    )
    out: NDArray[np.int64] = row * plane + col
    return out


def _along(ray: NDArray[np.int64], depth: NDArray[np.float64], plane: int) -> tuple[Floats, Floats]:
    """How many tokens each one's ray holds, and its place among them, -1 nearest the source to 1."""
    order = np.lexsort((depth, ray))
    number = np.bincount(ray, minlength=plane * plane)
    first = np.concatenate([[0], np.cumsum(number)])[ray[order]]
    place = np.empty(len(ray), np.float32)
    place[order] = np.arange(len(ray)) - first
    many = number[ray].astype(np.float32)
    return many, (2 * place / np.maximum(many - 1, 1) - 1).astype(np.float32)


def _angles(view: View) -> NDArray[np.float64]:
    a, b = math.radians(view.primary_deg), math.radians(view.secondary_deg)
    return np.array([math.sin(a), math.cos(a), math.sin(b), math.cos(b)])
