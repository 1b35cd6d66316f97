"""Which detections of a frame hit which of its lesions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rule = float | Literal["centre"]

CENTRE_PX = 24.0
FALSE, UNSEEN = -2, -3  # a detection that hits nothing; one in a region to ignore


def overlap(a: NDArray[np.floating], b: NDArray[np.floating], of_a: bool = False) -> Floats:
    """IoU of boxes (n, 4) and (m, 4) as (n, m); with ``of_a`` the shared area over a's own, COCO's rule for crowds."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1)[:, None], (b[:, 2:] - b[:, :2]).prod(1)[None]
    whole = area_a + 0 * area_b if of_a else area_a + area_b - shared
    out: Floats = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return out


def closeness(a: NDArray[np.floating], b: NDArray[np.floating], limit: float) -> Floats:
    """1 where box centres coincide, 0 where they are ``limit`` apart, negative beyond."""
    gap = (a[:, None, :2] + a[:, None, 2:] - b[None, :, :2] - b[None, :, 2:]) / 2
    return np.asarray(1 - np.hypot(gap[..., 0], gap[..., 1]) / limit, np.float64)


def hits(
    boxes: NDArray[np.float32],
    lesions: NDArray[np.float32],
    classes: NDArray[np.int64],
    ignore: NDArray[np.float32],
    rule: Rule,
    shape: tuple[int, ...],
) -> NDArray[np.int64]:
    """Per detection, best first: class of the lesion hit, -2 for none, -3 for one to leave out."""
    if rule == "centre":
        likeness, least, limit = closeness(boxes, lesions, CENTRE_PX * max(shape) / 512), 0.0, 0.5
    else:
        likeness, least, limit = overlap(boxes, lesions), float(rule), float(rule)
    blind = overlap(boxes, ignore, of_a=True).max(1, initial=0) >= limit
    free = np.ones(len(lesions), bool)
    out = np.where(blind, UNSEEN, FALSE)
    for d in range(len(boxes)):
        row = np.where(free, likeness[d], -np.inf)
        if len(row) and row.max() >= least:
            # Of equals COCO takes the last.
            hit = len(row) - 1 - int(row[::-1].argmax())
            free[hit], out[d] = False, classes[hit]
    return out
