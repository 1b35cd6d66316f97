"""What can be chosen about a run, and how severe its lesions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from annotated_types import Interval

from lesionforge.generators.cine.disease import PERCENT_DS
from lesionforge.generators.cine.views import chosen
from lesionforge.generators.parameters import Parameters, Range
from lesionforge.generators.types import significant

Share = Annotated[float, Interval(ge=0, le=1)]
Severity = Literal["none", "mild", "moderate", "severe", "occluded"]
CLASSES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class CineParams(Parameters):
    """Parameters of the ``cine`` generator.

    Attributes:
        frames: how many; 1 is a still at full contrast, None a whole run of 30 to 60.
        size: rows and columns.
        fps: range of frames a second.
        views: ``clinical`` (eleven named views), ``paper`` (the seven of CORE320's study), ``any`` (angles drawn),
            single names (``LCA RAO CAU``) or angles (``LAO 30 CRA 20``); one is drawn for each sample.
        lesions: range of how many lesions a diseased tree has; the worst is of the class that is asked for.
        same_lesions: a tree has the same lesions in all its runs, as a patient does; then no balance may ask for
            classes. Vessels are a tree's own in any case.
        natural: shares of the classes none, mild, moderate, severe, occluded where the recipe asks for none.
        washout: how often the contrast leaves before the run ends.
        pan: how often the table moves.
        ostium: how often the ostium is in the picture for certain.
        devices: factor on how often wires, leads, cables and clips are there; 0 leaves the catheter.
        masks: store what each pixel shows, for every frame.
        points: store where points of the centrelines lie in every frame.
    """

    frames: Annotated[int, Interval(ge=1, le=200)] | None = None
    size: Annotated[int, Interval(ge=128, le=1024)] = 512
    fps: Range[Annotated[float, Interval(ge=3, le=30)]] = (7.5, 15)
    views: tuple[str, ...] = ("clinical",)
    lesions: Range[Annotated[int, Interval(ge=1, le=6)]] = (1, 3)
    same_lesions: bool = False
    natural: tuple[Share, Share, Share, Share, Share] = (0.25, 0.2, 0.25, 0.2, 0.1)
    washout: Share = 0.55
    pan: Share = 0.15
    ostium: Share = 0.85
    devices: Annotated[float, Interval(ge=0, le=5)] = 1
    masks: bool = True
    points: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.isclose(sum(self.natural), 1):
            raise ValueError(f"natural is {self.natural}: give the shares of {', '.join(CLASSES)}, summing to 1")
        if not self.views:
            raise ValueError("views names none: give clinical, paper, any, or names of views")
        chosen(self.views)

    def draw_frames(self, rng: np.random.Generator) -> tuple[int, float]:
        """How many frames, and frames a second; a still stands for a run of its own."""
        fps = round(float(rng.uniform(*self.fps)) * 2) / 2
        if self.frames is not None and self.frames > 1:
            return self.frames, fps
        return int(np.clip(round(float(rng.uniform(3, 6)) * fps), 30, 60)), fps

    def draw_severities(self, rng: np.random.Generator, target: str | None) -> tuple[Severity, list[float]]:
        """Class of the worst lesion, and the %DS of all, the worst first.

        Raises:
            ValueError: a target that is no class.
        """
        if target is None:
            index = int(np.searchsorted(np.cumsum(self.natural), float(rng.random()), "right"))
            severity = CLASSES[min(index, len(CLASSES) - 1)]
        elif target in CLASSES:
            severity = CLASSES[CLASSES.index(target)]
        else:
            raise ValueError(f"target {target!r} is no class of cine: give {', '.join(CLASSES)}")
        if severity == "none":
            return severity, []
        worst = significant(rng.uniform(*PERCENT_DS[severity]))
        least, most = PERCENT_DS["mild"][0], min(worst, PERCENT_DS["severe"][1])
        count = int(rng.integers(self.lesions[0], self.lesions[1] + 1))
        return severity, [worst, *(significant(rng.uniform(least, most)) for _ in range(count - 1))]


def class_of(worst_ds: float) -> Severity:
    """The class of a tree whose worst lesion is so severe (%DS)."""
    names = [name for name, (least, _) in PERCENT_DS.items() if worst_ds >= least]
    return names[-1] if names else "none"
