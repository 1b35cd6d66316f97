"""Fewer points for filming: vessels are smooth between lesions and forks, and every frame pays for each point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.flow import Flow
from lesionforge.generators.cine.vessels import Vessels

BESIDE = 8  # points to either side of a lesion that stay


def thinned(vessels: Vessels, flow: Flow) -> tuple[Vessels, Flow, NDArray[np.int64]]:
    """A tree and its flow with every second point; all where lesions are, at forks and at ends.

    Returns:
        Both, and which points of the tree those are; every second one of each branch, whatever its lesions.
    """
    v, count = vessels, len(vessels.points)
    starts = v.starts
    keep = (np.arange(count) - starts[v.branch]) % 2 == 0
    keep[starts[1:] - 1] = True
    keep[v.parent[starts[:-1]][v.parent[starts[:-1]] >= 0]] = True
    for lesion in v.lesions:
        keep[max(lesion.first - BESIDE, 0) : lesion.last + BESIDE + 1] = True
    place = np.cumsum(keep) - 1  # of a point that is kept; of another, the one before
    parent = place[np.maximum(v.parent, 0)].astype(np.int32)
    parent[v.parent < 0] = -1
    return (
        replace(
            v,
            points=v.points[keep],
            radii=v.radii[keep],
            healthy=v.healthy[keep],
            branch=v.branch[keep],
            parent=parent[keep],
            fade=v.fade[keep],
            segment=v.segment[keep],
            lesions=tuple(
                replace(n, minimum=int(place[n.minimum]), first=int(place[n.first]), last=int(place[n.last]))
                for n in v.lesions
            ),
        ),
        Flow(flow.arrival_s[keep], flow.dispersion_s[keep], flow.reach[keep]),
        np.flatnonzero(keep),
    )
