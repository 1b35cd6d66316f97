"""The coronary tree that a sample's plaques leave open, in patient coordinates: what X-ray would see of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.types import BadCase, CoronaryTree, Side, Stenosis, Volume


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
        label: the sample's label map, ``label.npy.gz``.
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
    tree = cKDTree(points)
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
