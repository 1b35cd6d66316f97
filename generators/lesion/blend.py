"""How a lesion comes to lie in its surroundings: mass effect first, then compositing through a blurred mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import PLAQUES, VALUE
from lesionforge.generators.lesion.scene import CtScene, box_about

TRUNCATE = 4.0  # sigmas: beyond, the weight is exactly zero
EDGE = 2.0  # sigmas from a tumour's edge to where its blend ends
HALO_MM = (
    1.2  # that a scanner's blur shows of a lesion beyond its label: 2.5 sigmas of the widest plaques are drawn with
)
MARGIN = 1 / 3  # of a tumour's radius: the widest margin that fades into its organ
HU_RANGE = (-1024, 3071)
SLACK_MM = 1e-6  # of distances between voxels' middles
PUSH_REACH = 2.0  # radii: beyond, nothing that a tumour pushes moves


def push(scene: CtScene, centre: tuple[int, int, int], radius_mm: float, share: float) -> None:
    """Move the scene's background and labels away from a ball that is about to be filled.

    What lay at 1 - ``share`` of the radius comes to lie at its edge, fading to rest at ``PUSH_REACH`` radii.
    """
    spacing = np.array(scene.spacing)
    reach = np.ceil(PUSH_REACH * radius_mm / spacing).astype(np.int64)
    box = box_about(np.array(centre) - reach, np.array(centre) + reach, scene.hu.shape)
    if scene.labels[box].max() >= VALUE[PLAQUES[0]]:
        return  # another lesion lies there, and stays where it is
    lines = [(np.arange(s.start, s.stop) - c) * mm for s, c, mm in zip(box, centre, spacing, strict=True)]
    x, y, z = np.meshgrid(*lines, indexing="ij")
    far = np.sqrt(x * x + y * y + z * z) / radius_mm
    scale = np.where(far < 1, 1 - share, 1 - share * (PUSH_REACH - far) / np.maximum(far, 1e-9))
    scale = np.where(far < PUSH_REACH, scale, 1.0)
    start = [s.start for s in box]
    at = np.stack([c - o + scale * v / mm for c, o, v, mm in zip(centre, start, (x, y, z), spacing, strict=True)])
    moved = far < PUSH_REACH
    hu, labels = scene.hu[box], scene.labels[box]
    scene.changed[box] |= moved
    shifted = scipy.ndimage.map_coordinates(hu.astype(np.float32), at, order=1, mode="nearest")
    hu[moved] = np.rint(shifted[moved]).astype(np.int16)
    labels[moved] = scipy.ndimage.map_coordinates(labels, at, order=0, mode="nearest")[moved]


def reach(sigma_mm: float, spacing: tuple[float, float, float]) -> NDArray[np.int64]:
    """Voxels along each axis that a blurred mask grows by."""
    return np.array([int(TRUNCATE * sigma_mm / s + 0.5) for s in spacing], np.int64)


def weights(
    mask: NDArray[np.bool_], sigma_mm: float, spacing: tuple[float, float, float], width_mm: float | None = None
) -> NDArray[np.float32]:
    """The mask blurred: float32 0 ... 1, exactly zero beyond ``reach``; the mask itself where sigma is 0.

    ``width_mm``: zero beyond that distance from the mask, too (between voxel centres; a voxel's own edge reaches on).

    Grids that cut the blur off lose none of it: what is beyond them counts as empty.
    """
    sharp = mask.astype(np.float32)
    if sigma_mm <= 0:
        return sharp
    sigma = [sigma_mm / s for s in spacing]
    blurred: NDArray[np.float32] = scipy.ndimage.gaussian_filter(sharp, sigma, mode="constant", truncate=TRUNCATE)
    if width_mm is not None:
        blurred[~near(mask, width_mm, spacing)] = 0
    return blurred


def about(mask: NDArray[np.bool_], mm: float, spacing: Sequence[float]) -> tuple[slice, ...]:
    """The box of a mask and so many mm about it, cut to the grid."""
    (box,) = scipy.ndimage.find_objects(mask.view(np.uint8))
    reach = [int(mm / s) for s in spacing]
    return tuple(slice(max(0, b.start - r), min(b.stop + r, n)) for b, r, n in zip(box, reach, mask.shape, strict=True))


def near(mask: NDArray[np.bool_], mm: float, spacing: Sequence[float]) -> NDArray[np.bool_]:
    """Voxels whose middles are no further than so many mm from one of the mask's."""
    out = np.zeros(mask.shape, bool)
    if mask.any():
        box, mm = about(mask, mm + SLACK_MM, spacing), mm + SLACK_MM
        out[box] = scipy.ndimage.distance_transform_edt(~mask[box], sampling=spacing) <= mm
    return out


def halo_mm(lesion_class: str, radius_mm: float, least_mm: float, spacing: tuple[float, float, float]) -> float:
    """How far beyond its label a lesion shows: ``least_mm``, and a voxel at least; a tumour's margin is wider.

    ``radius_mm``: that of the ball of its volume.
    """
    return max(least_mm, max(spacing), 0.0 if lesion_class in PLAQUES else MARGIN * radius_mm)


def beyond(mask: NDArray[np.bool_], organ: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """What a tumour leaves as it is: its margin fades into its organ; beside that, only the blur shows it."""
    out: NDArray[np.bool_] = ~(near(mask, max(HALO_MM, *spacing), spacing) | organ | mask)
    return out


def composite(
    background: NDArray[np.int16], tissue: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.int16]:
    """background + weight (tissue - background), rounded; where the weight is zero, the background bit by bit."""
    out, on = background.copy(), weight > 0
    mixed = background[on] + weight[on] * (tissue[on] - background[on])
    out[on] = np.clip(np.rint(mixed), *HU_RANGE).astype(np.int16)
    return out
