"""A run as it is graded: a few frames of full contrast with their truth, and a few of before the contrast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.tasks.runs import Run
from lesionforge.jobs.tasks.severity.grades import UNKNOWN, between, grade, worst

FRAME = 512  # longer side of the frames that boxes are told in
ARTERIES = {"left": "LCA", "right": "RCA"}


@dataclass(frozen=True)
class Choice:
    """Which frames of a run are taken, and what they are told apart by.

    Attributes:
        cuts: in %DS, see ``grades``.
        frames: of full contrast at most, evenly over them.
        redundant: of before the contrast at most, and no more than there are of full contrast.
    """

    cuts: tuple[float, ...]
    frames: int
    redundant: int


class Shown(NamedTuple):
    """A visible lesion of an image.

    ``box`` as in ``Images``. ``seen``: lowest and highest %DS that it may have as this view shows it (the generator's
    apparent %DS), or in truth where nobody said; ``grade``: its class in truth, as in ``Images``.
    """

    box: tuple[float, ...]
    seen: tuple[float, float]
    grade: int

    def open(self, cuts: tuple[float, ...]) -> bool:
        """Whether it may be of any class."""
        return grade(self.seen[0], cuts) == 0 and grade(self.seen[1], cuts) == len(cuts)


@dataclass(frozen=True)
class Images:
    """One run's images, whose pixels are read when they are needed.

    Attributes:
        run: the film.
        full: numbers of its frames of full contrast that are graded.
        empty: numbers of frames without contrast: learnt as a class of their own, never scored.
        grades: int64, of each of ``full`` the class of its worst visible lesion, ``UNKNOWN`` where nobody graded it.
        artery_grade: class of the artery's worst lesion, seen in this run or not.
        boxes: of each of ``full`` float32 (k, 4), x0, y0, x1, y1 in pixels of a frame whose longer side is 512: visible
            lesions of class 1 or more, or of none that is known.
        percents: of each of these boxes float32 (k,), %DS, NaN where it is not known.
        lesions: of each of ``full`` all that are visible, of whatever class.
    """

    run: Run
    full: Sequence[int]
    empty: Sequence[int]
    grades: NDArray[np.int64]
    artery_grade: int
    boxes: Sequence[NDArray[np.float32]]
    percents: Sequence[NDArray[np.float32]]
    lesions: Sequence[Sequence[Shown]]

    @property
    def subject(self) -> str:
        """See ``jobs.studies.task``."""
        return self.run.subject

    @property
    def source_id(self) -> str:
        """See ``jobs.studies.task``."""
        return self.run.source_id

    @property
    def artery(self) -> str | None:
        """``LCA`` or ``RCA``; None where nobody said."""
        return ARTERIES.get(self.run.side or "")

    @property
    def view(self) -> str | None:
        """Which network of CORE320's is for it: RCA, or of the left tree LAO-CRA, LAO-CAU, RAO-CRA or RAO-CAU.

        An angle of 0 is LAO or cranial. None where the side or the left tree's angles are not known.
        """
        if self.artery != "LCA":
            return self.artery
        if self.run.angles is None:
            return None
        primary, secondary = self.run.angles
        return f"LCA-{'LAO' if primary >= 0 else 'RAO'}-{'CRA' if secondary >= 0 else 'CAU'}"

    @property
    def known(self) -> bool:
        """Whether any of its frames has a class."""
        return bool((self.grades != UNKNOWN).any())

    @property
    def learnt_from(self) -> Sequence[NDArray[Any]]:
        """What a training must find again to go on."""
        return (*self.run.learnt_from, np.array([*self.full, *self.empty]), self.grades)

    def without_redundancy(self) -> Images:
        """Its frames of full contrast alone."""
        return replace(self, empty=())


@dataclass(frozen=True)
class Verdict:
    """What is said of one run's n images.

    ``probabilities`` float64 (n, classes), each row adds up to 1; ``boxes``: of each image float32 (k, 4) as in
    ``Images``, the most active first; ``scores``: of each image float32 (k,), the highest activation in each.
    ``lesions``, of a learner that grades them one by one: of each image float64 (k, classes), probabilities of each of
    its labelled lesions, NaN of one that was not found. ``given``: their boxes were told, so that an image without
    lesions is known to have none.
    """

    probabilities: NDArray[np.float64]
    boxes: Sequence[NDArray[np.float32]]
    scores: Sequence[NDArray[np.float32]]
    lesions: Sequence[NDArray[np.float64]] = ()
    given: bool = False


def images(run: Run, choice: Choice) -> Images:
    """The images of a run and their truth; reads one frame, for its size, where there are boxes."""
    full = spread(run.full, choice.frames)
    before = [n for n, one in enumerate(run.frames) if one["phase"] == "before"] if run.phased else []
    seen = [_seen(run, n) for n in full]
    held = [[(label["box"], one) for label, one in own if worst([one], choice.cuts)] for own in seen]
    unit = FRAME / max(run.film[full[0]].shape) if any(seen) else 1.0
    return Images(
        run,
        full,
        spread(before, min(choice.redundant, len(full))),
        np.array([worst([one for _, one in own], choice.cuts) for own in seen], np.int64),
        worst(run.stenoses, choice.cuts),
        [np.array([box for box, _ in own], np.float32).reshape(-1, 4) * np.float32(unit) for own in held],
        [np.array([one.get("percent_ds") for _, one in own], np.float64).astype(np.float32) for own in held],
        [
            [
                Shown(
                    tuple(x * unit for x in label["box"]),
                    between(one if label.get("percent_ds") is None else label),
                    worst([one], choice.cuts),
                )
                for label, one in own
            ]
            for own in seen
        ],
    )


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """``most`` of some numbers, evenly over them and as far from both ends; all where they are fewer."""
    at = (np.arange(most) + 0.5) * len(numbers) / max(most, 1)
    return list(numbers) if len(numbers) <= most else [numbers[int(n)] for n in at]


def _seen(run: Run, number: int) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Visible lesions of a frame: their boxes' labels, and the stenoses in their 3-D %DS, the truth of what is seen."""
    boxes = run.frames[number]["boxes"] if run.frames else ()
    return [(one, run.stenoses[one["stenosis"]]) for one in boxes if one["visible"]]
