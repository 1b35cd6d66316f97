"""Line integrals of a lumen as the cine frame that a detector would show of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm import View
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import Display
from lesionforge.generators.types import SampleSpec

CONTRAST = 0.18  # displayed attenuation of a mm of lumen: .45 for a vessel of 2.5 mm
CONTRAST_SD = 0.2  # of its logarithm, between runs


def film(integral: NDArray[np.float32], view: View, spec: SampleSpec, number: int) -> NDArray[np.uint8]:
    """Grey levels (rows, cols), vessels dark: Beer-Lambert before a chest, then the display's blur and noise.

    Args:
        integral: mm of lumen along each ray.
        view: of C-arm and detector.
        spec: the sample, whose streams draw chest, contrast and display.
        number: of the view.
    """
    # An open field: what is on the detector is in the picture, as the labels say.
    display = replace(Display.draw(spec.rng(f"film{number}/display"), view.rows), collimator=None)
    background, dimming = display.scale(chest(spec.rng(f"film{number}/chest"), view))
    run = float(spec.rng(f"film{number}/contrast").normal(0, CONTRAST_SD))
    strength = CONTRAST / dimming * math.exp(min(max(run, -2 * CONTRAST_SD), 2 * CONTRAST_SD))
    image, _ = display.show(spec.rng(f"film{number}/noise"), background + strength * integral.astype(np.float64))
    return image
