"""Lesion boxes as label files hold them: YOLO text and Pascal VOC XML, and what is wrong with a box."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.pictures.polygons import MAX_OVERHANG_PX
from lesionforge.generators.types import BadCase, Lesion, SeverityClass

MIN_BOX_PX = 4.0  # a box with a shorter side marks no lesion: DiGDA's smallest has 2 px, its next about 20
MAX_SHARE = 1.001  # of the picture: labels are rounded
# What a Pascal VOC annotation holds; other tools mark lesions under other names.
VOC = {"folder", "filename", "path", "source", "owner", "size", "segmented", "object"}
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledBox:
    """A box as a label file has it, the name or number of its class, and the lesion's outline where there is one."""

    box: Box  # x0, y0, x1, y1 from the left and upper edge of the first pixel
    label: str
    polygon: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class CheckedBoxes:
    """Lesions that can be used, and a note on every box that is too small to be one."""

    lesions: tuple[Lesion, ...]
    degenerate: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether it is known which lesions there are: what small boxes alone were meant to mark nobody knows."""
        return bool(self.lesions) or not self.degenerate

    @property
    def notes(self) -> dict[str, list[str]]:
        """For ``Angiogram.notes``; empty where every box was good."""
        return {"degenerate_boxes": list(self.degenerate)} if self.degenerate else {}


def read_yolo(data: bytes, shape: tuple[int, int]) -> list[LabelledBox]:
    """Boxes of a YOLO label file: ``class x_centre y_centre width height`` a line, as shares of the picture.

    Raises:
        BadCase: for a line that is none, or in pixels or per cent.
    """
    rows, cols = shape
    out = []
    for number, line in enumerate(_text(data).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            label, (x, y, w, h) = _number(words[0]), (float(word) for word in words[1:])
        except ValueError:
            raise BadCase(f"line {number} of its labels is no box, which is CLASS X Y WIDTH HEIGHT") from None
        if not all(0 <= v <= MAX_SHARE for v in (x, y, w, h)):  # false for what is no number, too
            raise BadCase(f"line {number} of its labels has numbers that are no shares of the picture, 0 to 1: pixels?")
        out.append(LabelledBox(((x - w / 2) * cols, (y - h / 2) * rows, (x + w / 2) * cols, (y + h / 2) * rows), label))
    return out


def _number(word: str) -> str:
    """The number of a class, which some tools write as ``1.0``."""
    value = float(word)
    if not value.is_integer():
        raise ValueError(word)
    return str(int(value))


class _NoEntities(ElementTree.TreeBuilder):
    """Refuses a document type before it declares anything, in whatever encoding: entities unfold without bound."""

    def doctype(self, *_: object) -> None:
        raise BadCase("its annotation declares XML entities; a Pascal VOC file has none")


def read_voc(data: bytes, shape: tuple[int, int]) -> tuple[list[LabelledBox], dict[str, str]]:
    """Boxes of a Pascal VOC annotation, and a note where it does not say the size of the picture that it is about.

    Its corners are pixel numbers from 1, both inside: xmin - 1 ... xmax.

    Raises:
        BadCase: for no such file, one about a picture of another size, and an object without a box.
    """
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_NoEntities()))
        size = [int(float(root.findtext(f"size/{name}") or 0)) for name in ("height", "width")]
        out = []
        objects = list(root.iter("object"))
        if root.tag != "annotation" or (not objects and any(e.tag not in VOC for e in root)):
            raise BadCase(
                "its annotation is no Pascal VOC file: it marks lesions in another way, or is about another thing"
            )
        for item in objects:
            if len(item.findall("bndbox")) > 1:
                raise BadCase("an object of its annotation has several bndbox: give each an object of its own")
            corners = [item.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")]
            if not all(corners):
                raise BadCase("an object of its annotation has no bndbox of xmin, ymin, xmax and ymax")
            x0, y0, x1, y1 = (float(corner or "nan") for corner in corners)
            out.append(LabelledBox((x0 - 1, y0 - 1, x1, y1), (item.findtext("name") or "").strip()))
    except (ElementTree.ParseError, ValueError, LookupError, OverflowError) as error:
        raise BadCase(f"its annotation is no Pascal VOC file ({type(error).__name__})") from None
    if any(size) and size != list(shape):
        raise BadCase(f"its annotation is about {size[1]} x {size[0]} pixels, the picture has {shape[1]} x {shape[0]}")
    unsaid = "the annotation does not say on a picture of which size its boxes were drawn"
    return out, {} if all(size) else {"size_unsaid": unsaid}


def check(
    boxes: Sequence[LabelledBox], shape: tuple[int, int], classes: Mapping[str, SeverityClass | None]
) -> CheckedBoxes:
    """Lesions from boxes, cut to the picture; boxes too small to mark anything are noted, not used.

    Args:
        boxes: as read.
        shape: rows, cols of the picture.
        classes: severity by class name; None for lesions that nobody graded.

    Raises:
        BadCase: for a class that ``classes`` does not name, and a box that cannot be: were it left out, its frame would
            pass for one without that lesion.
    """
    rows, cols = shape
    lesions, degenerate = [], []
    for m in boxes:
        if m.label not in classes:
            known = ", ".join(classes) or "none"
            which = f"class {m.label!r}" if re.fullmatch("[0-9]{1,3}", m.label) else "a class"  # a text may be a name
            raise BadCase(f"a box has {which}, not among {known}: name it in the source's option classes")
        x0, y0, x1, y1 = m.box
        words = ", ".join(f"{v:.6g}" for v in m.box)
        if not all(math.isfinite(v) for v in m.box):
            raise BadCase(f"box [{words}] has a corner that is no number")
        if x1 <= x0 or y1 <= y0:
            raise BadCase(f"box [{words}] has no area: are its corners swapped?")
        if x1 <= 1 and y1 <= 1:
            raise BadCase(f"box [{words}] lies in the first pixel: are its numbers shares of the picture?")
        if max(-x0, -y0, x1 - cols, y1 - rows) > MAX_OVERHANG_PX:
            raise BadCase(
                f"box [{words}] lies outside the picture of {cols} x {rows} pixels, if only in part: was that resized, "
                "or are these numbers of another kind?"
            )
        x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(cols)), min(y1, float(rows))
        if min(x1 - x0, y1 - y0) < MIN_BOX_PX:
            degenerate.append(f"box [{words}] has a side below {MIN_BOX_PX:g} px inside the picture")
            continue
        lesions.append(Lesion((x0, y0, x1, y1), classes[m.label], polygon=m.polygon))
    return CheckedBoxes(tuple(lesions), tuple(degenerate))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCase("its label file is no text") from None
