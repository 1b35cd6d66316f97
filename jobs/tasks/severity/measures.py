"""What the graded runs say together: ``image``, ``artery`` and ``patient``, of both trees and of each.

Names are ``LEVEL/SCORE`` and ``LEVEL-ARTERY/SCORE``, ARTERY ``LCA`` or ``RCA``, see ``metrics``; of boxes
``cam20/SCORE`` and ``cam20-LCA/SCORE``, see ``localisation``. Of a learner that grades lesions one by one also
``lesion``, where their boxes were given, or ``found``, those that a box finds (IoU .2). A frame of unknown class
counts at no level; an artery's or a patient's class is that of its worst lesion, whether a run shows it or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.studies.task import Scored
from lesionforge.jobs.tasks.severity import localisation, metrics
from lesionforge.jobs.tasks.severity.grades import UNKNOWN
from lesionforge.jobs.tasks.severity.images import ARTERIES, Images, Verdict
from lesionforge.jobs.tasks.severity.pooling import pooled, worst_of

Evidence = tuple[Images, Verdict]


class Severities:
    """See ``Measures``."""

    def __init__(self, scored: Sequence[Scored]) -> None:
        self._subjects = sorted({one.subject for one in scored})
        self._levels: dict[str, tuple[metrics.Graded, NDArray[np.int64]]] = {}
        self._boxes: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
        both = [one.evidence for one in scored]
        for artery in (None, *ARTERIES.values()):
            some = [(one, told) for one, told in both if artery in (None, one.artery)]
            if not some:
                continue
            ending = f"-{artery}" if artery else ""
            self._level(f"image{ending}", *_images(some))
            if some[0][1].lesions:
                self._level(f"{'lesion' if some[0][1].given else 'found'}{ending}", *_lesions(some))
            units = _runs(some)
            if artery is None:
                self._level("patient", *pooled(*units))
            else:
                self._level(f"artery{ending}", *pooled(*units))
            for name, limit in localisation.LIMITS.items():
                if not some[0][1].given:
                    self._boxes[f"{name}{ending}"] = self._located(some, limit)

    def _level(self, name: str, subjects: Sequence[str], truths: NDArray[np.int64], p: NDArray[np.float64]) -> None:
        if len(truths):
            self._levels[name] = metrics.Graded(truths, p), np.searchsorted(self._subjects, subjects)

    def _located(self, some: Sequence[Evidence], limit: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        rows = [
            (one.subject, localisation.counts(found, lesions, percents, limit))
            for one, told in some
            for found, lesions, percents in zip(told.boxes, one.boxes, one.percents, strict=True)
        ]
        table = np.array([row for _, row in rows], np.float64).reshape(-1, len(localisation.COUNTS))
        return table, np.searchsorted(self._subjects, [subject for subject, _ in rows]).astype(np.int64)

    @property
    def held(self) -> dict[str, int]:
        """Subjects with a graded unit of the level; of boxes, with a labelled lesion."""
        out: dict[str, int] = {}
        for name, (graded, at) in self._levels.items():
            out |= dict.fromkeys((f"{name}/{score}" for score in graded.values(np.ones(len(at)))), len(np.unique(at)))
        for name, (table, at) in self._boxes.items():
            number = len(np.unique(at[table[:, 0] > 0]))
            out |= dict.fromkeys((f"{name}/{score}" for score in localisation.values(table.sum(0))), number)
        return out

    def values(self, times: NDArray[np.float64] | None = None) -> dict[str, float]:
        """See ``Measures.values``."""
        times = np.ones(len(self._subjects)) if times is None else times
        out: dict[str, float] = {}
        for name, (graded, at) in self._levels.items():
            out |= {f"{name}/{score}": value for score, value in graded.values(times[at]).items()}
        for name, (table, at) in self._boxes.items():
            total = (table * times[at, None]).sum(0)
            out |= {f"{name}/{score}": value for score, value in localisation.values(total).items()}
        return out


def _images(some: Sequence[Evidence]) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """Subject, class and probabilities of every frame of known class."""
    classes = some[0][1].probabilities.shape[1]
    subjects = [one.subject for one, _ in some for grade in one.grades if grade != UNKNOWN]
    truths = np.concatenate([one.grades for one, _ in some])
    p = np.concatenate([told.probabilities for _, told in some]).reshape(-1, classes)
    return subjects, truths[truths != UNKNOWN], p[truths != UNKNOWN]


def _lesions(some: Sequence[Evidence]) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """Subject, class and probabilities of every lesion of known class that was graded."""
    rows = [
        (one.subject, lesion.grade, p)
        for one, told in some
        for lesions, graded in zip(one.lesions, told.lesions, strict=True)
        for lesion, p in zip(lesions, graded, strict=True)
        if lesion.grade != UNKNOWN and np.isfinite(p).all()
    ]
    p = np.array([row[2] for row in rows], np.float64).reshape(-1, some[0][1].probabilities.shape[1])
    return [row[0] for row in rows], np.array([row[1] for row in rows], np.int64), p


def _runs(some: Sequence[Evidence]) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """Subject, class and pooled probabilities of every run with images whose artery's class is known."""
    kept = [(one, told) for one, told in some if len(one.full) and one.artery_grade != UNKNOWN]
    classes = some[0][1].probabilities.shape[1]
    p = np.array([worst_of(told.probabilities) for _, told in kept], np.float64).reshape(-1, classes)
    return [one.subject for one, _ in kept], np.array([one.artery_grade for one, _ in kept], np.int64), p
