"""What every export of boxes writes: pictures with their lesions as boxes of a class, none of them lost unsaid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lesionforge.sinks import dataset
from lesionforge.sinks.encode import decode, open_png
from lesionforge.sinks.exports.parts import Part, parts
from lesionforge.sinks.exports.pictures import RUN, VIEW, Marked, Picture, pictures
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.reader.errors import ReaderError
from lesionforge.sinks.store import Store

Lesions = Literal["classes", "ignore", "one"]
SEVERITIES = ("mild", "moderate", "severe")
STENOSIS = "stenosis"  # the class of what has no class of its own, or of all
UNGRADED = "ungraded"  # a real lesion that nobody has graded


@dataclass(frozen=True)
class Box:
    """A lesion: its class by number, corners in pixels (the left edge of the first column is 0), and its record.

    ``label`` is None where it is to be ignored: it is there, so it is no background either.
    """

    label: int | None
    corners: tuple[float, float, float, float]  # x0, y0, x1, y1, inside the frame
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Frame:
    """A picture and its mask as they are stored, its boxes, whose it is, and of which sample it is what."""

    key: str
    png: bytes
    mask: bytes | None
    width: int
    height: int
    boxes: list[Box]
    subject: str
    sample: str
    picture: Picture


class Frames:
    """The pictures of a dataset by split, with counts of what was met on the way.

    Args:
        place: where the dataset lies.
        lesions: see `sinks.exports.export`.
        classes: the severities that are classes, in this order.
        splits: only of these.
        image: only this member; None takes a sample's pictures, whatever they are.
        deal: make the splits train and val of the subjects of another where the dataset lacks them.
    """

    def __init__(
        self,
        place: str | Path | Store,
        lesions: Lesions,
        classes: Sequence[str],
        splits: Sequence[str] | None,
        image: str | None,
        deal: bool,
    ) -> None:
        if lesions not in get_args(Lesions):
            raise ValueError(f"lesions is {lesions!r}: give {', '.join(get_args(Lesions))}")
        if not classes or len(set(classes)) < len(classes) or set(classes) - set(SEVERITIES):
            raise ValueError(
                f"classes {list(classes)} must be of {', '.join(SEVERITIES)}, each once; one class for all lesions, "
                f"{STENOSIS}, is lesions: one (--lesions one)"
            )
        self._store = place if isinstance(place, Store) else Store(str(place))
        self._image = image
        self.lesions: Lesions = lesions
        there = dataset.splits(self._store, splits)
        self.parts: dict[str, Part] = parts(self._store, there, deal)
        self.splits = list(self.parts)
        self._severities = () if lesions == "one" else tuple(classes)
        self.classes = list(self._severities)
        if lesions == "one" or (lesions == "classes" and self._others(there)):
            self.classes.append(STENOSIS)  # last, so that the severities' numbers hang on no lesion
        self.images: Counter[str] = Counter()
        self.boxes: Counter[tuple[str, str]] = Counter()  # (split, class)
        self.as_stenosis: Counter[str] = Counter()  # lesions that are class stenosis for want of their own, by severity
        self.ignored: Counter[str] = Counter()  # regions to ignore, by severity or why
        self.left_out: Counter[str] = Counter()  # what is in no picture, by why
        self.masks: Counter[str] = Counter()
        self.clipped = 0

    def read(self, split: str) -> Iterator[Frame]:
        """The pictures of a split, in the order of its shards."""
        part = self.parts[split]
        members = Samples(self._store, part.split).members
        views = self._image is None and any(VIEW.fullmatch(name) for name in members)
        wanted = [name for name in members if VIEW.fullmatch(name)] if views else [self._image or "image.png"]
        if self._image is None and any(RUN.fullmatch(name) for name in members):
            chosen = None  # runs differ in length, so that not all have all members
        else:
            chosen = [*dict.fromkeys([*wanted, *_masks(wanted, members), "json"])]
        where = None if part.chosen is None else part.keeps  # which reads all rows: footers tell the rest
        samples = Samples(self._store, part.split, chosen, where=where, decoded=False)
        for sample in Reader(samples, shuffle=False):
            yield from self._frames(sample, split)

    def summary(self) -> dict[str, Any]:
        """The counts, as plain data."""
        boxes = {split: {name: self.boxes[split, name] for name in self.classes} for split in self.splits}
        counts = {"images": {split: self.images[split] for split in self.splits}, "boxes": boxes}
        counts |= {"classes": self.classes, "lesions": self.lesions, "as_stenosis": dict(self.as_stenosis)}
        counts |= {"subjects": {split: part.subjects for split, part in self.parts.items()}}
        counts |= {"ignored": dict(self.ignored), "left_out": dict(self.left_out), "clipped": self.clipped}
        return counts | {"masks": dict(self.masks)}

    def _others(self, splits: Sequence[str]) -> bool:
        """Whether a lesion is of none of the severities, from the indexes alone."""
        for split in splits:
            for column in ("labels.lesions", "labels.stenoses"):
                with suppress(ReaderError):  # no sample has such
                    for some in Samples(self._store, split, []).column(column):
                        told = [one for one in some or () if isinstance(one, dict)]
                        if any(one.get("severity_class") not in self._severities for one in told):
                            return True
        return False

    def _frames(self, sample: Mapping[str, Any], split: str) -> Iterator[Frame]:
        key = sample["__key__"]
        where = f"sample {key} of {self._store.url()}"
        try:
            record = decode("json", sample["json"])
            if not isinstance(record, dict):
                raise ValueError("it has no list `lesions` in its json: nothing to export")
            for picture in pictures(record, sample.keys(), self._image):
                png = sample[picture.member]
                width, height = open_png(png).size
                boxes = [b for one in picture.lesions if (b := self._box(key, one, width, height)) is not None]
                self.images[split] += 1
                self.boxes.update((split, self.classes[box.label]) for box in boxes if box.label is not None)
                mask = sample[picture.mask] if picture.mask else None
                self.masks[split] += mask is not None
                name = f"{key}_{picture.name}" if picture.name else key
                yield Frame(name, png, mask, width, height, boxes, str(record.get("subject") or ""), key, picture)
        except (ValueError, SyntaxError, OSError) as error:
            raise ValueError(f"{where}: {error}; see lesionforge verify") from None

    def _box(self, key: str, lesion: Marked, width: int, height: int) -> Box | None:
        try:
            grade = str(lesion.record.get("severity_class") or UNGRADED)
            x0, y0, x1, y1 = corners = tuple(float(v) for v in lesion.box)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise ValueError(f"sample {key}: a lesion has no box of four numbers") from None
        if not all(map(math.isfinite, corners)) or x0 >= x1 or y0 >= y1:
            raise ValueError(f"sample {key}: lesion box {str(lesion.box)[:100]} is not x0 < x1, y0 < y1")
        inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            self.left_out["outside the frame"] += 1
            return None
        self.clipped += inside != corners
        if not lesion.shown:
            self.ignored["hidden in that picture"] += 1
            return Box(None, inside, lesion.record)
        if grade in self._severities:
            return Box(self._severities.index(grade), inside, lesion.record)
        if self.lesions == "ignore":
            self.ignored[grade] += 1
            return Box(None, inside, lesion.record)
        if self.lesions == "classes":
            self.as_stenosis[grade] += 1
        return Box(len(self.classes) - 1, inside, lesion.record)


def _masks(wanted: Sequence[str], members: Sequence[str]) -> list[str]:
    known = {"image.png": "mask.png", "source.png": "source_mask.png"}
    return [known[name] for name in wanted if known.get(name) in members]
