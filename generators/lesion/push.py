"""Mass effect: tissue around a tumour pushed outwards."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesionforge.generators.lesion.classes import PLAQUES, VALUE
from lesionforge.generators.lesion.scene import Scene, box_about

REACH = 2.0  # radii: beyond, nothing moves


def push(scene: Scene, centre: tuple[int, int, int], radius_mm: float, share: float) -> None:
    """Move the scene's background and labels away from a ball that is about to be filled.

    What lay at 1 - ``share`` of the radius comes to lie at its edge, fading to rest at ``REACH`` radii.
    """
    spacing = np.array(scene.spacing)
    reach = np.ceil(REACH * radius_mm / spacing).astype(np.int64)
    box = box_about(np.array(centre) - reach, np.array(centre) + reach, scene.hu.shape)
    if scene.labels[box].max() >= VALUE[PLAQUES[0]]:
        return  # another lesion lies there, and stays where it is
    lines = [(np.arange(s.start, s.stop) - c) * mm for s, c, mm in zip(box, centre, spacing, strict=True)]
    x, y, z = np.meshgrid(*lines, indexing="ij")
    far = np.sqrt(x * x + y * y + z * z) / radius_mm
    scale = np.where(far < 1, 1 - share, 1 - share * (REACH - far) / np.maximum(far, 1e-9))
    scale = np.where(far < REACH, scale, 1.0)
    start = [s.start for s in box]
    at = np.stack([c - o + scale * v / mm for c, o, v, mm in zip(centre, start, (x, y, z), spacing, strict=True)])
    moved = far < REACH
    hu, labels = scene.hu[box], scene.labels[box]
    shifted = ndimage.map_coordinates(hu.astype(np.float32), at, order=1, mode="nearest")
    hu[moved] = np.rint(shifted[moved]).astype(np.int16)
    labels[moved] = ndimage.map_coordinates(labels, at, order=0, mode="nearest")[moved]
