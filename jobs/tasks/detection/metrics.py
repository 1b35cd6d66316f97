"""Scores of detections against labelled frames, each defined once.

A detection hits a lesion by one of two rules: IoU at least a threshold, or box centres within 24 pixels of a frame
whose longest side is 512. Matching is COCO's: best score first, each lesion hit once, a second hit is a false positive;
a detection that hits nothing but lies mostly in a region to ignore does not count. AP is COCO's 101-point average.
Frames without lesions take part with their false positives. All scores are fractions.

- ``ap50`` ``ap30`` ``ap20`` ``ap_centre``: lesions of any class.
- ``ap50_moderate`` ``ap50_severe`` ``map50``: per severity class, as DiGDA's mAP50, and their mean.
- ``f1_moderate`` ``f1_severe`` ``f1``: at IoU .5 and the confidence where their mean ``f1`` is highest, Ultralytics'
  rule. The confidence is chosen on the scored frames themselves.
- ``recall_1fp`` (and per class): lesions hit (IoU .2, any class named) where there is one false positive a frame.
- ``fp_negative``: false positives per frame without lesions at that same confidence.

Those at one confidence that is given are ``fixed``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.tasks.detection.fixed import AtConfidence
from lesionforge.jobs.tasks.detection.frames import CLASSES, UNGRADED, Detections, Frame
from lesionforge.jobs.tasks.detection.matching import FALSE, UNSEEN, Floats, Rule, hits

GRID = np.linspace(0, 1, 101)
MOST = 100  # detections per frame, COCO's


@dataclass(frozen=True)
class Matches:
    """Detections of one kind over all frames, best first.

    ``grade`` int (d,): class of the lesion hit, -1 of an ungraded one, -2 for a false positive. ``frame`` int (d,).
    ``lesions`` int (f, 2): lesions to find per frame and class; ``total`` (f,) with the ungraded ones.
    """

    scores: Floats
    grade: NDArray[np.int64]
    frame: NDArray[np.int64]
    lesions: NDArray[np.int64]
    total: NDArray[np.int64]


def match(frames: Sequence[Frame], detections: Sequence[Detections], rule: Rule, kind: int | None = None) -> Matches:
    """Match detections with lesions.

    Args:
        frames: labelled frames.
        detections: one per frame.
        rule: an IoU threshold or ``centre``.
        kind: index into ``CLASSES``: only its lesions, by the score of that class; ungraded lesions are ignored.
            None: lesions of any class, by the sum of the scores.
    """
    scores, grades, where = [], [], []
    lesions = np.zeros((len(frames), len(CLASSES)), np.int64)
    total = np.zeros(len(frames), np.int64)
    for i, (frame, found) in enumerate(zip(frames, detections, strict=True)):
        wanted = np.ones(len(frame.boxes), bool) if kind is None else frame.classes == kind
        ignore = frame.ignore
        if kind is not None:
            ignore = np.concatenate([ignore, frame.boxes[frame.classes == UNGRADED]])
        confidence = (found.scores.sum(1) if kind is None else found.scores[:, kind]).astype(np.float64)
        best = np.argsort(-confidence, kind="stable")[:MOST]
        grade = hits(found.boxes[best], frame.boxes[wanted], frame.classes[wanted], ignore, rule, frame.image.shape)
        kept = grade > UNSEEN
        scores.append(confidence[best][kept])
        grades.append(grade[kept])
        where.append(np.full(int(kept.sum()), i))
        total[i] = wanted.sum()
        for k in range(len(CLASSES)):
            lesions[i, k] = (frame.classes[wanted] == k).sum()
    score = np.concatenate(scores) if scores else np.zeros(0)
    order = np.argsort(-score, kind="stable")
    return Matches(score[order], np.concatenate(grades)[order], np.concatenate(where)[order], lesions, total)


def average_precision(m: Matches, weights: Floats | None = None) -> float:
    """COCO's 101-point AP; ``weights`` (f,) say how often each frame counts. NaN without lesions."""
    w = np.ones(len(m.total)) if weights is None else weights
    lesions = float(w @ m.total)
    if not lesions:
        return float("nan")
    hit, each = m.grade > FALSE, w[m.frame]
    tp, fp = np.cumsum(each * hit), np.cumsum(each * ~hit)
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp + fp > 0)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(tp / lesions, GRID, side="left")
    return float(np.where(at < len(precision), np.append(precision, 0)[np.minimum(at, len(precision))], 0).mean())


