"""Tubes on the detector: contrast agent along each ray through many tapered vessels, and whose pixel it is.

A tube of radius r seen at a distance d from its axis has a chord of 2 sqrt(r^2 - d^2). Chords come from a table that
holds them as the detector sees them, averaged over pixels and blurred by its point spread, so no picture is blurred.
Within a branch the largest chord counts; branches add up, and join at forks.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.view import Constants
from lesionforge.generators.kernels import jit

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Codes = NDArray[np.uint8]
PSF_PX = 0.75  # the detector's blur; with the average over a pixel .8
WIDEST_PX = 26.0  # tubes that are wider are not blurred
FINE = 8  # table rows and columns per pixel
TAIL = 2.0  # pixels beyond its wall in which a tube is seen
FORK_REACH = 3.0  # parent radii around a fork within which the lumens join instead of overlapping
INCLINED = 0.6  # least sine between vessel and ray: one that runs along the ray is not drawn any darker
THINNEST = 0.7  # px, least half width that a label has, so that thin vessels' labels hold together
LEAST = 5e-4  # absorbance within half a vessel, below which nothing would be seen
_ACROSS = 4  # points to either side of the chord that tells a vessel's inclination


class Projected(NamedTuple):
    """Points (n,) on the detector: pixel coordinates, pixels per mm there, and by how much inclination lengthens the
    chord."""

    row: Floats
    col: Floats
    scale: Floats
    stretch: Floats


class Canvas:
    """What tubes are drawn on: ``absorbed`` float32 (rows, cols), and ``label`` uint8, both emptied before each frame.

    The rest is scratch that is clean between branches.
    """

    def __init__(self, rows: int, cols: int) -> None:
        self.absorbed = np.zeros((rows, cols), np.float32)
        self.label = np.zeros((rows, cols), np.uint8)
        self._best = np.zeros((rows, cols), np.float32)
        self._layer = np.zeros((rows, cols), np.float32)
        self._own = np.zeros((rows, cols), np.uint8)
        self._touched = np.empty(rows * cols, np.int32)

    def clear(self) -> None:
        """An empty frame."""
        self.absorbed.fill(0)
        self.label.fill(0)
        self._best.fill(0)

    def draw(self, at: Projected, tubes: Tubes, weight: Floats, lean: Floats, code: Codes, empty: float = 1.0) -> None:
        """Add tubes.

        Args:
            at: their points on this detector.
            tubes: what they are.
            weight: absorbance (n,) per mm of chord.
            lean: how much denser (n,) the right wall's side is than the middle, as a share: contrast streams.
            code: label (n,) of a pixel within the wall; 0 where none is wanted.
            empty: how much less a bore absorbs than the wall, as a share of it.
        """
        _draw(
            self.absorbed, self.label, self._best, self._layer, self._own, self._touched, chords(),
            at.row, at.col, tubes.radii * at.scale, weight * at.stretch / at.scale, lean, code,
            tubes.branch, tubes.parent, tubes.hollow, empty,
        )  # fmt: skip


class Tubes(NamedTuple):
    """n points of tubes: radii (n,) mm, branch (n,), parent (n,) as in ``Vessels``; hollow (n,), the share of the
    radius that an empty catheter's bore has, 0 where the tube is full."""

    radii: Floats
    branch: NDArray[np.int32]
    parent: NDArray[np.int32]
    hollow: Floats


@functools.cache
def chords() -> Pixels:
    """float32 (radii, distances): chords in pixels, both in steps of 1 / ``FINE``, as the detector sees them."""
    radii = np.arange(int(WIDEST_PX * FINE) + 2) / FINE
    edges = (np.arange(-int((WIDEST_PX + 8) * FINE), int((WIDEST_PX + 8) * FINE) + 2) - 0.5) / FINE
    inside = np.clip(edges[None, :], -radii[:, None], radii[:, None])
    share = inside / np.maximum(radii[:, None], 1e-9)
    area = inside * np.sqrt(np.maximum(radii[:, None] ** 2 - inside**2, 0)) + radii[:, None] ** 2 * np.arcsin(share)
    mean = np.diff(area, axis=1) * FINE
    taps = np.exp(-0.5 * (np.arange(-4 * FINE, 4 * FINE + 1) / FINE) ** 2 / (PSF_PX**2 + 1 / 12))
    taps /= taps.sum()
    middle = mean.shape[1] // 2
    blurred = np.zeros((len(radii), int((WIDEST_PX + TAIL) * FINE) + 2))
    for n, tap in enumerate(taps.tolist()):
        first = middle - 4 * FINE + n
        blurred += tap * mean[:, first : first + blurred.shape[1]]
    return np.round(blurred, 5).astype(np.float32)


def project(points: Floats, parent: NDArray[np.int32], view_constants: Constants) -> Projected:
    """Where points (n, 3), LPS mm about the isocentre, fall; ``parent`` as in ``Vessels``."""
    out = Projected(*(np.empty(len(points)) for _ in range(4)))
    _project(points, parent, view_constants, out.row, out.col, out.scale, out.stretch)
    return out


