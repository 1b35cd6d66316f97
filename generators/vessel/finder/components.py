"""From likelihoods to vessels and a catheter: what one pixel cannot know.

A catheter comes in from outside, so it touches the border of what is seen; vessels and catheter are long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
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
    pieces, count = scipy.ndimage.label(vessel, ALL)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    at_catheter = np.bincount(pieces[scipy.ndimage.binary_dilation(catheter, ALL)], minlength=count + 1) > 0
    small = at_catheter & (sizes < SHORT)
    small[0] = False
    catheter = catheter | small[pieces]
    return Found(_large(seen & ~catheter, LEAST), catheter)


def _large(flags: Flags, least: int) -> Flags:
    pieces, count = scipy.ndimage.label(flags, ALL)
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= least
    keep[0] = False
    out: Flags = keep[pieces]
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
    pieces, count = scipy.ndimage.label(joined, ALL)
    keep = np.bincount(pieces[catheter & rim], minlength=count + 1) > 0
    keep[0] = False
    out: Flags = catheter & keep[pieces]
    return out
