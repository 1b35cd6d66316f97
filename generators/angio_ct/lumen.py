"""The lumen of one coronary tree that X-ray would see: its side, what a sample's plaques leave open, on fine cells.

The cells are finer than CT's voxels and lie about the isocentre of the C-arm. A lumen of 1 mm is two CT voxels wide;
its blocks, projected, are a silhouette nobody would read. The surface taken here is that of the label interpolated
linearly, where it is one half: exactly the surface whose sections the percent diameter stenosis is measured on, so CT,
label and angiogram show one lumen. A phantom's own smooth branches would be another lumen than the labelled one, and a
source of labels alone has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.kernels import jit
from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.types import BadCase, Side, Volume

SIDES: tuple[Side, Side] = ("left", "right")
LEAST_SHARE = 0.05  # a second tree smaller than this share of the first is none
PAD = 2  # empty voxels kept about those of a tree
LEAST_GAP_MM = 10.0  # between the trees' middles from left to right, in any heart


def sided(volume: Volume) -> Volume:
    """The volume with ``coronary_left`` and ``coronary_right`` for a label ``coronary`` of both trees.

    The trees are its two largest 26-connected pieces; the one further to the patient's left is the left one.

    Raises:
        BadCase: no coronary label, or one whose trees touch or are not both there.
    """
    names = {name: value for value, name in volume.legend.items()}
    if any(f"coronary_{side}" in names for side in SIDES):
        return volume
    if volume.labels is None or "coronary" not in names:
        raise BadCase("the volume has no coronary label: neither coronary nor coronary_left or coronary_right")
    lumen = volume.labels == names["coronary"]
    found = scipy.ndimage.find_objects(lumen.astype(np.uint8))
    if not found:
        raise BadCase("the coronary label is empty")
    parts, _ = scipy.ndimage.label(lumen[found[0]], np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")[:2]
    if len(order) < 2 or sizes[order[1]] < LEAST_SHARE * sizes[order[0]]:
        raise BadCase("left and right coronary tree touch, or one is missing: label them apart")
    middle = [float(np.nonzero(parts == n + 1)[0].mean()) * volume.spacing_mm[0] for n in order]
    if abs(middle[0] - middle[1]) < LEAST_GAP_MM:
        raise BadCase(f"the coronary trees lie {abs(middle[0] - middle[1]):.1f} mm apart from left to right: which is?")
    left, right = order if middle[0] > middle[1] else order[::-1]  # LPS: the first axis runs to the patient's left
    free = [value for value in range(1, 256) if value not in volume.legend]
    if len(free) < 2:
        raise BadCase("the legend leaves no label values for the two coronary trees")
    labels = volume.labels.copy()
    for value, part in zip(free, (left, right), strict=False):
        labels[found[0]][parts == part + 1] = value
    legend = {**volume.legend, free[0]: "coronary_left", free[1]: "coronary_right"}
    return replace(volume, labels=labels, legend=legend)


class LabelledLumen:
    """The lumen of each tree that a sided volume labels: a pure function of it, which redraws come back to."""

    def __init__(self, volume: Volume) -> None:
        assert volume.labels is not None
        self.volume = volume
        self._voxels: dict[Side, NDArray[np.int64]] = {}  # (n, 3)
        self._centres: dict[Side, NDArray[np.float64]] = {}  # (3, n), LPS mm
        for side in SIDES:
            own = np.zeros(256, bool)
            own[[value for value, name in volume.legend.items() if name == f"coronary_{side}"]] = True
            at = np.unravel_index(np.flatnonzero(own[volume.labels]), volume.labels.shape)
            if len(at[0]):
                steps = zip(at, volume.spacing_mm, volume.origin_mm, strict=True)
                self._voxels[side] = np.stack(at, axis=1)
                self._centres[side] = np.stack([n * step + start for n, step, start in steps])

    def side_at(self, place_lps_mm: Sequence[float]) -> Side:
        """The side of the lumen that is nearest to a place.

        Raises:
            BadCase: where there is no lumen.
        """
        gaps = {}
        for side, centres in self._centres.items():
            x, y, z = (along - at for along, at in zip(centres, place_lps_mm, strict=True))
            gaps[side] = float((x * x + y * y + z * z).min())
        if not gaps:
            raise BadCase("the coronary labels are empty")
        return min(gaps, key=lambda side: gaps[side])

    def narrowed(self, side: Side, label: NDArray[np.uint8], corner: Sequence[int]) -> NDArray[np.float64]:
        """Centres (n, 3) in LPS mm of the voxels that a sample's plaques leave open in the whole tree.

        Args:
            side: of the tree.
            label: the sample's label map, ``label.npy.zst``.
            corner: its first voxel in the volume, ``drawn.corner``.
        """
        at = self._voxels[side] - np.array(corner)
        inside = ((at >= 0) & (at < label.shape)).all(axis=1)
        still_open = ~inside
        still_open[inside] = label[tuple(at[inside].T)] == VALUE["coronary"]
        # Single precision, as trees have it: what is interpolated between the voxels follows the last bits.
        centres: NDArray[np.float64] = self._centres[side].T[still_open].astype(np.float32).astype(np.float64)
        return centres


@dataclass(frozen=True)
class LumenCells:
    """Occupied ``cells`` (n, 3) of ``grid``, whose middle, the isocentre, lies at ``isocentre_mm`` (3,) in LPS mm."""

    cells: NDArray[np.int64]
    grid: Grid
    isocentre_mm: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """The cells' centres (n, 3), LPS mm from the isocentre."""
        return self.grid.centres(self.cells)

    def near(self, line: NDArray[np.float64], reach_mm: float) -> NDArray[np.int64]:
        """The cells (m, 3) less than ``reach_mm`` from the nearest of a line's points (n, 3)."""
        middle = (np.array(self.grid.shape) - 1) / 2
        low = np.floor((line.min(axis=0) - reach_mm) / self.grid.spacing_mm + middle).astype(int) - 1
        high = np.ceil((line.max(axis=0) + reach_mm) / self.grid.spacing_mm + middle).astype(int) + 1
        boxed = np.ones(len(self.cells), bool)
        for along, least, most in zip(self.cells.T, low, high, strict=True):
            boxed &= (along >= least) & (along <= most)
        cells = self.cells[boxed]
        gap, _ = scipy.spatial.cKDTree(line).query(self.grid.centres(cells), distance_upper_bound=reach_mm)
        return np.asarray(cells[np.isfinite(gap)])


