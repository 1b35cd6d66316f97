"""What every export writes: frames with their lesions as boxes of a class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionforge.sinks import dataset
from lesionforge.sinks.encode import decode, open_png
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.store import Store

SEVERITIES = ("mild", "moderate", "severe")
UNGRADED = "ungraded"  # a real lesion that nobody has graded


@dataclass(frozen=True)
class Box:
    """A lesion: its class by number, corners in pixels (the left edge of the first column is 0), and its record.

    ``label`` is None where the lesion is of none of the classes: it is there, so it is no background either.
    """

    label: int | None
    corners: tuple[float, float, float, float]  # x0, y0, x1, y1, inside the frame
    record: dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """A picture as it is stored, and its boxes."""

    key: str
    png: bytes
    width: int
    height: int
    boxes: list[Box]


class Frames:
    """The frames of a dataset by split, with counts of what was met on the way.

    Args:
        place: where the dataset lies.
        classes: see `sinks.exports.export`.
        splits: only of these.
        image: member that holds the picture.
    """

    def __init__(
        self, place: str | Path | Store, classes: Sequence[str], splits: Sequence[str] | None, image: str
    ) -> None:
        self._store = place if isinstance(place, Store) else Store(str(place))
        self.classes, self._image = list(classes), image
        graded = set(classes) & set(SEVERITIES)
        if not classes or len(set(classes)) < len(classes) or (graded != set(classes) and len(classes) > 1):
            raise ValueError(f"classes {list(classes)} must be of {', '.join(SEVERITIES)}, or one name for all lesions")
        self._severities = self.classes if graded else None
        self.splits = dataset.splits(self._store, splits)
        self.images: Counter[str] = Counter()
        self.boxes: Counter[tuple[str, str]] = Counter()  # (split, class)
        self.ignored: Counter[str] = Counter()  # lesions of none of the classes, by severity
        self.left_out: Counter[str] = Counter()  # and those with nothing to see, by why
        self.clipped = 0

    def ungraded(self) -> int:
        """How many lesions of the splits have no severity, from the indexes alone."""
        found = 0
        for split in self.splits:
            for lesions in Samples(self._store, split, []).column("labels.lesions"):
                found += sum(not lesion.get("severity_class") for lesion in lesions or () if isinstance(lesion, dict))
        return found

    def read(self, split: str) -> Iterator[Frame]:
        """The frames of a split, in the order of its shards."""
        samples = Samples(self._store, split, [self._image, "json"], decoded=False)
        for sample in Reader(samples, shuffle=False):
            self.images[split] += 1
            yield self._frame(sample, split)

    def summary(self) -> dict[str, Any]:
        """The counts, as plain data."""
        boxes = {split: {name: self.boxes[split, name] for name in self.classes} for split in self.splits}
        counts = {"images": dict(self.images), "boxes": boxes, "classes": self.classes}
        return counts | {"ignored": dict(self.ignored), "left_out": dict(self.left_out), "clipped": self.clipped}

    def _frame(self, sample: dict[str, Any], split: str) -> Frame:
        key, png = sample["__key__"], sample[self._image]
        try:
            width, height = open_png(png).size
            meta = decode("json", sample["json"])
        except (ValueError, SyntaxError, OSError) as error:
            raise ValueError(f"sample {key} of {self._store.url()}: {error}; see lesionforge verify") from None
        lesions = meta.get("lesions") if isinstance(meta, dict) else None
        if not isinstance(lesions, list):
            raise ValueError(
                f"sample {key} of {self._store.url()} has no list `lesions` in its json: nothing to export"
            )
        boxes = []
        for lesion in lesions:
            box = self._box(key, lesion, width, height)
            if box is not None:
                if box.label is not None:
                    self.boxes[split, self.classes[box.label]] += 1
                boxes.append(box)
        return Frame(key, png, width, height, boxes)

    def _box(self, key: str, lesion: dict[str, Any], width: int, height: int) -> Box | None:
        try:
            grade = str(lesion.get("severity_class") or UNGRADED)
            x0, y0, x1, y1 = corners = tuple(float(v) for v in lesion["box"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise ValueError(f"sample {key}: a lesion has no box of four numbers") from None
        if not all(map(math.isfinite, corners)) or x0 >= x1 or y0 >= y1:
            raise ValueError(f"sample {key}: lesion box {str(lesion['box'])[:100]} is not x0 < x1, y0 < y1")
        inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            self.left_out["outside the frame"] += 1
            return None
        if self._severities is not None and grade not in self._severities:
            self.ignored[grade] += 1
            return Box(None, inside, lesion)
        self.clipped += inside != corners
        return Box(0 if self._severities is None else self._severities.index(grade), inside, lesion)
