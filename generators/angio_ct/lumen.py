"""The lumen of one coronary tree that X-ray would see: its side, what a sample's plaques leave open, on fine cells.

The cells are finer than CT's voxels and lie about the isocentre of the C-arm. A lumen of 1 mm is two CT voxels wide;
its blocks, projected, are a silhouette nobody would read. The surface taken here is that of the label interpolated
linearly, where it is one half: exactly the surface whose sections the percent diameter stenosis is measured on, so CT,
label and angiogram show one lumen. A phantom's own smooth branches would be another lumen than the labelled one, and a
source of labels alone has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.types import BadCase, CoronaryTree, Side, Stenosis, Volume

SIDES: tuple[Side, Side] = ("left", "right")
LEAST_SHARE = 0.05  # a second tree smaller than this share of the first is none
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


def side_at(volume: Volume, place_lps_mm: Sequence[float]) -> Side:
    """The side of the labelled lumen that is nearest to a place in a sided volume."""
    assert volume.labels is not None
    near: dict[Side, float] = {}
    for side in SIDES:
        values = [value for value, name in volume.legend.items() if name == f"coronary_{side}"]
        lumen: NDArray[np.int64] = np.argwhere(np.isin(volume.labels, values))
        if len(lumen):
            gap = lumen * np.array(volume.spacing_mm) + np.array(volume.origin_mm) - np.array(place_lps_mm)
            near[side] = float((gap**2).sum(axis=1).min())
    if not near:
        raise BadCase("the coronary labels are empty")
    return min(near, key=lambda side: near[side])


def narrowed_tree(
    volume: Volume,
    label: NDArray[np.uint8],
    corner: Sequence[int],
    lesions: Sequence[Mapping[str, Any]],
    side: Side,
) -> CoronaryTree:
    """The lumen of the whole volume with a sample's plaques in it.

    Args:
        volume: the case that the sample was made of.
        label: the sample's label map, ``label.npy.zst``.
        corner: its first voxel in the volume, ``drawn.corner``.
        lesions: ``lesions`` of the sample; plaques on this tree become its stenoses.
        side: which tree. A label that tells no sides is taken whole, as one tree of that side.

    Raises:
        BadCase: where the volume shows no such lumen.
    """
    names = (f"coronary_{side}", *(() if f"coronary_{side}" in volume.legend.values() else ("coronary",)))
    values = [value for value, name in volume.legend.items() if name in names]
    if volume.labels is None or not values or not (lumen := np.isin(volume.labels, values)).any():
        raise BadCase(f"the volume shows no {side} coronary lumen")
    box = tuple(slice(c, c + n) for c, n in zip(corner, label.shape, strict=True))
    lumen[box] &= label == VALUE["coronary"]
    points = (np.argwhere(lumen) * np.array(volume.spacing_mm) + np.array(volume.origin_mm)).astype(np.float32)
    tree = scipy.spatial.cKDTree(points)
    stenoses = []
    for lesion in lesions:
        at = lesion.get("mld_lps_mm")  # plaques alone have one
        if at is not None and tree.query(at)[0] <= lesion["reference_mm"]:
            stenoses.append(
                Stenosis(
                    segment="",
                    point=(at[0], at[1], at[2]),
                    length_mm=lesion["length_mm"],
                    reference_mm=lesion["reference_mm"],
                    mld_mm=lesion["mld_mm"],
                    percent_ds=lesion["measured_ds"],
                )
            )
    return CoronaryTree(
        subject=volume.subject,
        source_id=hashlib.blake2b(np.ascontiguousarray(points, "<f4").tobytes(), digest_size=16).hexdigest(),
        licence=volume.licence,
        side=side,
        points=points,
        voxel_mm=volume.spacing_mm,
        stenoses=tuple(stenoses),
    )


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


def fine(tree: CoronaryTree, cell_mm: float) -> LumenCells:
    """The tree's voxels as cells of ``cell_mm``; the isocentre is the middle of its bounding box."""
    voxel = np.array(tree.voxel_mm)
    points = tree.points.astype(np.float64)
    low = points.min(axis=0)
    at = np.rint((points - low) / voxel).astype(np.int64) + 2
    occupied = np.zeros(at.max(axis=0) + 3, np.float32)
    occupied[tuple(at.T)] = 1
    near = scipy.ndimage.binary_dilation(occupied > 0, np.ones((3, 3, 3)))  # further off the interpolation is 0
    extent = np.ptp(points, axis=0) + 2 * voxel
    n0, n1, n2 = (int(n) for n in np.ceil(extent / cell_mm))
    grid = Grid((n0, n1, n2), cell_mm)
    isocentre = (low + points.max(axis=0)) / 2
    # Positions of the cells' centres in voxels, axis by axis: both lattices are along the patient's axes.
    x, y, z = (
        (isocentre[a] - low[a] + (np.arange(n) - (n - 1) / 2) * cell_mm) / voxel[a] + 2
        for a, n in enumerate(grid.shape)
    )
    i, j, k = (np.rint(axis).astype(np.int64) for axis in (x, y, z))
    cells = []
    for plane, row in enumerate(i):
        a, b = np.nonzero(near[row][j[:, None], k])
        share = scipy.ndimage.map_coordinates(occupied, [np.full(len(a), x[plane]), y[a], z[b]], order=1)
        kept = share >= 0.5
        cells.append(np.stack([np.full(int(kept.sum()), plane), a[kept], b[kept]], axis=1))
    return LumenCells(np.concatenate(cells).astype(np.int64), grid, isocentre)
