"""Where a lesion can be drawn: a frame's vessels, measured once, and the places on them that are healthy and clear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from lesionforge.generators.stenosis.courses import courses
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.types import Angiogram, BadCase
from lesionforge.generators.vessel.densitometry import Lumen, fit_lumen
from lesionforge.generators.vessel.graph import Segment, VesselGraph, trace
from lesionforge.generators.vessel.order import quantile
from lesionforge.generators.vessel.profile import attenuation, straighten
from lesionforge.generators.vessel.qca import Reading, read

Rows = NDArray[np.float64]
Flags = NDArray[np.bool_]

PSF_SIGMA = 0.7  # px; a frame's own cannot be told well: fits give .4 to 1.4, median .6
SHORTEST = 40  # rows; less holds no lesion and its references
END = 1.0  # healthy diameters between a minimum and the vessel's end or ostium
BEND = 1.0  # least radius of curvature in diameters
CORE, LEAST_CORE = 0.4, 5  # of a lesion's rows to either side, and rows: its narrow part
FADES = 4  # rows over which a narrowing ends where the vessel allows none: a branch's mouth, its end
CLEAN_AT, CLEAN_MIN = 12.0, 24.0  # most %DS read before the edit at the place itself and near it
CLUTTER = 0.5  # most contrast beside the vessel, in shares of the vessel's own
BLACK = 25  # grey levels: below, the collimator's shadow
BESIDE = 6.0  # px beside the wall that must be clear
FOUND = "vessels_found"  # note of a frame whose mask nobody drew
ENTRY = 0.12  # of the shorter edge: vessels found that end so near the border may be a catheter
# How often real lesions (as in ``shape``) lie near forks and on vessels of a width, against the places there are.
NEAR, NEAR_MORE = 15.0, 4.0  # px to a fork, and how many times as often a lesion lies within
WIDTHS, OFTEN = (7.0, 9.0, 12.0), (0.1, 0.26, 1.8, 2.5)  # px, and the weight below, between and above
ABOUT = 65  # px, edge of the square about a place whose vessels are counted
CROWDED = 3.0  # real lesions lie where vessels are many: weights go as the length of all in the square to this power


@dataclass(frozen=True)
class FrameVessel:
    """One segment of the graph, measured, and the rows of it where a lesion may lie.

    ``radii`` (n,) the mask's, px. ``width`` (n,) running median of the diameter. ``fork`` (n,) px to the nearest fork
    or crossing. ``crowd`` (n,) px of vessels' centrelines in a square about the row. ``open`` (n,): nothing about this
    row hinders a lesion. ``passable`` (n,): nor does a lesion of the source lie there. ``central`` (n,): a new lesion's
    minimum may lie there. ``free`` (n, 2): no branch or other vessel beside the left (t < 0) or the right wall; a
    lesion with a branch on one side narrows the vessel from the other.
    """

    lumen: Lumen
    radii: Rows
    width: Rows
    fork: Rows
    crowd: Rows
    open: Flags
    passable: Flags
    central: Flags
    free: Flags

    def side(self, at: int, half: int) -> int | None:
        """The wall that must stay in a lesion here: 0 none, 1 the right one, -1 the left one; None if both."""
        rows = self.free[core(at, half)]
        left, right = rows[:, 0].all(), rows[:, 1].all()
        return (0 if right else 1) if left else -1 if right else None

    def fade(self, site: Site) -> Rows:
        """Where a narrowing at ``site`` may be drawn, (n,): 1 as it is, 0 not at all."""
        at, side = site.at, site.side
        walls = [self.free[:, 0]] * (side >= 0) + [self.free[:, 1]] * (side <= 0)  # those that move
        fit = np.logical_and.reduce([self.passable if site.known is None else self.open, *walls])
        shut = np.flatnonzero(~fit)
        before, after = shut[shut < at], shut[shut > at]
        first = before[-1] if len(before) else -1
        last = after[0] if len(after) else len(fit)
        rows = np.arange(len(fit))
        ramp = np.clip(np.minimum(rows - first, last - rows) / (FADES + 1), 0, 1)
        return np.asarray(ramp * ramp * (3 - 2 * ramp))


def core(at: int, half: int) -> slice:
    """The rows of a lesion of ``half`` rows to either side that must be clear; beyond them it may fade out."""
    core = max(LEAST_CORE, int(CORE * half))
    return slice(max(0, at - core), at + core + 1)


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
        crowd = _crowd(graph, frame.image.shape)
        found = bool(frame.notes.get(FOUND))
        apart = [found and _enters(segment.points, frame.image.shape) for segment in graph.segments]
        for segment in courses(graph, apart):
            if len(segment.points) < SHORTEST or 2 * quantile(segment.radii, 0.9) < 0.5 * min_width:
                continue
            try:
                lumen = fit_lumen(frame.image, segment.points, segment.radii, PSF_SIGMA)
            except ValueError:  # wider than the meter can see
                continue
            vessel = _judge(frame, grey, lumen, segment, graph.forks, crowd, min_width)
            if found and _enters(segment.points, frame.image.shape):
                vessel = replace(vessel, central=np.zeros_like(vessel.central))
            vessels.append(vessel)
        return cls(tuple(vessels), Texture.of(frame.image))

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """All (vessel, row) where a minimum may lie, (m, 2)."""
        found = [np.flatnonzero(vessel.central) for vessel in self.vessels]
        numbers = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        return np.stack([numbers, np.concatenate([*found, np.empty(0, np.int64)])], axis=1)

    @cached_property
    def odds(self) -> Rows:
        """How likely a lesion is at each of the ``places``, (m,), against the others."""
        out = []
        for vessel in self.vessels:
            often = np.array(OFTEN)[np.searchsorted(WIDTHS, vessel.width[vessel.central])]
            near = np.where(vessel.fork[vessel.central] < NEAR, NEAR_MORE, 1.0)
            out.append(often * near * (vessel.crowd[vessel.central] / ABOUT) ** CROWDED)
        return np.concatenate([*out, np.empty(0)])

    def healthy(self, vessel: int, at: int, half: int) -> Reading | None:
        """The reading at a place where a lesion of ``half`` rows to either side fits, None where none does."""
        v = self.vessels[vessel]
        near = core(at, half)
        if near.stop > len(v.passable) or not v.passable[near].all():
            return None
        reading = read(v.lumen, at=at, lesion=half, reference="interpolated")
        if not reading.valid or abs(reading.percent_ds) >= CLEAN_AT:
            return None
        narrow = v.lumen.diameter[near]
        if (1 - narrow.min() / reading.d_ref_px) * 100 >= CLEAN_MIN:
            return None
        return reading


def _judge(
    frame: Angiogram,
    grey: NDArray[np.float32],
    lumen: Lumen,
    segment: Segment,
    forks: Rows,
    crowd: NDArray[np.float32],
    min_width: float,
) -> FrameVessel:
    n = len(lumen.diameter)
    width = scipy.ndimage.median_filter(lumen.diameter, 31, mode="nearest")
    fork = np.full(n, np.inf)
    if len(forks):
        fork = np.linalg.norm(lumen.points[:, None] - forks[None], axis=2).min(axis=1)
    lit, free = _beside(frame, grey, lumen, width)
    clear = lumen.valid & (width >= min_width) & _straight(lumen.points, width) & lit & free.any(axis=1)
    rows = np.arange(n)
    for kind, away, at in ((segment.start, rows, 0), (segment.end, rows[::-1], -1)):
        if kind == "fork":  # within the vessel that it leaves
            clear &= away > segment.radii[at]
    passable = clear.copy()
    for lesion in frame.lesions:
        x0, y0, x1, y1 = np.asarray(lesion.box) - 0.5
        x, y = lumen.points.T
        far = np.maximum.reduce([x0 - x, x - x1, y0 - y, y - y1])
        passable &= far > 0.5 * width
    central = passable & (np.minimum(rows, rows[::-1]) >= END * width)
    x, y = np.rint(lumen.points).astype(np.int64).T
    about = crowd[np.clip(y, 0, len(crowd) - 1), np.clip(x, 0, crowd.shape[1] - 1)].astype(float)
    return FrameVessel(lumen, segment.radii, width, fork, about, clear, passable, central, free)


def _crowd(graph: VesselGraph, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """How many px of centreline lie in the square about each pixel (rows, cols)."""
    line = np.zeros(shape, np.float32)
    for segment in graph.segments:
        x, y = np.rint(segment.points).astype(np.int64).T
        line[np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)] = 1
    out: NDArray[np.float32] = np.rint(scipy.ndimage.uniform_filter(line, ABOUT, mode="constant") * ABOUT**2)
    return out


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


def segment_at(frame: Angiogram, x: float, y: float) -> str | None:
    """SYNTAX name of the segment polygon that holds a place (index coordinates)."""
    for name, polygon in frame.segments:
        if skimage.measure.points_in_poly([[x + 0.5, y + 0.5]], polygon)[0]:
            return name
    return None
