"""Labelled frames, what a detector learns from and is scored on, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import open_source
from lesionforge.generators.types import Angiogram, BadCase
from lesionforge.sinks import dataset
from lesionforge.sinks.encode import decode
from lesionforge.sinks.store import Store

CLASSES = ("moderate", "severe")  # DiGDA's: [50, 70) and [70, 100] %DS
UNGRADED = -1  # a lesion whose severity nobody said


class FrameError(Exception):
    """Frames that cannot be used for detection; the message names the place and the fix."""


def _none() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Frame:
    """One labelled frame.

    ``image`` uint8 (rows, cols). ``boxes`` float32 (n, 4), x0, y0, x1, y1 in pixels as COCO's. ``classes`` int64
    (n,), an index into ``CLASSES`` or ``UNGRADED``. ``drawn`` bool (n,): made by a generator. ``ignore`` float32
    (m, 4): regions that neither the loss nor the score looks at. ``source_id``: of the real frame it is, or was made
    from.
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

    def undrawn(self) -> Frame:
        """The same labels over the untouched frame: the placebo."""
        if self.source_image is None:
            raise FrameError(
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


def labelled(image: NDArray[np.uint8], lesions: Sequence[Mapping[str, Any]], **names: Any) -> Frame:
    """A frame from lesions as they stand in a sample's ``json``: ``box``, ``severity_class``, ``synthetic``.

    Mild lesions (below 50 %DS) are background, as in DiGDA's labels.
    """
    kept = [lesion for lesion in lesions if lesion["severity_class"] != "mild"]
    boxes = np.array([lesion["box"] for lesion in kept], np.float32).reshape(-1, 4)
    grades = [lesion["severity_class"] for lesion in kept]
    classes = np.array([UNGRADED if g is None else CLASSES.index(g) for g in grades], np.int64)
    drawn = np.array([bool(lesion["synthetic"]) for lesion in kept], bool)
    return Frame(image, boxes, classes, drawn, **names)


def from_source(uri: str, options: Mapping[str, Any] | None = None, masked: bool = False) -> Iterator[Frame]:
    """Real frames of an engine source.

    Args:
        uri: the source's URI, e.g. ``arcade:FOLDER``.
        options: the source's own.
        masked: only frames with a vessel mask, those that a lesion can be drawn on.

    Raises:
        FrameError: for a source of something else than angiograms.
    """
    source = open_source(SourceRecipe(uri=uri, options=dict(options or {})))
    for number in range(source.subjects * source.cases_per_subject):
        try:
            case = source.read(number)
        except BadCase:
            continue  # the source's own report names it
        if not isinstance(case, Angiogram):
            scheme = uri.split(":", 1)[0]
            raise FrameError(f"source {scheme} yields a {type(case).__name__}; detection needs angiograms")
        if masked and case.mask is None:
            continue
        lesions = [{"box": s.box, "severity_class": s.severity_class, "synthetic": False} for s in case.lesions]
        yield labelled(case.image, lesions, subject=case.subject, source_id=case.source_id)


def from_dataset(place: str) -> Iterator[Frame]:
    """Samples of a generated dataset, in its order; quarantined ones are left out.

    Raises:
        FrameError: where the dataset is empty or its samples have no lesions.
    """
    store, count = Store(place), 0
    sources: dict[str, NDArray[np.uint8]] = {}  # many samples share one
    shards = dataset.committed(store)
    for shard, (_, rows) in zip(shards, dataset.indexes(store, shards), strict=True):
        for row in rows:
            if row.status != "ok":
                continue
            members = dataset.sample(store, shard, row)
            meta = decode("json", members["json"])
            if "image.png" not in members or "lesions" not in meta:
                raise FrameError(f"sample {row.sample_id} of {place} has no image.png or no lesions: not for detection")
            real = row.source_id or ""
            if real not in sources and "source.png" in members:
                sources[real] = decode("png", members["source.png"])
            count += 1
            yield labelled(
                decode("png", members["image.png"]),
                meta["lesions"],
                subject=row.subject or "",
                source_id=real,
                target=row.target,
                sample_id=row.sample_id,
                source_image=sources.get(real),
            )
    if not count:
        raise FrameError(f"{place} holds no sample; make it first with lesionforge generate")
