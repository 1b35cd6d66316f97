"""Lesion boxes as label files hold them: YOLO text and Pascal VOC XML, and what is wrong with a box."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import BadCase, Lesion, SeverityClass

MIN_BOX_PX = 4.0  # a box with a shorter side marks no lesion: DiGDA's smallest has 2 px, its next about 20
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledBox:
    """A box as a label file has it, the name or number of its class, and the lesion's outline where there is one."""

    box: Box  # x0, y0, x1, y1 from the left and upper edge of the first pixel
    label: str
    polygon: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class CheckedBoxes:
    """Lesions that can be used, and a note on every box that cannot."""

    lesions: tuple[Lesion, ...]
    degenerate: tuple[str, ...]

    @property
    def notes(self) -> dict[str, list[str]]:
        """For ``Angiogram.notes``; empty where every box was good."""
        return {"degenerate_boxes": list(self.degenerate)} if self.degenerate else {}


def read_yolo(data: bytes, shape: tuple[int, int]) -> list[LabelledBox]:
    """Boxes of a YOLO label file: ``class x_centre y_centre width height`` a line, as shares of the picture.

    Raises:
        BadCase: for a line that is none.
    """
    rows, cols = shape
    out = []
    for number, line in enumerate(_text(data).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            label, (x, y, w, h) = str(int(words[0])), (float(word) for word in words[1:])
        except ValueError:
            raise BadCase(f"line {number} of its labels is no box, which is CLASS X Y WIDTH HEIGHT") from None
        out.append(LabelledBox(((x - w / 2) * cols, (y - h / 2) * rows, (x + w / 2) * cols, (y + h / 2) * rows), label))
    return out


class _NoEntities(ElementTree.TreeBuilder):
    """Refuses a document type before it declares anything, in whatever encoding: entities unfold without bound."""

    def doctype(self, *_: object) -> None:
        raise BadCase("its annotation declares XML entities; a Pascal VOC file has none")


def read_voc(data: bytes, shape: tuple[int, int]) -> list[LabelledBox]:
    """Boxes of a Pascal VOC annotation. Its corners are pixel numbers from 1, both inside: xmin - 1 ... xmax.

    Raises:
        BadCase: for no such file, or one about a picture of another size.
    """
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_NoEntities()))
        size = [int(float(root.findtext(f"size/{name}") or 0)) for name in ("height", "width")]
        out = []
        for item in root.iter("object"):
            x0, y0, x1, y1 = (
                float(item.findtext(f"bndbox/{name}") or "nan") for name in ("xmin", "ymin", "xmax", "ymax")
            )
            out.append(LabelledBox((x0 - 1, y0 - 1, x1, y1), (item.findtext("name") or "").strip()))
    except (ElementTree.ParseError, ValueError, LookupError, OverflowError) as error:
        raise BadCase(f"its annotation is no Pascal VOC file ({type(error).__name__})") from None
    if any(size) and size != list(shape):
        raise BadCase(f"its annotation is about {size[1]} x {size[0]} pixels, the picture has {shape[1]} x {shape[0]}")
    return out


def check(
    boxes: Sequence[LabelledBox], shape: tuple[int, int], classes: Mapping[str, SeverityClass | None]
) -> CheckedBoxes:
    """Lesions from boxes, cut to the picture; boxes that mark nothing are noted, not used.

    Args:
        boxes: as read.
        shape: rows, cols of the picture.
        classes: severity by class name; None for lesions that nobody graded.

    Raises:
        BadCase: for a class that ``classes`` does not name.
    """
    rows, cols = shape
    lesions, degenerate = [], []
    for m in boxes:
        if m.label not in classes:
            known = ", ".join(classes) or "none"
            which = f"class {m.label!r}" if re.fullmatch("[0-9]{1,3}", m.label) else "a class"  # a text may be a name
            raise BadCase(f"a box has {which}, not among {known}: name it in the source's option classes")
        x0, y0, x1, y1 = m.box
        if all(math.isfinite(v) for v in m.box):
            x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(cols)), min(y1, float(rows))
        if not (x1 - x0 >= MIN_BOX_PX and y1 - y0 >= MIN_BOX_PX):
            words = ", ".join(f"{v:.1f}" for v in m.box)
            degenerate.append(f"box [{words}] has a side below {MIN_BOX_PX:g} px inside the picture")
            continue
        lesions.append(Lesion((x0, y0, x1, y1), classes[m.label], polygon=m.polygon))
    return CheckedBoxes(tuple(lesions), tuple(degenerate))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadCase("its label file is no text") from None
