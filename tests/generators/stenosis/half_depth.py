"""A stenosis meter of its own: the width of the intensity profile at half its depth.

It shares no code with the meters that lesions are drawn by. Given is where the vessel roughly runs; everything else is
read off the grey values, row by row: the darkest place near the line, the background by the flanks' lower quartile,
the two places where half the darkness is reached. Blur widens what it reads (a lumen under 3 px never reads below
about 2), so its %DS is a scale of its own: lesions that experts graded say what it means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.stenosis.courses import courses
from lesionforge.generators.vessel.graph import Segment, trace

STEP = 0.25  # px across
ROWS = 3  # px along that are averaged
FLANK = (2.0, 8.0)  # px beyond the wall where the background is read
SEARCH = 6  # rows about the place where the minimum may lie
REFERENCE = (8, 45)  # rows from the minimum, on either side, of which the reference is read
AWAY = 12.0  # px between a lesion and the centreline that may be its vessel's
ABOUT = 75  # rows to either side of a lesion that are looked at
SHORT = 24  # rows; shorter vessels are none
FAINT = 0.02  # attenuation; a profile less deep is nobody's


@dataclass(frozen=True)
class Profiles:
    """Along a line of n rows: ``width`` px at half depth, ``depth`` in attenuation, ``offset`` px of the middle; NaN
    where no vessel is told."""

    width: NDArray[np.float64]
    depth: NDArray[np.float64]
    offset: NDArray[np.float64]


def profiles(image: NDArray[np.uint8], line: NDArray[np.float64], radius: float) -> Profiles:
    """Half-depth profiles along ``line`` (n, 2), x, y about 1 px apart, of a vessel of about ``radius`` px."""
    smooth = scipy.ndimage.gaussian_filter1d(line, 3.0, axis=0, mode="nearest")
    way = np.gradient(smooth, axis=0)
    way /= np.maximum(np.hypot(*way.T)[:, None], 1e-9)
    normal = np.stack([-way[:, 1], way[:, 0]], axis=1)
    t = np.arange(-radius - FLANK[1], radius + FLANK[1] + STEP / 2, STEP)
    xy = line[:, None] + t[None, :, None] * normal[:, None]
    dark = -np.log(np.maximum(image, 1).astype(float))
    field = scipy.ndimage.map_coordinates(dark, [xy[..., 1], xy[..., 0]], order=1, mode="nearest")
    field = scipy.ndimage.uniform_filter1d(field, ROWS, axis=0, mode="nearest")
    field = scipy.ndimage.gaussian_filter1d(field, 0.5 / STEP, axis=1, mode="nearest")
    flank = np.abs(t) >= radius + FLANK[0]
    left, right = (np.quantile(field[:, flank & (s * t > 0)], 0.25, axis=1) for s in (-1, 1))
    far = radius + sum(FLANK) / 2
    above = field - (left[:, None] + (right - left)[:, None] * (t[None] + far) / (2 * far))
    out = np.full((3, len(line)), np.nan)
    near = np.flatnonzero(np.abs(t) <= max(2.5, 0.7 * radius))
    for i, row in enumerate(above):
        peak = near[int(np.argmax(row[near]))]
        depth = row[peak]
        low = np.flatnonzero(row[:peak] <= depth / 2)
        high = np.flatnonzero(row[peak:] <= depth / 2)
        if depth < FAINT:
            continue
        out[1, i] = depth
        if not len(low) or not len(high):
            continue
        a, b = int(low[-1]), peak + int(high[0])
        first = t[a] + STEP * (depth / 2 - row[a]) / (row[a + 1] - row[a])
        last = t[b] - STEP * (depth / 2 - row[b]) / (row[b - 1] - row[b])
        if last - first <= 3 * radius:  # else it ran into a neighbour
            out[0, i], out[2, i] = last - first, (first + last) / 2
    return Profiles(*out)


def vessels(mask: NDArray[np.bool_]) -> list[Segment]:
    """Where vessels run, by their mask."""
    graph = trace(mask)
    return [s for s in courses(graph, [False] * len(graph.segments)) if len(s.points) >= SHORT]


def nearest(lines: list[Segment], xy: tuple[float, float]) -> tuple[Segment, int] | None:
    """The vessel of a lesion at ``xy`` (image coordinates), and its row; None where none is near."""
    near = []
    for number, line in enumerate(lines):
        away = np.hypot(*(line.points + 0.5 - xy).T)
        at = int(away.argmin())
        if away[at] < AWAY:
            near.append((away[at] / max(line.radii[at], 1.0), number, at))
    if not near:
        return None
    _, number, at = min(near)
    return lines[number], at


def radius_at(line: Segment, at: int) -> float:
    """Roughly that of the vessel about a lesion, px."""
    return float(np.quantile(line.radii[max(0, at - REFERENCE[1]) : at + REFERENCE[1] + 1], 0.75))


def at_place(image: NDArray[np.uint8], lines: list[Segment], xy: tuple[float, float]) -> tuple[float, float]:
    """%DS and reference width px of the lesion at ``xy`` (image coordinates) on one of ``vessels``; NaN without one."""
    place = nearest(lines, xy)
    if place is None:
        return np.nan, np.nan
    line, at = place
    first = max(0, at - ABOUT)
    found = profiles(image, line.points[first : at + ABOUT + 1], radius_at(line, at))
    percent_ds, _, reference = narrowing(found, at - first)
    return percent_ds, reference


def narrowing(found: Profiles, at: int) -> tuple[float, int, float]:
    """%DS at the narrowest of the rows about ``at``, that row, and the reference width px; NaN where none is read."""
    width = _middle_of_three(found.width)
    rows = np.arange(max(0, at - SEARCH), min(len(width), at + SEARCH + 1))
    seen = rows[np.isfinite(width[rows])]
    if not len(seen):
        return np.nan, at, np.nan
    least = int(seen[np.argmin(width[seen])])
    close, far = REFERENCE
    sides = width[max(0, least - far) : max(0, least - close)], width[least + close : least + far]
    healthy = [np.quantile(side[np.isfinite(side)], 0.75) for side in sides if np.isfinite(side).sum() >= 6]
    if not healthy:
        return np.nan, least, np.nan
    reference = float(np.mean(healthy))
    return float(100 * (1 - width[least] / reference)), least, reference


def _middle_of_three(width: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(width, 1, constant_values=np.nan)
    three = np.stack([padded[:-2], padded[1:-1], padded[2:]])
    seen = np.isfinite(three)
    middle = np.full(len(width), np.nan)
    some = seen.any(axis=0)
    middle[some] = np.nanmedian(three[:, some], axis=0)
    return middle
