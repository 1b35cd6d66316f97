"""Where a lesion can be drawn: a frame's vessels, measured once, and the places on them that are healthy and clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from lesionforge.generators.stenosis.closure import by_edges
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.stenosis.shape import Shape
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.types import Angiogram, BadCase
from lesionforge.generators.vessel.densitometry import Lumen, fit_lumen
from lesionforge.generators.vessel.graph import trace
from lesionforge.generators.vessel.order import quantile
from lesionforge.generators.vessel.profile import attenuation, straighten
from lesionforge.generators.vessel.qca import Reading, read

Rows = NDArray[np.float64]
Flags = NDArray[np.bool_]

PSF_SIGMA = 0.7  # px; a frame's own cannot be told well: fits give .4 to 1.4, median .6
SHORTEST = 40  # rows; less holds no lesion and its references
FORK = 1.0  # healthy diameters between a minimum and the next fork or crossing
END = 1.5  # healthy diameters between a minimum and the vessel's end
BEND = 2.0  # least radius of curvature in diameters
CLEAN_AT, CLEAN_MIN = 12.0, 20.0  # most %DS read before the edit at the place itself and near it
WIDE = 12.0  # px from which edges can be believed
CLUTTER = 0.35  # most contrast beside the vessel, in shares of the vessel's own
BLACK = 25  # grey levels: below, the collimator's shadow
BESIDE = 9.0  # px beside the wall that must be clear
APART = 60  # rows between two drawn lesions on one vessel
FOUND = "vessels_found"  # note of a frame whose mask nobody drew
ENTRY = 0.12  # of the shorter edge: vessels found that end so near the border may be a catheter
TRIES = 60  # places looked at for one lesion
TIGHTER = 5.0  # points of %DS by which a known lesion is made tighter, at least


@dataclass(frozen=True)
class FrameVessel:
    """One segment of the graph, measured, and the rows of it where a lesion may lie.

    ``radii`` (n,) the mask's, px. ``width`` (n,) running median of the diameter. ``open`` (n,): nothing about this row
    hinders a lesion. ``passable`` (n,): nor does a lesion of the source lie there. ``central`` (n,): a new lesion's
    minimum may lie there. ``free`` (n, 2): no branch or other vessel beside the left (t < 0) or the right wall; a
    lesion with a branch on one side narrows the vessel from the other.
    """

    lumen: Lumen
    radii: Rows
    width: Rows
    open: Flags
    passable: Flags
    central: Flags
    free: Flags

    def side(self, at: int, half: int) -> int | None:
        """The wall that must stay in a lesion here: 0 none, 1 the right one, -1 the left one; None if both."""
        rows = self.free[max(0, at - half) : at + half + 1]
        left, right = rows[:, 0].all(), rows[:, 1].all()
        return (0 if right else 1) if left else -1 if right else None


@dataclass(frozen=True)
class Site:
    """A place for a lesion: row ``at`` of vessel number ``vessel``, and what was read there before.

    ``half``: rows to either side that are no reference. ``side``: see ``FrameVessel.side``. ``known``: number of the
    source's lesion that is regraded.
    """

    vessel: int
    at: int
    half: int
    before: Reading
    side: int = 0
    known: int | None = None


@dataclass(frozen=True)
class FrameAnatomy:
    """The measured vessels of one frame and its grain."""

    vessels: tuple[FrameVessel, ...]
    texture: Texture

    @classmethod
    def of(cls, frame: Angiogram, min_width: float) -> FrameAnatomy:
        """Trace and measure a frame.

        Raises:
            BadCase: without a vessel mask.
        """
        if frame.mask is None:
            raise BadCase("no vessel mask: a stenosis needs to know where the vessels are")
        graph = trace(frame.mask)
        grey = attenuation(frame.image)
        vessels = []
        for segment in graph.segments:
            if len(segment.points) < SHORTEST or 2 * quantile(segment.radii, 0.9) < 0.5 * min_width:
                continue
            try:
                lumen = fit_lumen(frame.image, segment.points, segment.radii, PSF_SIGMA)
            except ValueError:  # wider than the meter can see
                continue
            vessel = _judge(frame, grey, lumen, segment.radii, graph.forks, min_width)
            if frame.notes.get(FOUND) and _enters(segment.points, frame.image.shape):
                vessel = replace(vessel, central=np.zeros_like(vessel.central))
            vessels.append(vessel)
        return cls(tuple(vessels), Texture.of(frame.image))

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """All (vessel, row) where a minimum may lie, (m, 2)."""
        found = [np.flatnonzero(vessel.central) for vessel in self.vessels]
        numbers = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        return np.stack([numbers, np.concatenate([*found, np.empty(0, np.int64)])], axis=1)

    def healthy(self, vessel: int, at: int, half: int) -> Reading | None:
        """The reading at a place where a lesion of ``half`` rows to either side fits, None where none does."""
        v = self.vessels[vessel]
        first, last = at - half, at + half + 1
        if first < 0 or last > len(v.passable) or not v.passable[first:last].all():
            return None
        reading = read(v.lumen, at=at, lesion=half, reference="interpolated")
        if not reading.valid or abs(reading.percent_ds) >= CLEAN_AT:
            return None
        near = v.lumen.diameter[at - int(0.7 * half) : at + int(0.7 * half) + 1]
        if (1 - near.min() / reading.d_ref_px) * 100 >= CLEAN_MIN:
            return None
        return reading


def _judge(
    frame: Angiogram, grey: NDArray[np.float32], lumen: Lumen, radii: Rows, forks: Rows, min_width: float
) -> FrameVessel:
    n = len(lumen.diameter)
    width = scipy.ndimage.median_filter(lumen.diameter, 31, mode="nearest")
    fork = np.full(n, np.inf)
    if len(forks):
        fork = np.linalg.norm(lumen.points[:, None] - forks[None], axis=2).min(axis=1)
    lit, free = _beside(frame, grey, lumen, width)
    clear = lumen.valid & (width >= min_width) & _straight(lumen.points, width) & lit & free.any(axis=1)
    clear &= fork >= 0.5 * FORK * width
    passable = clear.copy()
    for lesion in frame.lesions:
        x0, y0, x1, y1 = np.asarray(lesion.box) - 0.5
        x, y = lumen.points.T
        far = np.maximum.reduce([x0 - x, x - x1, y0 - y, y - y1])
        passable &= far > 0.5 * width
    end = np.minimum(np.arange(n), n - 1 - np.arange(n))
    central = passable & (fork >= FORK * width) & (end >= END * width)
    return FrameVessel(lumen, radii, width, clear, passable, central, free)


def _enters(points: Rows, shape: tuple[int, ...]) -> bool:
    """Whether a segment may be, or lead on from, what comes in over the border: then no new lesion goes there."""
    ends, size = points[[0, -1]], np.array(shape[::-1]) - 1
    return bool((np.minimum(ends, size - ends).min(axis=1) < ENTRY * size.min()).any())


def _straight(points: Rows, width: Rows) -> Flags:
    """Where the centreline bends less than a circle of BEND diameters."""
    smooth = scipy.ndimage.gaussian_filter1d(points, 4.0, axis=0, mode="nearest")
    velocity = np.gradient(smooth, axis=0)
    bend = np.gradient(velocity, axis=0)
    cross = np.abs(velocity[:, 0] * bend[:, 1] - velocity[:, 1] * bend[:, 0])
    curvature = cross / np.maximum(np.linalg.norm(velocity, axis=1) ** 3, 1e-9)
    return np.asarray(curvature * BEND * width <= 1)


def _beside(frame: Angiogram, grey: NDArray[np.float32], lumen: Lumen, width: Rows) -> tuple[Flags, Flags]:
    """What lies beside the vessel, by row: neither border nor collimator (n,); no other vessel left and right (n, 2).

    By the grey values: masks do not show every vessel.
    """
    half = float(np.ceil(width.max() / 2 + BESIDE + 1))
    field, t = straighten(grey, lumen.points, lumen.normals, half, 1.0)
    reach = width[:, None] / 2 + BESIDE
    beside = (np.abs(t) > width[:, None] / 2 + 1.5) & (np.abs(t) <= reach)
    ends = np.stack([lumen.points - reach * lumen.normals, lumen.points + reach * lumen.normals])
    size = np.array(frame.image.shape[::-1])
    inside = ((ends >= 0) & (ends <= size - 1)).all(axis=(0, 2))
    smooth = scipy.ndimage.gaussian_filter1d(scipy.ndimage.gaussian_filter1d(field, 1.5, axis=0), 1.0, axis=1)
    lit = np.where(beside, smooth, -np.inf).max(axis=1) < -np.log(BLACK / 255)
    # Against the row's own background line a branch or a crossing vessel stands out as a dark patch.
    line = lumen.offset[:, None] + lumen.slope[:, None] * t
    excess = np.where(beside, smooth - line, 0.0)
    sides = np.stack([excess[:, t < 0].max(axis=1), excess[:, t > 0].max(axis=1)], axis=1)
    return np.asarray(inside & lit), np.asarray(sides < CLUTTER * (lumen.mu * width)[:, None])


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
    for n in rng.permutation(len(places))[:TRIES]:
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
    edges = by_edges(frame.image, vessel.lumen, vessel.radii, at, half)
    return edges.valid and abs(edges.percent_ds) < CLEAN_AT


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
        near = slice(max(0, at - drawn), at + drawn + 1)
        if not v.open[near].all() or any(s.vessel == vessel and abs(s.at - at) < APART for s in taken):
            continue
        side = v.side(at, near.stop - 1 - at)
        if side is None or (side and requested >= 100):
            continue
        reading = read(v.lumen, at=at, lesion=half)
        if reading.valid and reading.d_ref_px >= params.min_width and reading.percent_ds < requested - TIGHTER:
            return Site(vessel, at, half, reading, side, number)
    return None


def segment_at(frame: Angiogram, x: float, y: float) -> str | None:
    """SYNTAX name of the segment polygon that holds a place (index coordinates)."""
    for name, polygon in frame.segments:
        if skimage.measure.points_in_poly([[x + 0.5, y + 0.5]], polygon)[0]:
            return name
    return None
