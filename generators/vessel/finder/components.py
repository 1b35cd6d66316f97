"""From likelihoods to vessels and a catheter: what one pixel cannot know.

A catheter comes in from outside, so it touches the border of what is seen; vessels and catheter are long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
LEAST = 60  # px, area of what is no speck
SHORT = 250  # px, area of a piece of vessel that lies at a catheter's end or in its gap
NEAR = 12  # px about the border, where a catheter begins: the rim hides that much of it
CELL = 4  # px: the rim is found on block means
GAP = 12  # px, of a catheter behind a vessel or a bone
DARK = 30  # grey level below which the collimator shadows the picture
ALL = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Found:
    """``vessel`` and ``catheter`` bool (rows, cols), never both: a vessel that a catheter lies in is catheter there."""

    vessel: Flags
    catheter: Flags


def told_apart(seen: Flags, catheter: Flags, image: NDArray[np.uint8]) -> Found:
    """Vessels and catheter by the rules above.

    Args:
        seen: (rows, cols) where anything filled is seen.
        catheter: (rows, cols) the part of it that looks like a catheter.
        image: the frame, for the collimator's shadow.
    """
    seen = _large(seen, LEAST)
    catheter = _reaching(_large(catheter & seen, LEAST), _rim(image))
    vessel = seen & ~catheter
    # What is left of vessel between two pieces of catheter, or at its wall, is catheter.
    beside = scipy.ndimage.maximum_filter(catheter, 3)
    catheter = catheter | _kept(vessel, beside, lambda size, touching: (size < SHORT) & (touching > 0))
    return Found(_large(seen & ~catheter, LEAST), catheter)


def _large(flags: Flags, least: int) -> Flags:
    return _kept(flags, flags, lambda size, _: size >= least)


def _kept(flags: Flags, marked: Flags, rule: Callable[[Counts, Counts], Flags]) -> Flags:
    """The pieces that a rule keeps, by their areas and by how much of each is marked."""
    pieces, count = scipy.ndimage.label(flags, ALL)
    at = np.flatnonzero(flags)  # a tenth of a frame: the rest need not be looked up
    piece = pieces.reshape(-1)[at]
    size, within = (np.bincount(some, minlength=count + 1) for some in (piece, piece[marked.reshape(-1)[at]]))
    out = np.zeros(flags.shape, bool)
    out.reshape(-1)[at] = rule(size, within)[piece]
    return out


def _rim(image: NDArray[np.uint8]) -> Flags:
    """Where a catheter can come in from: about the border of the picture and of the collimator's shadow."""
    rows, cols = image.shape
    coarse = np.pad(image, [(0, -n % CELL) for n in image.shape], mode="edge")
    sums = coarse.reshape(-(-rows // CELL), CELL, -1, CELL).sum((1, 3), dtype=np.int64)
    dark = _large(sums < DARK * CELL * CELL, sums.size // 100)
    near = scipy.ndimage.binary_dilation(np.pad(dark, 1, constant_values=True), ALL, NEAR // CELL)[1:-1, 1:-1]
    rim: Flags = near.repeat(CELL, 0).repeat(CELL, 1)[:rows, :cols]
    return rim


def _reaching(catheter: Flags, rim: Flags) -> Flags:
    """The pieces that touch the rim, be it over a gap."""
    joined = scipy.ndimage.maximum_filter(catheter, GAP + 1)
    return catheter & _kept(joined, catheter & rim, lambda _, within: within > 0)
