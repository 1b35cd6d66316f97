"""Which of a frame's places a lesion gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionforge.generators.stenosis.closure import WIDE, graded, measure
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.stenosis.shape import Shape
from lesionforge.generators.stenosis.sites import FrameAnatomy, FrameVessel, Site, core
from lesionforge.generators.types import Angiogram
from lesionforge.generators.vessel.qca import Reading, read

CLEAN_EDGES, UNSURE = 12.0, 20.0  # most that the edges read at a healthy place, and that reading's deviation
APART = 60  # rows between two drawn lesions on one vessel
TRIES = 60  # places looked at for one lesion
TIGHTER = 5.0  # points of %DS by which a known lesion is made tighter, at least


def choose(
    rng: np.random.Generator,
    frame: Angiogram,
    anatomy: FrameAnatomy,
    params: StenosisParams,
    shape: Shape,
    requested: float,
    taken: Sequence[Site],
) -> Site | None:
    """A random place for a lesion of this shape, or None where none of those tried will do.

    ``requested``: percent diameter stenosis. ``taken``: sites of the sample's other lesions.
    """
    regrade = params.site == "regrade" or (params.site == "both" and rng.random() < 0.5)
    site = _known(rng, frame, anatomy, params, shape, requested, taken) if regrade else None
    if site is None and params.site != "regrade":
        site = _new(rng, frame, anatomy, shape, requested, taken)
    return site


def _new(
    rng: np.random.Generator,
    frame: Angiogram,
    anatomy: FrameAnatomy,
    shape: Shape,
    requested: float,
    taken: Sequence[Site],
) -> Site | None:
    places = anatomy.places
    # Without putting back: the first of exponential times at each place's own rate.
    for n in np.argsort(rng.standard_exponential(len(places)) / anatomy.odds, kind="stable")[:TRIES]:
        vessel, at = (int(v) for v in places[n])
        if any(s.vessel == vessel and abs(s.at - at) < APART for s in taken):
            continue
        half = shape.half(float(anatomy.vessels[vessel].width[at]))
        side = anatomy.vessels[vessel].side(at, half)
        if side is None or (side and requested >= 100):  # an occlusion would cut the branch off
            continue
        reading = anatomy.healthy(vessel, at, half)
        if reading is not None and _agreed(frame, anatomy.vessels[vessel], at, half, reading):
            return Site(vessel, at, half, reading, side)
    return None


def _agreed(frame: Angiogram, vessel: FrameVessel, at: int, half: int, reading: Reading) -> bool:
    """Whether the edges find the place healthy as well, where the vessel is wide enough for them to say."""
    if reading.d_ref_px < WIDE:
        return True
    edges = measure(frame.image, vessel.lumen, vessel.radii, at, half).edges
    return edges is not None and abs(edges.raw.percent_ds) < CLEAN_EDGES and edges.sd < UNSURE


def _known(
    rng: np.random.Generator,
    frame: Angiogram,
    anatomy: FrameAnatomy,
    params: StenosisParams,
    shape: Shape,
    requested: float,
    taken: Sequence[Site],
) -> Site | None:
    """The narrowest place inside one of the source's lesion boxes, if it can be made tighter."""
    for number in (int(n) for n in rng.permutation(len(frame.lesions))):
        x0, y0, x1, y1 = np.asarray(frame.lesions[number].box) - 0.5
        inside = []
        for v in anatomy.vessels:
            x, y = v.lumen.points.T
            inside.append(np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1) & v.open))
        if not inside or max(map(len, inside)) < 8 or any(s.known == number for s in taken):
            continue
        vessel = int(np.argmax([len(rows) for rows in inside]))
        v, rows = anatomy.vessels[vessel], inside[vessel]
        at = int(rows[np.argmin(v.lumen.diameter[rows])])
        drawn = shape.half(float(v.width[at]))
        half = max(drawn, at - int(rows[0]), int(rows[-1]) - at)
        if not v.open[core(at, drawn)].all() or any(s.vessel == vessel and abs(s.at - at) < APART for s in taken):
            continue
        side = v.side(at, drawn)
        if side is None or (side and requested >= 100):
            continue
        reading = read(v.lumen, at=at, lesion=half)
        if reading.valid and reading.d_ref_px >= params.min_width and graded(reading.percent_ds) < requested - TIGHTER:
            return Site(vessel, at, half, reading, side, number)
    return None
