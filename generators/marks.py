"""What is drawn over pictures for people: the edge of a region, the border of a box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BORDER = 170  # of a box: a 170th of the frame, or it is not seen in a small picture


def edge(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The pixels of a region, bool (rows, cols), that touch its outside: 255; where the picture cuts it is no edge."""
    wide = np.pad(inside, 1, mode="edge")
    core = inside & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return (inside & ~core).astype(np.uint8) * np.uint8(255)


def border(marks: NDArray[np.uint8], box: Sequence[float]) -> None:
    """Draw the border of a box (x0, y0, x1, y1) just outside it, as far as it lies in the picture, in place."""
    wide = max(1, round(max(marks.shape) / BORDER))
    x0, y0 = (max(0, int(v) - wide) for v in box[:2])
    x1, y1 = (max(0, int(np.ceil(v)) + wide) for v in box[2:])
    inside = marks[y0 + wide : y1 - wide, x0 + wide : x1 - wide].copy()  # it may hold another lesion's
    marks[y0:y1, x0:x1] = 255
    marks[y0 + wide : y1 - wide, x0 + wide : x1 - wide] = inside
