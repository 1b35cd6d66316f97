"""Whether a frame carries writing: a heuristic that raises a flag, and removes nothing.

Consoles write names, dates and numbers into the pixels as small, thin, saturated strokes in rows of equal height;
nothing in an X-ray of a chest looks like that. Handwriting, large logos, grey letters and single letters such as side
markers are not seen: what must hold no writing has to be looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BRIGHT, PALE = 235, 150  # grey levels of 255: overlays are written at the end of the scale, with paler edges
CONTRAST = 60  # levels above what lies around the stroke
STROKE = 9  # pixels of 512: no stroke is wider
HEIGHT = (6, 40)  # of a letter, pixels of 512
MIN_ROW = 4  # letters of one height side by side


def letters(image: NDArray[np.uint8]) -> int:
    """How many marks of a frame (rows, cols) stand in rows as letters do; 0 for a frame without writing."""
    if np.count_nonzero(image >= BRIGHT) < MIN_ROW * HEIGHT[0]:
        return 0
    scale = max(1.0, min(image.shape) / 512)
    wide = 2 * round(STROKE * scale / 2) + 1
    strokes = (image >= PALE) & (ndimage.white_tophat(image, size=wide) >= CONTRAST)
    marks, _ = ndimage.label(strokes, structure=np.ones((3, 3)))
    bright = set(np.unique(marks[image >= BRIGHT]))
    found = []
    for mark, (rows, cols) in enumerate(ndimage.find_objects(marks), 1):
        high, broad = rows.stop - rows.start, cols.stop - cols.start
        if mark in bright and HEIGHT[0] * scale <= high <= HEIGHT[1] * scale and broad <= 3 * high:
            found.append((cols.start, cols.stop, rows.start, rows.stop))
    return _in_rows(sorted(found))


def _in_rows(boxes: list[tuple[int, int, int, int]]) -> int:
    """Boxes (left, right, top, bottom), sorted, that belong to a row of ``MIN_ROW`` or more of one height."""
    row_of = list(range(len(boxes)))
    for i, (_, right, top, bottom) in enumerate(boxes):
        high = bottom - top
        for j in range(i + 1, len(boxes)):
            left, _, other_top, other_bottom = boxes[j]
            if left - right > 1.5 * high:
                break
            if left >= right - 1 and max(abs(other_top - top), abs(other_bottom - bottom)) <= 0.3 * high:
                row_of[j] = row_of[i]
                break
    sizes = np.bincount(row_of, minlength=1)
    return int(sizes[sizes >= MIN_ROW].sum())
