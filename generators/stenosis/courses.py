"""Vessels as a reader follows them: the segments of a centreline graph, straight on through their forks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.vessel.graph import Segment, VesselGraph, smooth

Points = NDArray[np.float64]

AT_NODE = 2.0  # px between a fork and the end of a segment that meets it
STRAIGHT_ON = np.cos(np.deg2rad(50))  # arms that differ by more part ways
THINNER = 0.6  # least ratio of the radii of two arms that are one vessel
LOOK = 14  # rows of an arm by which its direction and radius are told
JOINT = 5  # rows about a fork where the mask's radius is the fork's, not the vessel's


def courses(graph: VesselGraph, apart: Sequence[bool]) -> list[Segment]:
    """Segments joined at every fork with the arm that leads straight on; the rest end at it.

    Args:
        graph: of the mask.
        apart: by segment, whether it must stay by itself.
    """
    left: dict[int, Segment] = {i: s for i, s in enumerate(graph.segments) if not apart[i]}
    alone = [s for i, s in enumerate(graph.segments) if apart[i]]
    number = len(graph.segments)
    for node in graph.forks:
        arms = [(i, first) for i, s in left.items() for first in (True, False) if _meets(s, node, first)]
        pairs = []
        for a, (i, head) in enumerate(arms):
            for j, other in arms[a + 1 :]:
                (way, wide), (back, thick) = _arm(left[i], head), _arm(left[j], other)
                straight = -float((way * back).sum())
                if i != j and straight >= STRAIGHT_ON and min(wide, thick) >= THINNER * max(wide, thick):
                    pairs.append((straight, i, head, j, other))
        if pairs:
            _, i, head, j, other = max(pairs)
            left[number] = _joined(left.pop(i), head, left.pop(j), other)
            number += 1
    return [*alone, *left.values()]


def _meets(segment: Segment, node: Points, first: bool) -> bool:
    end, kind = (segment.points[0], segment.start) if first else (segment.points[-1], segment.end)
    return kind == "fork" and bool(np.hypot(*(end - node)) <= AT_NODE)


def _arm(segment: Segment, first: bool) -> tuple[Points, float]:
    """Unit direction away from the fork, and the radius beyond the joint."""
    points, radii = (segment.points, segment.radii) if first else (segment.points[::-1], segment.radii[::-1])
    far = min(LOOK, len(points) - 1)
    near = min(JOINT, far - 1)
    way = points[far] - points[near]
    return way / max(float(np.hypot(*way)), 1e-9), float(np.median(radii[near : far + 1]))


def _joined(one: Segment, one_first: bool, two: Segment, two_first: bool) -> Segment:
    a, a_radii, start = (
        (one.points[::-1], one.radii[::-1], one.end) if one_first else (one.points, one.radii, one.start)
    )
    b, b_radii, end = (two.points, two.radii, two.end) if two_first else (two.points[::-1], two.radii[::-1], two.start)
    line = np.concatenate([a, b[1:]])
    points = smooth(line)
    radii = np.concatenate([a_radii, b_radii[1:]])
    place = np.linspace(0, len(line) - 1, len(points))
    joint = slice(max(0, len(a) - 1 - JOINT), len(a) + JOINT)
    outer = radii[[joint.start, min(joint.stop, len(radii) - 1)]]
    radii = radii.copy()
    radii[joint] = np.minimum(radii[joint], outer.max())
    return Segment(points, np.interp(place, np.arange(len(line)), radii), start, end)