@jit
def _project(
    points: Floats,
    parent: NDArray[np.int32],
    g: Constants,
    row: Floats,
    col: Floats,
    scale: Floats,
    stretch: Floats,
) -> None:
    """The arithmetic of ``View.project``, operation by operation."""
    ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = g
    count = len(points)
    for n in range(count):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        inverse = 1.0 / (sod + (dx * x + dy * y + dz * z))
        col[n] = ((ux * x + uy * y) * inverse) * fu + cc
        row[n] = ((vx * x + vy * y + vz * z) * inverse) * fv + cr
        scale[n] = inverse * math.sqrt(fu * fv)
    for n in range(count):
        before, after = n, n
        for _ in range(_ACROSS):
            if parent[before] >= 0:
                before = parent[before]
            if after + 1 < count and parent[after + 1] == after:
                after += 1
        x, y, z = points[n, 0] + dx * sod, points[n, 1] + dy * sod, points[n, 2] + dz * sod
        tx, ty = points[after, 0] - points[before, 0], points[after, 1] - points[before, 1]
        tz = points[after, 2] - points[before, 2]
        along = x * tx + y * ty + z * tz
        square = (x * x + y * y + z * z) * (tx * tx + ty * ty + tz * tz)
        sine = 1.0 - along * along / square if square > 0 else 1.0
        stretch[n] = 1.0 / math.sqrt(max(sine, INCLINED * INCLINED))


@jit
def _chord(table: Pixels, radius: float, distance: float) -> float:
    """What a tube of this radius shows at this distance, in pixels."""
    if radius >= WIDEST_PX:
        return 2.0 * math.sqrt(max(radius * radius - distance * distance, 0.0))
    u, v = radius * FINE, distance * FINE
    k, m = int(u), int(v)
    if m + 1 >= table.shape[1]:
        return 0.0
    a, b = u - k, v - m
    low: float = table[k, m] + b * (table[k, m + 1] - table[k, m])
    high: float = table[k + 1, m] + b * (table[k + 1, m + 1] - table[k + 1, m])
    return low + a * (high - low)


@jit
def _draw(
    total: Pixels,
    label: Codes,
    best: Pixels,
    layer: Pixels,
    own: Codes,
    touched: NDArray[np.int32],
    table: Pixels,
    row: Floats,
    col: Floats,
    radius: Floats,
    weight: Floats,
    lean: Floats,
    code: Codes,
    branch: NDArray[np.int32],
    parent: NDArray[np.int32],
    hollow: Floats,
    empty: float,
) -> None:
    rows, cols = total.shape
    count, first, met = len(row), 0, 0
    for n in range(count):
        p = parent[n]
        if p >= 0 and (code[n] > 0 or max(weight[n] * radius[n], weight[p] * radius[p]) > LEAST):
            on = branch[p] == branch[n]
            met = _piece(
                n,
                p,
                on,
                rows,
                cols,
                layer,
                own,
                touched,
                met,
                table,
                row,
                col,
                radius,
                weight,
                lean,
                code,
                hollow,
                empty,
            )
        if n + 1 < count and branch[n + 1] == branch[n]:
            continue
        origin = parent[first]
        reach = max(radius[origin], 0.5) if origin >= 0 and branch[origin] != branch[n] else 0.0
        for t in range(met):
            i, j = touched[t] // cols, touched[t] % cols
            value = layer[i, j]
            if own[i, j] > 0 and value >= best[i, j]:
                best[i, j] = value
                label[i, j] = own[i, j]
            if reach > 0.0:
                ey, ex = i - row[origin], j - col[origin]
                square = ey * ey + ex * ex
                if square < (FORK_REACH * reach) ** 2:
                    apart = min(max((math.sqrt(square) / reach - 1.0) / (FORK_REACH - 1.0), 0.0), 1.0)
                    value = np.float32(apart * value + (1.0 - apart) * max(value - total[i, j], 0.0))
            total[i, j] += value
            layer[i, j] = 0
            own[i, j] = 0
        first, met = n + 1, 0


@jit
def _piece(
    n: int,
    p: int,
    goes_on: bool,
    rows: int,
    cols: int,
    layer: Pixels,
    own: Codes,
    touched: NDArray[np.int32],
    met: int,
    table: Pixels,
    row: Floats,
    col: Floats,
    radius: Floats,
    weight: Floats,
    lean: Floats,
    code: Codes,
    hollow: Floats,
    empty: float,
) -> int:
    """One step of a tube, from the point before to this one. Returns how many pixels the branch has touched."""
    y0, x0 = row[p], col[p]
    dy, dx = row[n] - y0, col[n] - x0
    length2 = dy * dy + dx * dx
    inverse = 1.0 / length2 if length2 > 1e-12 else 0.0
    across = math.sqrt(inverse)
    # A branch's first step begins on its parent's axis, no wider than the branch is.
    r0, w0 = (radius[p], weight[p]) if goes_on else (min(radius[p], radius[n]), weight[n])
    dr, dw = radius[n] - r0, weight[n] - w0
    wide = max(r0, radius[n]) + TAIL
    for i in range(max(0, math.ceil(min(y0, row[n]) - wide)), min(rows - 1, math.floor(max(y0, row[n]) + wide)) + 1):
        for j in range(
            max(0, math.ceil(min(x0, col[n]) - wide)), min(cols - 1, math.floor(max(x0, col[n]) + wide)) + 1
        ):
            t = min(max(((i - y0) * dy + (j - x0) * dx) * inverse, 0.0), 1.0)
            ey, ex = i - y0 - t * dy, j - x0 - t * dx
            square = ey * ey + ex * ex
            r = r0 + t * dr
            if square >= (r + TAIL) * (r + TAIL):
                continue
            distance = math.sqrt(square)
            chord = _chord(table, r, distance)
            if hollow[n] > 0.0:
                chord -= empty * _chord(table, hollow[n] * r, distance)
            side = (dx * ey - dy * ex) * across / max(r, 1.0)
            value = np.float32(chord * (w0 + t * dw) * (1.0 + lean[n] * min(max(side, -1.0), 1.0)))
            inside = code[n] > 0 and distance <= max(r, THINNEST)
            if layer[i, j] == 0 and own[i, j] == 0 and (value > 0 or inside):
                touched[met] = i * cols + j
                met += 1
            layer[i, j] = max(layer[i, j], value)
            if inside:
                own[i, j] = code[n]
    return met
