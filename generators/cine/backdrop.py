"""What is seen behind the vessels of a run: a still picture, the grain over it, what the collimator leaves."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.cine.grain import KNOTS, LEVEL, REACH, Grain
from lesionforge.generators.cine.removal import BLUR_PX, cleared
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import NOISE_BLUR_PX, PSF_PX, Display
from lesionforge.generators.types import stream

Pixels = NDArray[np.float32]
VEIL = 0.35  # of a frame's median: scatter and glare, which the phantom's frames have between .25 and .5 of it
WINDOW_PX = 9  # in which an edge must stand out from grain
EASE = 1.8  # how far: grain's own power varies in so small a window
_STEPS = 64  # per grey level: what is finer is each CPU's own, and would reach a pixel of some frame


@dataclass(frozen=True)
class Backdrop:
    """What is seen behind vessels, in grey levels as displayed.

    ``still`` float32 (rows, cols): the picture without grain, 0 ... 255. ``grain``: to be drawn anew for each frame.
    ``field`` bool (rows, cols): what the collimator leaves open, True everywhere where that is not known. ``veil``:
    grey level of scatter and glare, which no vessel dims. ``own_grain`` float32 (rows, cols): a real frame's, of mean
    0, which a single picture may keep; None where the picture is none.
    """

    still: Pixels
    grain: Grain
    field: NDArray[np.bool_]
    veil: float
    own_grain: Pixels | None = None

    def seen(self, passed: Pixels) -> Pixels:
        """The still picture behind vessels that let a share ``passed`` (rows, cols) of the rays through."""
        above = np.maximum(self.still - np.float32(self.veil), np.float32(0))
        out: Pixels = self.still - above * (np.float32(1) - passed)
        return out


def real_backdrop(image: NDArray[np.uint8], known: NDArray[np.bool_] | None = None) -> Backdrop:
    """What a real frame shows behind its vessels: the same one for the same frame, so that it may be kept.

    Args:
        image: (rows, cols), vessels darker than what surrounds them.
        known: (rows, cols), vessels that somebody marked, beside those that are found.
    """
    rng = stream(hashlib.sha256(image.tobytes()).digest(), "removal")
    found = cleared(image, known, rng)
    frame = found.frame
    base = scipy.ndimage.gaussian_filter(frame, BLUR_PX, mode="nearest", truncate=3)
    rest = frame - base
    clear = found.field & ~found.mask
    clear = clear if clear.mean() > 0.05 else found.field
    noise = Grain.measured(rest, base, clear).spread(base) ** 2
    power = scipy.ndimage.uniform_filter(rest * rest, WINDOW_PX, mode="nearest")
    keep = np.clip(1 - EASE * noise / np.maximum(power, np.float32(1e-3)), 0, 1)  # Wiener's: edges are no grain
    still = rounded(base + scipy.ndimage.uniform_filter(keep, 3, mode="nearest") * rest)
    own = rounded(frame) - still
    grain = Grain.measured(own, still, clear)
    # What is left in the still picture goes with the frame's own grain; new grain must make up for it.
    whole, left, part = (float(np.median(values[clear] ** 2)) + 1e-6 for values in (rest, still - base, own))
    more = math.sqrt(max(whole - left, part) / part)
    grain = replace(grain, strength=np.round(grain.strength * more, 3).astype(np.float32))
    return Backdrop(still, grain, found.field, VEIL * float(np.median(image[found.field])), own)


def chest_backdrop(rng: np.random.Generator, view: View) -> Backdrop:
    """A procedural chest seen from a view, displayed as an angiography unit does; see ``phantom.angiogram``."""
    display = Display.draw(rng, min(view.rows, view.cols))
    background, _ = display.scale(chest(rng, view))
    grey = display.veil + (display.median - display.veil) * np.exp(-background)
    grey = scipy.ndimage.gaussian_filter(grey, PSF_PX, truncate=4)
    if display.sharpen:
        grey += display.sharpen * (grey - scipy.ndimage.gaussian_filter(grey, 2.5, truncate=3))
    field = np.ones(grey.shape, np.bool_)
    if display.collimator:
        depth = display.collimator.depth((view.rows, view.cols))
        field, grey = depth > 0, display.collimator.cover(grey, depth)
    return Backdrop(rounded(grey), _chest_grain(rng, display), field, display.veil)


def rounded(grey: NDArray[np.floating[Any]]) -> Pixels:
    """Grey levels 0 ... 255 as every CPU has them."""
    out: Pixels = (np.rint(np.clip(grey, 0, 255) * _STEPS) / _STEPS).astype(np.float32)
    return out


def _chest_grain(rng: np.random.Generator, display: Display) -> Grain:
    """Weaker where it is bright, and behind the collimator; neighbours as blurred by the detector."""
    grey = np.arange(KNOTS) * float(LEVEL)
    fall = float(rng.uniform(0.1, 0.5))
    strength = display.noise * (np.maximum(grey, 32) / display.median) ** -fall * np.minimum(1, 0.3 + grey / 45)
    lags = np.exp(-((np.arange(REACH + 1) / (2 * NOISE_BLUR_PX)) ** 2))
    return Grain.of(strength, lags, lags)
