"""A shaded angiogram from mm of vessel along each ray: the phantom's chest and detector about a tree from anywhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import Display

PER_MM = 0.075  # displayed absorbance of contrast agent: a vessel of 3.5 mm is a quarter darker than what is about it


def shaded(rng: np.random.Generator, length_mm: NDArray[np.float32], view: View) -> NDArray[np.uint8]:
    """The picture (rows, cols); the ray's length in vessels darkens it, then blur, veil, noise and display.

    Args:
        rng: draws chest, display, strength of the contrast agent and noise.
        length_mm: (rows, cols), square.
        view: the view it is of.
    """
    display = Display.draw(rng, view.rows)
    background, dimming = display.scale(chest(rng, view))
    strength = PER_MM / dimming * math.exp(float(np.clip(rng.normal(0, 0.22), -0.4, 0.4)))
    image, _ = display.show(rng, background + strength * length_mm.astype(np.float64))
    return image
