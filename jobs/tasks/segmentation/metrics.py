"""Scores of a segmented volume against its labels, each defined once; fractions, never percent.

Per class of foreground:

- ``dsc``: voxel-wise Dice. Where neither map holds the class it is undefined (None), not 1; where only the prediction
  does, it is 0 (the published code: NaN and 0).
- ``nsd``: normalised surface Dice, the share of both surfaces within the tolerance of the other (Nikolov et al.,
  arXiv 1809.04430, as in MONAI): surface elements lie between 2 x 2 x 2 voxels and count with their area in mm².
  Undefined and 0 as ``dsc``.
- A lesion is a component of the labels, voxels touching by a corner joined: thin plaque is one lesion, not crumbs.
  ``lesion_dsc``: mean over the true lesions of the Dice of each with all predicted components that touch it, 0 for one
  that none touches; None without lesions. ``found``: true lesions touched by the prediction, of ``lesions``;
  ``false_positives``: predicted components that touch no true lesion.
- ``voxels``, ``predicted``: how many voxels the labels and the prediction hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.surface_dice import compute_surface_dice
from numpy.typing import NDArray
from scipy import ndimage

TOLERANCE_MM = 2.0  # DiffTumor's
TOUCHING = np.ones((3, 3, 3), bool)  # 26-connected

Mask = NDArray[np.bool_]


def volume_scores(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    classes: Sequence[str],
    spacing_mm: Sequence[float],
    tolerance_mm: float = TOLERANCE_MM,
) -> dict[str, dict[str, float | int | None]]:
    """Scores of one volume: by class, by name; see the module's docstring.

    Args:
        truth: label map (i, j, k); 0 background, value n + 1 is ``classes[n]``.
        predicted: the same of what a network says.
        classes: names of the foreground's classes.
        spacing_mm: a voxel's edge lengths along the axes.
        tolerance_mm: distance between surfaces that ``nsd`` forgives.

    Raises:
        ValueError: where shapes differ or a map holds a value beyond the classes.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"labels have shape {truth.shape}, the prediction {predicted.shape}: give both on one grid")
    for name, labels in (("labels", truth), ("prediction", predicted)):
        if (top := int(labels.max(initial=0))) > len(classes):
            raise ValueError(f"{name} hold value {top}, but there are {len(classes)} classes: map them to 0 ... first")
    return {
        name: _class_scores(truth == value, predicted == value, spacing_mm, tolerance_mm)
        for value, name in enumerate(classes, 1)
    }


def dice(a: Mask, b: Mask) -> float | None:
    """Dice of two masks; None where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


def surface_dice(a: Mask, b: Mask, spacing_mm: Sequence[float], tolerance_mm: float) -> float | None:
    """Normalised surface Dice of two masks (i, j, k); None where both are empty."""
    if not (a.any() and b.any()):
        return 0.0 if a.any() or b.any() else None
    one, other = (torch.from_numpy(mask)[None, None] for mask in (a, b))
    with warnings.catch_warnings():  # MONAI 1.6 warns of an argument that it passes itself
        warnings.simplefilter("ignore", FutureWarning)
        told = compute_surface_dice(
            one, other, [tolerance_mm], include_background=True, spacing=list(spacing_mm), use_subvoxels=True
        )
    return float(told)


def _class_scores(
    truth: Mask, predicted: Mask, spacing_mm: Sequence[float], tolerance_mm: float
) -> dict[str, float | int | None]:
    box = ndimage.find_objects(truth | predicted, 1)[0] or ()  # outside of it both are background
    truth, predicted = truth[box], predicted[box]
    lesions, count = ndimage.label(truth, TOUCHING)
    parts, parts_count = ndimage.label(predicted, TOUCHING)
    both = truth & predicted
    touching = np.zeros((count + 1, parts_count + 1), bool)
    touching[lesions[both], parts[both]] = True
    sizes, part_sizes = np.bincount(lesions.ravel()), np.bincount(parts.ravel())
    shared = np.bincount(lesions[both], minlength=count + 1)  # a lesion's voxels that its touching parts hold
    with_parts = touching @ part_sizes  # and the voxels of those parts
    each = 2 * shared[1:] / (sizes[1:] + with_parts[1:])
    return {
        "dsc": dice(truth, predicted),
        "nsd": surface_dice(truth, predicted, spacing_mm, tolerance_mm),
        "lesion_dsc": float(each.mean()) if count else None,
        "lesions": int(count),
        "found": int(touching[1:].any(1).sum()),
        "false_positives": int((~touching[:, 1:].any(0)).sum()),
        "voxels": int(truth.sum()),
        "predicted": int(predicted.sum()),
    }
