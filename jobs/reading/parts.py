"""What reads a run: models of the tasks, given as files; where none is given a baseline, or nothing and the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.reading.links import linked
from lesionforge.jobs.reading.said import Boxes, Contrast, Found, Grade, Side, angles_name
from lesionforge.jobs.studies.task import find
from lesionforge.jobs.tasks.runs import Run
from lesionforge.jobs.tasks.severity.pooling import worst_of

FRAMES = 25  # of full contrast that are looked through for stenoses, evenly
LEAST = 0.3  # confidence from which a stenosis is told
MOST = 5  # boxes of a frame
BOXES = "the detector's boxes; geometric %DS, which experts grade higher"


@dataclass(frozen=True)
class Files:
    """Models by what they say, each as ``lesionforge train`` wrote it.

    ``views``: any of two, one that learnt the side and one that learnt the view.
    """

    frames: Path | None = None
    views: Sequence[Path] = ()
    severity: Path | None = None
    detector: Path | None = None


class Parts:
    """The models, loaded once for all runs of a patient.

    Raises:
        UsageError: a file is none of its task's.
    """

    def __init__(self, files: Files, device: str) -> None:
        def load(name: str, path: Path | None) -> Any:
            return None if path is None else find(name)().load(path, device)

        self._frames, self._severity = load("frames", files.frames), load("severity", files.severity)
        self._detector = load("detection", files.detector)
        self._views = [load("view", path) for path in files.views]
        learnt = [learner.what for _, learner in self._views]
        if len(set(learnt)) < len(learnt):
            raise UsageError(f"--view: both models learnt the {learnt[0]}; give one of the side and one of the view")

    def contrast(self, run: Run) -> Contrast:
        """When the vessels are full, and which frame shows them best."""
        from lesionforge.jobs.reading import contrast
        from lesionforge.jobs.tasks.frames.interval import decoded

        amount = contrast.amounts(run.film)
        if self._frames is None:
            by, ends = "ridge threshold (baseline)", contrast.full(amount)
        else:
            task, learner = self._frames
            (likely,) = task.predict(learner, [run])
            by, ends = "frames model", decoded(likely)
        changes = "the amount of contrast hardly changes: every frame shows the vessels, or none does"
        why = "" if ends else changes if self._frames is None else "the model calls no frame full"
        said = Contrast(by, ends, 0, amount, why)
        return replace(said, best=said.full[int(np.argmax(amount[said.full.start : said.full.stop]))])

    def side(self, run: Run, contrast: Contrast, told: str | None) -> Side:
        """Which tree it is and from where; ``told``: the side, by a person."""
        seen = phased(run, contrast)
        shares: dict[str, dict[str, float]] = {}
        for task, learner in self._views:
            (said,) = task.predict(learner, [seen])
            shares[learner.what] = dict(said)
        sides, views = shares.get("side"), shares.get("view")
        view = max(views, key=views.__getitem__) if views else angles_name(run.angles)
        by = "view model" if views else "angles of the header" if view else ""
        if told:
            return Side("told", told, None, by, view, views)
        side = max(sides, key=sides.__getitem__) if sides else None
        return Side("side model" if sides else "", side, sides[side] if sides and side else None, by, view, views)

    def boxes(self, run: Run, contrast: Contrast) -> Boxes:
        """Stenoses on frames of full contrast, followed from frame to frame."""
        if self._detector is None:
            return Boxes("", {}, "no detector: give --detector FILE (lesionforge train detection)")
        from lesionforge.jobs.tasks.detection.frames import labelled

        task, learner = self._detector
        numbers = sorted({*_spread(contrast.full, FRAMES), contrast.best})
        items = [labelled(run.film[n], [], subject=run.subject, source_id=run.source_id) for n in numbers]
        found = {}
        for n, said in zip(numbers, task.predict(learner, items), strict=True):
            inside = np.clip(said.boxes, 0, np.tile(run.film[n].shape[::-1], 2))
            pairs = zip(inside.tolist(), said.scores.tolist(), strict=True)
            boxes = [Found(tuple(box), tuple(scores)) for box, scores in pairs]
            sure = sorted((one for one in boxes if one.sure >= LEAST), key=lambda one: -one.sure)
            found[n] = sure[:MOST]
        return Boxes("detector", linked(found, run.film[0].shape), "")

    def grade(self, run: Run, contrast: Contrast, side: Side, boxes: Boxes) -> Grade:
        """How bad the worst stenosis is that the run shows."""
        if self._severity is None:
            return _of_boxes(boxes)
        from lesionforge.jobs.tasks.severity import grades
        from lesionforge.jobs.tasks.severity.images import images
        from lesionforge.jobs.tasks.severity.lesions import LesionGrader

        task, learner = self._severity
        by, names = "severity model", grades.names(task.choice.cuts)
        if isinstance(learner, LesionGrader):
            return _of_crops(run, boxes, names, learner)
        known: Any = side.side
        item = images(replace(phased(run, contrast), side=known), task.choice)
        item = replace(item, full=sorted({*item.full, contrast.best}))
        try:
            (said,) = task.predict(learner, [item])
        except UsageError as error:  # a network a view, and none has learnt from this one
            return Grade(by, names, None, {}, str(error))
        each = {n: tuple(row.tolist()) for n, row in zip(item.full, said.probabilities, strict=True)}
        heat = learner.activation(replace(item, full=[boxes.shown(contrast)]))[0]
        return Grade(by, names, worst(list(each.values())), each, "", _spread_out(heat, run.film[0].shape))


def phased(run: Run, contrast: Contrast) -> Run:
    """The run with its frames of full contrast as they were found, as if it had been labelled so."""
    full = contrast.full
    phases = ["before" if n < full.start else "full" if n in full else "washout" for n in range(len(run.film))]
    labels = [{"phase": phase, "boxes": []} for phase in phases]
    return replace(run, begin=full.start, end=full.stop - 1, frames=labels)


def worst(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Pools images, runs or arteries: the largest probability of "class k or worse" of any, for every k.

    Args:
        rows: of each the probabilities of the classes, rising.

    Returns:
        The probability of each class by that.
    """
    return tuple(worst_of(np.asarray(rows, np.float64)).tolist())


