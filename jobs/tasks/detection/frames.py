"""Labelled frames: what a detector learns from and is scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.errors import UsageError

CLASSES = ("moderate", "severe")  # DiGDA's: [50, 70) and [70, 100] %DS
UNGRADED = -1  # a lesion whose severity nobody said

Kind = Literal["", "full", "bare", "healthy"]


def _none() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Frame:
    """One labelled frame.

    ``image`` uint8 (rows, cols). ``boxes`` float32 (n, 4), x0, y0, x1, y1 in pixels as COCO's. ``classes`` int64
    (n,), an index into ``CLASSES`` or ``UNGRADED``. ``drawn`` bool (n,): made by a generator. ``ignore`` float32
    (m, 4): regions that neither the loss nor the score looks at. ``source_id``: of the real frame it is, or was made
    from. ``kind``: of a run's frame, whether vessels are full of contrast, hold none, or are full and healthy; empty
    where nobody said.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    drawn: NDArray[np.bool_]
    subject: str
    source_id: str
    ignore: NDArray[np.float32] = field(default_factory=_none)
    target: str | None = None  # severity class the sample was made for
    sample_id: str = ""  # empty for a real frame
    source_image: NDArray[np.uint8] | None = None  # the frame before anything was drawn, where the sample has it
    masked: bool = True  # whether the vessels are known, so that a lesion can be drawn on it
    kind: Kind = ""

    @property
    def learnt_from(self) -> tuple[NDArray[Any], ...]:
        """All that a detector looks at."""
        return self.image, self.boxes, self.classes, self.ignore

    def undrawn(self) -> Frame:
        """The same labels over the untouched frame: the placebo."""
        if self.source_image is None:
            raise UsageError(
                f"sample {self.sample_id} has no source.png, which the placebo needs; keep it in the recipe"
            )
        return replace(self, image=self.source_image)

    def only_drawn(self) -> Frame:
        """Real lesions lose their labels and become regions to ignore: nobody labelled a real lesion."""
        real = ~self.drawn
        return replace(
            self,
            boxes=self.boxes[self.drawn],
            classes=self.classes[self.drawn],
            drawn=self.drawn[self.drawn],
            ignore=np.concatenate([self.ignore, self.boxes[real]]),
        )


@dataclass(frozen=True)
class Detections:
    """What a detector found on one frame.

    ``boxes`` float32 (n, 4) x0, y0, x1, y1 in pixels of the frame. ``scores`` float32 (n, 2): confidence that there
    is a lesion of each of ``CLASSES``; their sum is the confidence that there is a lesion at all.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


def labelled(image: NDArray[np.uint8], lesions: Sequence[Mapping[str, Any]], **names: Any) -> Frame:
    """A frame from lesions as they stand in a sample's ``json``: ``box``, ``severity_class``, ``synthetic``.

    Mild lesions (below 50 %DS) are background, as in DiGDA's labels.
    """
    kept = [lesion for lesion in lesions if lesion["severity_class"] != "mild"]  # an ``occluded`` one is severe
    boxes = np.array([lesion["box"] for lesion in kept], np.float32).reshape(-1, 4)
    grades = [lesion["severity_class"] for lesion in kept]
    classes = np.array(
        [UNGRADED if g is None else CLASSES.index("severe" if g == "occluded" else g) for g in grades], np.int64
    )
    drawn = np.array([bool(lesion["synthetic"]) for lesion in kept], bool)
    return Frame(image, boxes, classes, drawn, **names)
