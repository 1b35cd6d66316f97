"""Scores at a fixed confidence, as the two-step paper (Table 3) and CORE320 have them, each defined once.

Of a frame's detections those of the confidence or more count, the best one or the best five of them. A hit is an IoU
of .2 or more; a second box on a lesion is a false positive (CORE320 does not count it). Recall and precision are of
frames with lesions, as in both papers. The paper's recalls with one box and with five must have other denominators, as
five boxes find less than one there; so both are here:

- ``at_least_one``: frames in which one of five boxes hits, of frames with lesions; CORE320's global sensitivity.
- ``recall_1_frames``: frames in which the best box hits, of frames with lesions.
- ``recall_1``, ``recall_5``: lesions hit, of all lesions.
- ``precision_1``, ``precision_5``: hits, of boxes; no value without boxes.
- ``centre_px``: mean distance of the five boxes' centres from the nearest lesion's, false ones too, in pixels of a
  frame whose longest side is 512. CORE320 calls it MSE.
- ``fp_healthy``: boxes, of five, per frame without lesions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.tasks.detection.frames import Detections, Frame
from lesionforge.jobs.tasks.detection.matching import FALSE, UNSEEN, Floats, hits

IOU = 0.2
KEPT = (1, 5)  # boxes of a frame
NAMES = (
    *("at_least_one", "recall_1_frames", "recall_1", "recall_5"),
    *("precision_1", "precision_5", "centre_px", "fp_healthy"),
)


class AtConfidence:
    """Sums of every frame, added up as often as a bootstrap asks."""

    def __init__(self, frames: Sequence[Frame], detections: Sequence[Detections], confidence: float) -> None:
        rows = [_counts(frame, found, confidence) for frame, found in zip(frames, detections, strict=True)]
        self._rows = np.array(rows, np.float64).reshape(-1, 8)
        self._ill = self._rows[:, 0] > 0
        # A frame whose only lesions are hidden is neither.
        self._well = ~self._ill & np.array([not len(frame.ignore) for frame in frames], bool)

    def held(self, subjects: NDArray[np.int64]) -> Mapping[str, int]:
        """Number of subjects that each measure rests on; ``subjects`` (frames,)."""
        ill, well = (len(np.unique(subjects[those])) for those in (self._ill, self._well))
        return {name: well if name == "fp_healthy" else ill for name in NAMES}

    def values(self, weights: Floats | None = None) -> dict[str, float]:
        """Every score by its name; ``weights`` (frames,): how often each counts."""
        w = np.ones(len(self._rows)) if weights is None else weights
        ill = w * self._ill
        lesions, hit1, boxes1, hit5, boxes5, any5, gaps, _ = ill @ self._rows
        frames = ill.sum()
        return {
            "at_least_one": _share(any5, frames),
            "recall_1_frames": _share(hit1, frames),
            "recall_1": _share(hit1, lesions),
            "recall_5": _share(hit5, lesions),
            "precision_1": _share(hit1, boxes1),
            "precision_5": _share(hit5, boxes5),
            "centre_px": _share(gaps, boxes5),
            "fp_healthy": _share((w * self._well) @ self._rows[:, 7], (w * self._well).sum()),
        }


def _counts(frame: Frame, found: Detections, confidence: float) -> list[float]:
    """Lesions; hits and boxes of one, of five; whether one of five hits; the five's summed distance; the five."""
    sure = found.scores.sum(1)
    best = np.argsort(-sure, kind="stable")
    boxes = found.boxes[best[sure[best] >= confidence]]
    grade = hits(boxes, frame.boxes, frame.classes, frame.ignore, IOU, frame.image.shape)
    boxes, grade = boxes[grade > UNSEEN], grade[grade > UNSEEN]
    out: list[float] = [len(frame.boxes)]
    for kept in KEPT:
        out += [(grade[:kept] > FALSE).sum(), len(grade[:kept])]
    five = boxes[: KEPT[-1]]
    gap = (five[:, None, :2] + five[:, None, 2:] - frame.boxes[None, :, :2] - frame.boxes[None, :, 2:]) / 2
    near = np.hypot(gap[..., 0], gap[..., 1]).min(1) if len(frame.boxes) else np.zeros(0)
    return [*out, out[3] > 0, near.sum() * 512 / max(frame.image.shape), len(five)]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
