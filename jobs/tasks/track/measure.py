"""How well a tracker keeps a lesion's box, on runs whose boxes are known.

Each lesion that a run shows starts from one box: on the frame in the middle of those of full contrast that show it.
From there it is followed both ways, as far as vessels hold contrast. Frames that do not show the lesion are gone
through and not scored. Every lesion counts as much as another, whatever the length of its run.

- ``iou``: mean overlap with the true box; ``iou_1``, ``iou_2``, ``iou_4``, ``iou_8``: of frames 1, 2-3, 4-7, 8 and more
  from the reference.
- ``kept_50``, ``kept_20``: share of frames with an IoU of .5, .2 or more.
- ``centre_px``: distance of the centres, pixels of a frame whose longest side is 512.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.progress import steps
from lesionforge.jobs.studies import places, summary
from lesionforge.jobs.studies.tables import NONE, dashed
from lesionforge.jobs.tasks.detection.matching import overlap
from lesionforge.jobs.tasks.runs import Run, stored_runs
from lesionforge.jobs.tasks.track.tracker import TRACKERS, follow, there

Floats = NDArray[np.float64]
FAR = {"iou_1": (1, 1), "iou_2": (2, 3), "iou_4": (4, 7), "iou_8": (8, 10**6)}
NAMES = ("iou", *FAR, "kept_50", "kept_20", "centre_px")


@dataclass(frozen=True)
class Path:
    """A lesion followed. ``away``, ``iou``, ``gap`` (k,): frames from the reference, overlap, distance in pixels."""

    subject: str
    away: NDArray[np.int64]
    iou: Floats
    gap: Floats

    def values(self) -> dict[str, float]:
        """Its own scores; NaN where no frame is that far."""
        out = {name: _mean(self.iou[(self.away >= a) & (self.away <= b)]) for name, (a, b) in FAR.items()}
        kept = {f"kept_{round(100 * limit)}": _mean(self.iou >= limit) for limit in (0.5, 0.2)}
        return {"iou": _mean(self.iou), **out, **kept, "centre_px": _mean(self.gap)}


def followed(run: Run, tracker: str) -> list[Path]:
    """Every lesion that a run shows on two frames or more of full contrast."""
    filled = [n for n, frame in enumerate(run.frames) if frame["phase"] != "before"]
    paths = []
    for lesion in range(len(run.stenoses)):
        true = {
            n: tuple(box["box"])
            for n in filled
            for box in run.frames[n]["boxes"]
            if box["stenosis"] == lesion and box["visible"]
        }
        full = [n for n in run.full if n in true]
        if len(full) < 2:
            continue
        start = full[len(full) // 2]
        found = dict(follow(tracker, run.film, start, true[start], range(filled[0], filled[-1] + 1)))
        seen = [n for n in found if n in true]
        a, b = np.array([found[n] for n in seen]), np.array([true[n] for n in seen])
        middle = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
        iou = np.array([overlap(one[None], other[None])[0, 0] for one, other in zip(a, b, strict=True)])
        gap = np.hypot(*middle.T) * 512 / max(run.film[start].shape)
        paths.append(Path(run.subject, np.abs(np.array(seen) - start), iou, gap))
    return paths


class Scores:
    """See ``Measures``: of lesions, resampled by subject."""

    def __init__(self, paths: Iterable[Path]) -> None:
        own = list(paths)
        names, self._subjects = np.unique([path.subject for path in own], return_inverse=True)
        self.subjects = len(names)
        self._rows = np.array([[path.values()[name] for name in NAMES] for path in own]).reshape(-1, len(NAMES))

    @property
    def held(self) -> Mapping[str, int]:
        """Subjects with a lesion that has the score."""
        return {name: len(np.unique(self._subjects[np.isfinite(self._rows[:, k])])) for k, name in enumerate(NAMES)}

    def values(self, times: Floats | None = None) -> dict[str, float]:
        """Every score of the module's docstring."""
        w = np.ones(len(self._rows)) if times is None else times[self._subjects]
        there, rows = np.isfinite(self._rows), np.nan_to_num(self._rows)
        whole = w @ there
        mean = np.divide(w @ rows, whole, out=np.full(len(NAMES), np.nan), where=whole > 0)
        return dict(zip(NAMES, mean.tolist(), strict=True))


def measure(place: str, split: str, trackers: list[str]) -> dict[str, Any]:
    """Scores of each tracker on a dataset's runs, with their 95 % intervals over subjects.

    Args:
        place: dataset of the ``cine`` generator.
        split: of it.
        trackers: names; none: all that work here.

    Raises:
        UsageError: an unknown tracker, or no run that shows a lesion.
    """
    names = trackers or there()
    if unknown := [name for name in names if name not in TRACKERS]:
        raise UsageError(f"tracker {unknown[0]!r} is unknown; give {', '.join(TRACKERS)}")
    runs = list(stored_runs(places.chosen(place, split, "--test")))
    out: dict[str, Any] = {"test": place, "split": split, "runs": len(runs), "trackers": {}}
    for name in names:
        paths: list[Path] = []
        with steps(f"following, {name}") as advance:
            for number, run in enumerate(runs):
                advance(number, len(runs), "")
                paths += followed(run, name)
        if not paths:
            raise UsageError(f"{place}, split {split}: no run shows a lesion on two frames of full contrast")
        scores = Scores(paths)
        drawn, held = summary.draws(scores, scores.subjects), scores.held
        rows = {}
        for key, value in scores.values().items():
            bounds = (0.0, float("inf") if key == "centre_px" else 1.0)
            one = summary.estimate([value], [drawn[key]], held[key], bounds)
            rows[key] = {"value": one.value, "interval": None if one.low is None else [one.low, one.high], "n": one.n}
        out["trackers"][name] = {"lesions": len(paths), "subjects": scores.subjects, "scores": summary.plain(rows)}
    return out


def show(body: Mapping[str, Any]) -> None:
    """For people."""
    by = body["trackers"]
    first = next(iter(by.values()))
    rows = [[name, *(_words(one["scores"][name]) for one in by.values())] for name in NAMES]
    title = f"{first['lesions']} lesions of {first['subjects']} subjects in {body['runs']} runs (95 %)"
    console.table(title, ["", *by], rows)


def _words(score: Mapping[str, Any]) -> str:
    ends = score["interval"]
    return dashed(score["value"]) + (f" ({dashed(ends[0])} to {dashed(ends[1])})" if ends else f" ({NONE})")


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
