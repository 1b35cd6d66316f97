"""Boxes of an image against its labelled lesions, under names that say what they are.

A box finds a lesion where their IoU is at least the limit; the most active box goes first, a lesion is found once, and
a second box on it is a false one (CORE320's code forgives it).

- ``recall``: lesions found, of all (the paper's Sens_s). ``precision``: boxes that found one, of all (its "Spec_s").
- ``any``: images with a lesion found, of all with lesions (what its code counts). ``most_severe``: images whose worst
  lesion is found (what its text calls global sensitivity); images where no lesion has a %DS are left out.
- ``distance_px``: mean distance from a box's centre to the nearest lesion's, 512-pixel frame, all boxes (its "MSE").

Only images with lesions count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.tasks.detection.matching import overlap
from lesionforge.jobs.tasks.severity.metrics import ratio

LIMITS = {"cam20": 0.2, "cam10": 0.1}  # the paper's text; its evaluate_CAM.py
COUNTS = ("images", "lesions", "boxes", "found", "any", "graded", "most_severe", "distance")


def counts(
    boxes: NDArray[np.float32], lesions: NDArray[np.float32], percents: NDArray[np.float32], limit: float
) -> NDArray[np.float64]:
    """Of one image, as ``COUNTS``.

    Args:
        boxes: float (n, 4), best first. lesions: float (k, 4). percents: (k,), NaN where not known.
        limit: least IoU.
    """
    if not len(lesions):
        return np.zeros(len(COUNTS))
    iou = overlap(boxes, lesions)
    free = np.ones(len(lesions), bool)
    for row in iou:
        best = int(np.where(free, row, -1).argmax())
        if free[best] and row[best] >= limit:
            free[best] = False
    middle = [(some[:, :2] + some[:, 2:]) / 2 for some in (boxes, lesions)]
    gaps = np.linalg.norm(middle[0][:, None] - middle[1][None], axis=2)
    known = np.isfinite(percents)
    worst = known.any() and not free[np.flatnonzero(known)[percents[known].argmax()]]
    found = int((~free).sum())
    return np.array([1, len(lesions), len(boxes), found, found > 0, known.any(), worst, gaps.min(1).sum()], np.float64)


def values(total: NDArray[np.float64]) -> dict[str, float]:
    """Scores by name, from the sums of ``counts``."""
    n = dict(zip(COUNTS, total.tolist(), strict=True))
    return {
        "recall": ratio(n["found"], n["lesions"]),
        "precision": ratio(n["found"], n["boxes"]),
        "any": ratio(n["any"], n["images"]),
        "most_severe": ratio(n["most_severe"], n["graded"]),
        "distance_px": ratio(n["distance"], n["boxes"]),
    }
