"""The centreline graph of a vessel mask: its segments between forks, ends and the border of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.vessel.skeleton import chains, wall_distance

End = Literal["fork", "end", "border"]
Points = NDArray[np.float64]

SMOOTH_PX = 2.5  # Gaussian along the chain: takes the stairs out of it, moves a bend of radius 20 px by .15 px
SHORTEST_PX = 6.0  # segments shorter than this are not worth a normal
STRAIGHT_ON = np.cos(np.deg2rad(40))  # arms that differ by less pass through a crossing


@dataclass(frozen=True)
class Segment:
    """A vessel between two places where something happens.

    ``points`` float64 (n, 2): x, y about 1 px apart, smoothed. ``radii`` float64 (n,): distance to the wall of the mask
    in px. ``start``, ``end``: what lies there.
    """

    points: Points
    radii: NDArray[np.float64]
    start: End
    end: End


@dataclass(frozen=True)
class VesselGraph:
    """All segments of a mask, and ``forks`` float64 (m, 2): where vessels fork or cross.

    A segment runs on through a crossing; the crossing is listed all the same, so that nobody draws a lesion on it.
    """

    segments: tuple[Segment, ...]
    forks: Points


@dataclass
class _Edge:
    a: int
    b: int
    points: Points  # from node a to node b, both included

    @property
    def length(self) -> float:
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


def trace(mask: NDArray[Any]) -> VesselGraph:
    """Centreline graph of a vessel mask (rows, cols), non-zero inside.

    The mask is closed by one pixel (the seams between the polygons of one vessel), thinned, taken apart at its
    junctions; side twigs that do not leave the vessel's own width are cut, and two vessels that cross are told apart by
    their directions. Raises ValueError for a mask that is not two-dimensional.
    """
    from skimage.morphology import skeletonize  # not with the module: a plan needs none of it

    if np.ndim(mask) != 2:
        raise ValueError(f"mask has {np.ndim(mask)} dimensions, not 2: give one (rows, cols) array")
    inside = np.asarray(mask).view(np.uint8) > 0 if mask.dtype == bool else np.asarray(mask) > 0
    if not inside.any():
        return VesselGraph((), np.zeros((0, 2)))
    rows, cols = (slice(at[0], at[-1] + 1) for at in (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0)))
    closed = ~_grown(~_grown(np.pad(inside[rows, cols], 2)))
    crop = closed.astype(np.uint8)
    corner = np.array([cols.start - 2, rows.start - 2], float)
    pixels, first, ties, nodes = chains(skeletonize(closed).astype(np.uint8))

    wall = np.asarray(inside, np.uint8)
    wall[rows, cols] |= crop[2:-2, 2:-2]
    nodes = nodes + corner
    radius = wall_distance(wall, nodes)
    edges = []
    for i, (a, b) in enumerate(ties):
        chain = pixels[first[i] : first[i + 1]] + corner
        head, tail = ([nodes[a]], [nodes[b]]) if a >= 0 else ([], [])
        edges.append(
            _Edge(int(a), int(b), np.concatenate([*map(np.atleast_2d, head), chain, *map(np.atleast_2d, tail)]))
        )
    edges = _prune(edges, radius)
    edges, crossings = _uncross(edges, nodes, radius)
    return _segments(edges, nodes, crossings, wall)


def _grown(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask and all pixels that touch it, by a side or a corner."""
    tall = inside.copy()
    tall[1:] |= inside[:-1]
    tall[:-1] |= inside[1:]
    out = tall.copy()
    out[:, 1:] |= tall[:, :-1]
    out[:, :-1] |= tall[:, 1:]
    return out


def _degrees(edges: list[_Edge], count: int) -> NDArray[np.int64]:
    ends = [n for e in edges for n in (e.a, e.b) if n >= 0]
    return np.bincount(np.array(ends, np.int64), minlength=count)


def _prune(edges: list[_Edge], radius: NDArray[np.float64]) -> list[_Edge]:
    """Cut twigs no longer than the vessel is wide, the shortest first, and join what they had parted."""
    while True:
        degree = _degrees(edges, len(radius))
        twig, worst = None, 1.0
        for edge in edges:
            if edge.a < 0:
                continue
            tips = int(degree[edge.a] == 1) + int(degree[edge.b] == 1)
            allowed = 1.5 * max(radius[edge.a], radius[edge.b]) + 3 if tips == 1 else SHORTEST_PX + 2
            if edge.a == edge.b:
                tips, allowed = 1, 8 * radius[edge.a]
            if tips and edge.length / allowed < worst:
                twig, worst = edge, edge.length / allowed
        if twig is None:
            return edges
        edges = _join([e for e in edges if e is not twig], len(radius))


def _join(edges: list[_Edge], count: int) -> list[_Edge]:
    """Two edges that meet at a node with no third are one."""
    for node in np.flatnonzero(_degrees(edges, count) == 2):
        pair = [e for e in edges if node in (e.a, e.b)]
        if len(pair) != 2:
            continue  # a ring through one node
        edges = [e for e in edges if e is not pair[0] and e is not pair[1]]
        edges.append(_through(pair[0], pair[1], int(node), int(node)))
    return edges


