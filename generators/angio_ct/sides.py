"""Which coronary tree a place lies on, also where the label tells no sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.types import BadCase, Side, Volume

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
    found = ndimage.find_objects(lumen.astype(np.uint8))
    if not found:
        raise BadCase("the coronary label is empty")
    parts, _ = ndimage.label(lumen[found[0]], np.ones((3, 3, 3)))
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
