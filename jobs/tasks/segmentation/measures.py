"""What a network's scores on all volumes say together.

A score of a class is averaged over a subject's volumes, then over the subjects; ``SCORE/mean`` is the mean over the
classes that somebody has. Scores that ask how well lesions are segmented are averaged over volumes whose labels hold
the class: the same volumes in every arm, so that arms can be paired. What happens elsewhere is counted apart:

- ``dsc`` ``nsd`` ``lesion_dsc``: see ``metrics``.
- ``found``: share of a volume's lesions that the prediction touches.
- ``false_positives``: predicted components a volume that touch no lesion, in all volumes.
- ``false_alarms``: share of the volumes without the class in which some is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.studies.task import Scored

MEAN = "mean"  # over classes
SCORES = ("dsc", "lesion_dsc", "nsd", "found", "false_positives", "false_alarms")

Floats = NDArray[np.float64]


class VolumeMeasures:
    """See ``Measures``; names are ``SCORE/CLASS`` and ``SCORE/mean``."""

    def __init__(self, scored: Sequence[Scored], classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._tables = {score: _table(scored, score, classes) for score in SCORES}

    @property
    def held(self) -> dict[str, int]:
        """Subjects with a value of the class; of the mean over classes, those of the rarest that somebody has."""
        out: dict[str, int] = {}
        for score, table in self._tables.items():
            counts = np.isfinite(table).sum(0).tolist()
            out |= {f"{score}/{name}": count for name, count in zip(self._classes, counts, strict=True)}
            out[f"{score}/{MEAN}"] = min((count for count in counts if count), default=0)
        return out

    def values(self, times: Floats | None = None) -> dict[str, float]:
        """See ``Measures.values``. A draw without a class is averaged over the others."""
        out: dict[str, float] = {}
        for score, table in self._tables.items():
            weights = np.ones(len(table)) if times is None else times
            there = np.isfinite(table)
            by_class = _ratio(weights @ np.where(there, table, 0), weights @ there)
            out |= {f"{score}/{name}": float(v) for name, v in zip(self._classes, by_class, strict=True)}
            out[f"{score}/{MEAN}"] = float(_mean(by_class[:, None])[0])
        return out


def _table(scored: Sequence[Scored], score: str, classes: Sequence[str]) -> Floats:
    """A score by subject, sorted by name, and class; NaN where undefined."""
    rows: dict[str, list[list[float]]] = {}
    for one in scored:
        rows.setdefault(one.subject, []).append([_value(one.row["scores"][name], score) for name in classes])
    return np.array([_mean(np.array(rows[name])) for name in sorted(rows)])


def _value(scores: Mapping[str, Any], score: str) -> float:
    """One class of one volume."""
    if score == "false_positives":
        return float(scores["false_positives"])
    if score == "false_alarms":
        return float("nan") if scores["lesions"] else float(scores["predicted"] > 0)
    if not scores["lesions"]:
        return float("nan")
    return float(scores["found"] / scores["lesions"] if score == "found" else scores[score])


def _mean(table: Floats) -> Floats:
    """Means of the columns over what is there; NaN where nothing is."""
    there = np.isfinite(table)
    return _ratio(np.where(there, table, 0).sum(0), there.sum(0))


def _ratio(total: Floats, count: NDArray[Any]) -> Floats:
    """Quotient, NaN where ``count`` is 0."""
    out = np.full(count.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out