def _through(one: _Edge, two: _Edge, leave: int, enter: int) -> _Edge:
    """One edge: along ``one`` up to the node ``leave``, on along ``two`` from the node ``enter``."""
    a, head = (one.a, one.points) if one.b == leave else (one.b, one.points[::-1])
    b, tail = (two.b, two.points) if two.a == enter else (two.a, two.points[::-1])
    return _Edge(a, b, np.concatenate([head[:-1], tail[1:]]))


def _uncross(edges: list[_Edge], nodes: Points, radius: NDArray[np.float64]) -> tuple[list[_Edge], list[Points]]:
    """Two vessels that cross: four arms about one node, or about two joined by a bridge within their width."""
    crossings: list[Points] = []
    while True:
        edges, place = _uncross_one(edges, nodes, radius)
        if place is None:
            return edges, crossings
        crossings.append(place)


def _uncross_one(edges: list[_Edge], nodes: Points, radius: NDArray[np.float64]) -> tuple[list[_Edge], Points | None]:
    degree = _degrees(edges, len(nodes))
    bridges: list[tuple[_Edge | None, int, int]] = [(None, int(n), int(n)) for n in np.flatnonzero(degree == 4)]
    for e in edges:
        near = e.a >= 0 and e.a != e.b and e.length < 2.2 * (radius[e.a] + radius[e.b]) + 2
        if near and degree[e.a] == 3 and degree[e.b] == 3:
            bridges.append((e, e.a, e.b))
    for bridge, a, b in bridges:
        arms = [(e, n) for e in edges if e is not bridge for n in sorted({a, b}) if n in (e.a, e.b)]
        if len(arms) != 4 or len({id(e) for e, _ in arms}) != 4:
            continue
        place = (nodes[a] + nodes[b]) / 2
        reach = max(radius[a], radius[b]) + 2
        ways = [_direction(e, n, place, reach) for e, n in arms]
        pairings = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
        fits = [min(-float(ways[i] @ ways[j]) for i, j in pairs) for pairs in pairings]
        best = int(np.argmax(fits))
        if fits[best] < STRAIGHT_ON:
            continue
        rest = [e for e in edges if e is not bridge and all(e is not arm for arm, _ in arms)]
        for i, j in pairings[best]:
            rest.append(_through(arms[i][0], arms[j][0], arms[i][1], arms[j][1]))
        return rest, place
    return edges, None


def _direction(edge: _Edge, node: int, place: Points, reach: float) -> Points:
    """Unit vector along an arm, read where it has left the other vessel."""
    points = edge.points if edge.a == node else edge.points[::-1]
    away = np.linalg.norm(points - place, axis=1)
    near = int(np.argmax(away >= reach)) if away.max() >= reach else len(points) // 2
    far = min(near + 10, len(points) - 1)
    way = points[far] - points[near] if far > near else points[far] - place
    unit: Points = way / max(float(np.linalg.norm(way)), 1e-9)
    return unit


def _segments(edges: list[_Edge], nodes: Points, crossings: list[Points], wall: NDArray[np.uint8]) -> VesselGraph:
    degree = _degrees(edges, len(nodes))
    size = np.array(wall.shape[::-1])
    segments = []
    for edge in edges:
        points = smooth(edge.points)
        if len(points) < SHORTEST_PX:
            continue
        radii = wall_distance(wall, points)
        ends: list[End] = []
        for node, at in ((edge.a, 0), (edge.b, -1)):
            point, near = points[at], radii[at] + 2.5
            at_border = bool((point < near).any() or (point > size - 1 - near).any())
            ends.append("fork" if node >= 0 and degree[node] > 2 else "border" if at_border else "end")
        segments.append(Segment(points, radii, ends[0], ends[1]))
    forks = [nodes[n] for n in np.flatnonzero(degree > 2)] + crossings
    return VesselGraph(tuple(segments), np.array(forks).reshape(-1, 2))


def smooth(points: Points, sigma: float = SMOOTH_PX) -> Points:
    """A polyline (n, 2) at steps of about 1 px, smoothed by a Gaussian of ``sigma`` px; its ends stay."""
    even = resample(points)
    if len(even) < 3:
        return even
    reach = min(int(4 * sigma), len(even) - 1)
    head = 2 * even[0] - even[reach:0:-1]
    tail = 2 * even[-1] - even[-2 : -reach - 2 : -1]
    padded = np.concatenate([head, even, tail])
    return resample(scipy.ndimage.gaussian_filter1d(padded, sigma, axis=0)[reach : reach + len(even)])


def resample(points: Points, step: float = 1.0) -> Points:
    """The polyline (n, 2) at equal steps as near to ``step`` px as its length allows."""
    s = arc_length(points)
    keep = np.concatenate([[True], np.diff(s) > 1e-9])
    even = np.linspace(0, s[-1], max(round(s[-1] / step), 1) + 1)
    return np.column_stack([np.interp(even, s[keep], points[keep, axis]) for axis in (0, 1)])


def arc_length(points: Points) -> NDArray[np.float64]:
    """Length of a polyline (n, 2) from its start to each point, in px."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
