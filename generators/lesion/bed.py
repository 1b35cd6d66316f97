"""What lies about a vessel: where plaque may grow, and what a plaque leaves as it is.

The wall takes the place of fat and of the vessel's own wall. Organs, muscle and bone bound it; so does contrast, in
the aorta, in chambers and in other vessels, labelled or not: plaque never reaches it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import VALUE

if TYPE_CHECKING:
    from lesionforge.generators.lesion.scene import Box, CtScene
    from lesionforge.generators.lesion.vessels import CtVessel

# Labels that hold a coronary artery, as a body or a heart with all in it, and those of its own wall, bound nothing.
HOLDS: Final = re.compile(
    r"(?:.*_)?(?:fat|heart|pericardium|mediastinum|thorax|chest|body|skin)|coronary(?!_sinus|_vein)\w*"
)
BLOOD: Final = re.compile(r".*(?:aorta|ventricle|atrium|appendage|cava|pulmonary_(?:artery|vein)|blood).*")
CONTRAST_HU = 150.0  # of a lumen: below, contrast tells nothing
BRIGHT = 0.6  # of the lumen's HU: what is as bright holds contrast
DEEP_MM = 0.9  # thinner layers of contrast beside a label are its own lumen's edge
BESIDE_MM = 1.2  # from the lumen, where other contrast would lie
CROWDED = 0.18  # of the circle there
RING = 16  # points of it


@dataclass(frozen=True)
class Bed:
    """A box of a scene about a vessel, bool of its shape: ``room`` for plaque, ``kept``: HU that nothing changes."""

    box: Box
    room: NDArray[np.bool_]
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Course:
    """Where a plaque lies: rows of a vessel, what it leaves as it is about it, and where its %DS is read."""

    vessel: CtVessel
    rows: slice
    bed: Bed
    ds_by: Literal["hu", "label"]


def lie(scene: CtScene, box: Box, zone_mm: float) -> Bed:
    """What a plaque in a box may take, and what it leaves.

    Args:
        scene: its labels and its HU.
        box: of the scene.
        zone_mm: from the lumen's label, the vessel's wall: labels rarely leave room for one, and what they say of it
            does not keep it as it is. Contrast is kept everywhere.
    """
    labels, other = scene.labels[box], scene.other[box]
    lumen = labels == VALUE["coronary"]
    blood = scene.blood[box] | _contrast(scene.before[box], lumen, scene.spacing)
    near = scipy.ndimage.distance_transform_edt(~lumen, sampling=scene.spacing) <= zone_mm if lumen.any() else lumen
    kept = (blood | (other & ~near)) & ~lumen
    beside = scipy.ndimage.binary_dilation(kept) & ~lumen  # a voxel between: what the blur brings there is in the noise
    room = ((labels == 0) | lumen) & ~scene.taken[box] & ~other & ~beside
    return Bed(box, room, kept)


def _contrast(
    hu: NDArray[np.int16], lumen: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Voxels as bright as the lumen, beyond its label's edge."""
    level = float(np.median(hu[lumen])) if lumen.any() else 0.0
    bright = (hu >= BRIGHT * level) & ~lumen
    if level < CONTRAST_HU or not bright.any():
        return np.zeros(hu.shape, bool)
    core = np.asarray(scipy.ndimage.distance_transform_edt(bright, sampling=spacing) > DEEP_MM)
    if not core.any():
        return core
    out: NDArray[np.bool_] = bright & (scipy.ndimage.distance_transform_edt(~core, sampling=spacing) <= DEEP_MM)
    return out


def voxels(scene: CtScene, points: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Indices of the voxels that points (..., 3), mm, lie in; of those beyond the scene, the nearest."""
    at = np.rint(points / np.array(scene.spacing)).astype(np.int64)
    return tuple(np.clip(x, 0, n - 1) for x, n in zip(np.moveaxis(at, -1, 0), scene.hu.shape, strict=True))


def clear(scene: CtScene, vessel: CtVessel) -> NDArray[np.bool_]:
    """Rows of a vessel that its label shows, that no plaque is near, and that lie in tissue: not in or by the aorta."""
    middle = voxels(scene, vessel.points)
    own = (scene.labels[middle] == VALUE["coronary"]) & ~scene.taken[middle]
    angle = 2 * np.pi / RING * np.arange(RING)[:, None]
    reach = (vessel.radii + BESIDE_MM)[:, None, None]
    across = np.cos(angle) * vessel.first[:, None] + np.sin(angle) * vessel.second[:, None]
    ring = voxels(scene, vessel.points[:, None] + reach * across)
    level = float(np.median(scene.before[middle][own])) if own.any() else 0.0
    blood = scene.blood[ring]
    if level >= CONTRAST_HU:
        blood = blood | (scene.before[ring] >= BRIGHT * level)
    return np.asarray(own & (blood.mean(axis=1) <= CROWDED))
