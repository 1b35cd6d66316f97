"""The contrast phase of an abdominal CT, and how tumours of an organ stand out in it.

Figures are ranges of reviews of liver, renal and pancreatic imaging: contrast of the solid tissue to the organ about
it. Enhanced liver and kidney keep within what SynTumor draws (65-145 HU of which .50-.55). Without contrast a renal
tumour is as dense as its kidney, a pancreatic one all but invisible; what shows there is shape, necrosis, and the fat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Phase = Literal["unenhanced", "arterial", "venous"]

CONTRAST_HU: Final[dict[str, dict[Phase, tuple[float, float]]]] = {
    "liver": {"unenhanced": (-30.0, -10.0), "arterial": (-45.0, -15.0), "venous": (-80.0, -32.0)},
    "kidney": {"unenhanced": (-10.0, 15.0), "arterial": (-90.0, -30.0), "venous": (-95.0, -32.0)},
    "pancreas": {"unenhanced": (-15.0, -3.0), "arterial": (-65.0, -25.0), "venous": (-45.0, -20.0)},
}
HYPERVASCULAR: Final = (
    0.35,
    (15.0, 45.0),
)  # liver in the arterial phase: share of tumours that are brighter, by so much
NECROSIS_HU: Final = (8.0, 28.0)
NECROTIC: Final = {"liver": 0.35, "kidney": 0.6, "pancreas": 0.3}  # of late tumours
NECROSIS_SHARE: Final = (0.2, 0.6)  # of such a tumour's core
# HU up to which an organ is unenhanced, and from which it is arterial (the liver, fed by the portal vein: below which).
_AORTA: Final = (85.0, 200.0)
_ORGANS: Final = {"kidney": 65.0, "pancreas": 62.0, "liver": 78.0}
_LIVER_ARTERIAL: Final = 90.0


def phase_of(hu: NDArray[np.int16], labels: NDArray[np.uint8], legend: Mapping[int, str]) -> Phase:
    """By the aorta's HU where it is labelled, else by those of kidneys, pancreas and liver; venous where none is."""
    levels: dict[str, float] = {}
    for name in ("aorta", "kidney", "pancreas", "liver"):
        values = [v for v, own in legend.items() if own in (name, f"{name}_left", f"{name}_right")]
        found = hu[np.isin(labels, values)] if values else hu[:0]
        if found.size:
            levels[name] = float(np.median(found))
    if "aorta" in levels:
        low, high = _AORTA
        return "unenhanced" if levels["aorta"] < low else "arterial" if levels["aorta"] >= high else "venous"
    first = next((name for name in _ORGANS if name in levels), None)  # the kidneys tell most, the liver least
    if first and levels[first] < _ORGANS[first]:
        return "unenhanced"
    return "arterial" if "kidney" in levels and levels.get("liver", 1e3) < _LIVER_ARTERIAL else "venous"


def draw_contrast(rng: np.random.Generator, organ: str, phase: Phase) -> float:
    """HU of a tumour's solid tissue less those of its organ."""
    chance = float(rng.uniform())
    if organ == "liver" and phase == "arterial" and chance < HYPERVASCULAR[0]:
        return float(rng.uniform(*HYPERVASCULAR[1]))
    return float(rng.uniform(*CONTRAST_HU[organ][phase]))


def contrast_range(organ: str, phase: Phase) -> tuple[float, float]:
    """All that ``draw_contrast`` may return."""
    low, high = CONTRAST_HU[organ][phase]
    return low, HYPERVASCULAR[1][1] if organ == "liver" and phase == "arterial" else high