def best_f1(per_class: Sequence[Matches], weights: Floats | None = None) -> Floats:
    """F1 of each class at the confidence where their mean is highest: 2 TP / (detections + lesions)."""
    levels = np.unique(np.concatenate([m.scores for m in per_class]))[::-1]
    curves = []
    for m in per_class:
        w = np.ones(len(m.total)) if weights is None else weights
        each = w[m.frame]
        ends = np.searchsorted(-m.scores, -levels, side="right")
        tp = np.append(0, np.cumsum(each * (m.grade > FALSE)))[ends]
        found = np.append(0, np.cumsum(each))[ends]
        curves.append(2 * tp / np.maximum(found + w @ m.total, 1e-9))
    both = np.array(curves)
    return np.asarray(both[:, both.mean(0).argmax()] if both.size else np.zeros(len(per_class)))


def at_false_positives(m: Matches, per_frame: float, weights: Floats | None = None) -> dict[str, float]:
    """Recall, overall and per class, up to ``per_frame`` false positives a frame; those on a frame without lesions."""
    w = np.ones(len(m.total)) if weights is None else weights
    hit, each = m.grade > FALSE, w[m.frame]
    taken = np.cumsum(each * ~hit) <= per_frame * w.sum()
    out = {"recall": _share((each * (taken & hit)).sum(), w @ m.total)}
    for k, name in enumerate(CLASSES):
        out[f"recall_{name}"] = _share((each * (taken & (m.grade == k))).sum(), w @ m.lesions[:, k])
    negative = m.total == 0
    out["negative"] = _share((each * (taken & ~hit & negative[m.frame])).sum(), w @ negative)
    return out


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else float("nan")


class Scores:
    """All scores of one set of detections; matched once, counted as often as a bootstrap asks. See ``Measures``.

    ``confidence``: of ``fixed``'s scores.
    """

    def __init__(self, frames: Sequence[Frame], detections: Sequence[Detections], confidence: float = 0.5) -> None:
        self._subjects = np.unique([frame.subject for frame in frames], return_inverse=True)[1]
        rules: dict[str, Rule] = {"ap50": 0.5, "ap30": 0.3, "ap20": 0.2, "ap_centre": "centre"}
        self._any = {name: match(frames, detections, rule) for name, rule in rules.items()}
        self._per_class = [match(frames, detections, 0.5, k) for k in range(len(CLASSES))]
        self._fixed = AtConfidence(frames, detections, confidence)

    @property
    def held(self) -> dict[str, int]:
        """Subjects with lesions (of the class), of the mean over classes those of the rarer; without, for ``fp``."""

        def subjects(those: NDArray[np.bool_]) -> int:
            return len(np.unique(self._subjects[those]))

        m = self._any["ap50"]
        out = dict.fromkeys([*self._any, "recall_1fp"], subjects(m.total > 0))
        for k, name in enumerate(CLASSES):
            n = subjects(m.lesions[:, k] > 0)
            out |= dict.fromkeys((f"ap50_{name}", f"f1_{name}", f"recall_1fp_{name}"), n)
        rarer = min(out[f"ap50_{name}"] for name in CLASSES)
        return out | {
            "map50": rarer,
            "f1": rarer,
            "fp_negative": subjects(m.total == 0),
            **self._fixed.held(self._subjects),
        }

    def values(self, times: Floats | None = None) -> dict[str, float]:
        """Every score of this module's docstring and of ``fixed``'s, by its name.

        Args:
            times: (subjects,) how often each counts.
        """
        weights = None if times is None else times[self._subjects]
        out = {name: average_precision(m, weights) for name, m in self._any.items()}
        per_class = [average_precision(m, weights) for m in self._per_class]
        out["map50"] = float(np.mean(per_class))
        f1 = best_f1(self._per_class, weights)
        out["f1"] = float(f1.mean())
        for name, ap, f in zip(CLASSES, per_class, f1, strict=True):
            out |= {f"ap50_{name}": ap, f"f1_{name}": float(f)}
        point = at_false_positives(self._any["ap20"], 1.0, weights)
        out["recall_1fp"] = point["recall"]
        out |= {f"recall_1fp_{name}": point[f"recall_{name}"] for name in CLASSES}
        out["fp_negative"] = point["negative"]
        return out | self._fixed.values(weights)