def _of_boxes(boxes: Boxes) -> Grade:
    """What the detector's classes say of firm lesions, where no severity model is given."""
    if not boxes.by:
        return Grade("", (), None, {}, "no severity model: give --severity FILE (lesionforge train severity)")
    names = ("none found", "moderate", "severe") if boxes.graded else ("none found", "stenosis")
    each, firm = {}, boxes.firm
    for n, found in boxes.frames.items():
        reach = [  # the probability of this class or worse
            (min(one.sure, 1.0), one.scores[1])[: len(names) - 1] for one in found if one.lesion in firm
        ]
        rows = [(1.0, *([0.0] * (len(names) - 1))), *(_shares(one) for one in reach)]
        each[n] = worst(rows)
    return Grade("the detector's boxes", names, worst(list(each.values())), each, "")


def _of_crops(run: Run, boxes: Boxes, names: Sequence[str], learner: Any) -> Grade:
    """What a severity model of crops says at the detector's boxes of firm lesions, as far as the detector is sure."""
    from lesionforge.jobs.tasks.severity.images import FRAME
    from lesionforge.jobs.tasks.severity.lesions import whole

    if not boxes.by:
        return Grade("", (), None, {}, "the severity model grades boxes: give --detector FILE beside it")
    each, firm, unit = {}, boxes.firm, FRAME / max(run.film[0].shape)
    for n, found in boxes.frames.items():
        own = [one for one in found if one.lesion in firm]
        told = learner.graded(run.film[n], np.array([one.box for one in own]).reshape(-1, 4) * unit)
        sure = np.array([min(one.sure, 1.0) for one in own])
        each[n] = tuple(whole(told, sure).tolist())
    return Grade(f"severity model, at {BOXES}", names, worst(list(each.values())), each, "")


def _spread_out(heat: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map whose side is a frame's longer one, over that frame, its highest value 1."""
    rows, cols = shape
    longer = Image.fromarray(heat).resize((max(shape), max(shape)), Image.Resampling.BILINEAR)
    return np.asarray(longer, np.float32)[:rows, :cols] / max(float(heat.max()), 1e-9)


def _shares(reach: Sequence[float]) -> tuple[float, ...]:
    """Probabilities of the classes from those of each class or worse, the first one left out."""
    return tuple((np.append(1.0, reach) - np.append(reach, 0.0)).tolist())


def _spread(numbers: Sequence[int], most: int) -> Sequence[int]:
    at = (np.arange(most) + 0.5) * len(numbers) / most
    return list(numbers) if len(numbers) <= most else [numbers[int(n)] for n in at]