def fine(points: NDArray[np.float64], voxel_mm: Sequence[float], cell_mm: float) -> LumenCells:
    """Voxels, given by their centres (n, 3) in LPS mm, as cells; the isocentre is the middle of their bounding box."""
    low, high = (np.array([end(along) for along in points.T]) for end in (np.min, np.max))
    voxel, isocentre = np.array(voxel_mm), (low + high) / 2
    n0, n1, n2 = (int(n) for n in np.ceil((high - low + 2 * voxel) / cell_mm))
    grid = Grid((n0, n1, n2), cell_mm)
    # Positions of the cells' centres in voxels, axis by axis: both lattices are along the patient's axes.
    x, y, z = (
        (isocentre[a] - low[a] + (np.arange(n) - (n - 1) / 2) * cell_mm) / voxel[a] + PAD
        for a, n in enumerate(grid.shape)
    )
    at = np.rint((points - low) / voxel).astype(np.int64) + PAD
    occupied = np.zeros(at.max(axis=0) + PAD + 1, np.uint8)
    occupied[tuple(at.T)] = 1
    lines = tuple(at.T[:2])
    first, last = np.full(occupied.shape[:2], occupied.shape[2]), np.zeros(occupied.shape[:2], np.int64)
    np.minimum.at(first, lines, at[:, 2])
    np.maximum.at(last, lines, at[:, 2])
    begin = np.searchsorted(z, np.arange(occupied.shape[2] + 1))
    flat = _half_filled(occupied, first, last, x, y, z, begin)
    return LumenCells(np.stack(np.unravel_index(flat, grid.shape)).T, grid, isocentre)


@jit
def _half_filled(
    occupied: NDArray[np.uint8],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    begin: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Flat indices of the cells at which the voxels, interpolated linearly, are one half or more.

    The arithmetic is that of ``scipy.ndimage.map_coordinates`` in float32: many cells lie midway to within rounding.

    Args:
        occupied: voxels, 1 where there is lumen, with empty ones about it.
        first, last: of the occupied ones of each line along z; first beyond last where there is none.
        x, y, z: the cells' centres along each axis, in voxels.
        begin: the first cell at or beyond each voxel along z.
    """
    found, count = np.empty(2**16, np.int64), 0
    for a in range(x.size):
        i = math.floor(x[a])
        u = 1.0 - (x[a] - i)
        for b in range(y.size):
            j = math.floor(y[b])
            low = min(first[i, j], first[i, j + 1], first[i + 1, j], first[i + 1, j + 1]) - 1
            high = max(last[i, j], last[i, j + 1], last[i + 1, j], last[i + 1, j + 1])
            v = 1.0 - (y[b] - j)
            weights = u * v, u * (1.0 - v), (1.0 - u) * v, (1.0 - u) * (1.0 - v)
            lines = occupied[i, j], occupied[i, j + 1], occupied[i + 1, j], occupied[i + 1, j + 1]
            for k in range(low, high + 1):
                for c in range(begin[k], begin[k + 1]):
                    w = 1.0 - (z[c] - k)
                    share = 0.0
                    for n in range(4):
                        share = share + lines[n][k] * weights[n] * w + lines[n][k + 1] * weights[n] * (1.0 - w)
                    if np.float32(share) >= np.float32(0.5):
                        if count == found.size:
                            more = np.empty(2 * count, np.int64)
                            for n in range(count):
                                more[n] = found[n]
                            found = more
                        found[count] = (a * y.size + b) * z.size + c
                        count += 1
    return found[:count]
