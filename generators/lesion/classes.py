"""The classes of lesions, the labels they get, and the HU they are drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.structures import kind

ORGANS: Final = ("liver", "kidney", "pancreas")
PLAQUES: Final = ("calcified", "non_calcified", "low_attenuation", "mixed")
TUMOURS: Final = tuple(f"{organ}_{stage}" for organ in ORGANS for stage in ("early", "late"))
CLASSES: Final = ("healthy", *PLAQUES, *TUMOURS)
EARLY_MM: Final = 10.0  # equivalent radius: up to here a tumour is early, 2 cm across (DiffTumor's rule)

# A label map's values, the same in every sample; what the source marked as a tumour itself has labels of its own.
LABELS: Final = ("background", *ORGANS, "coronary", *(f"{organ}_tumour" for organ in ORGANS), *PLAQUES, *TUMOURS)
VALUE: Final = {name: value for value, name in enumerate(LABELS)}
LEGEND: Final = dict(enumerate(LABELS))


def home(lesion_class: str) -> str:
    """The label that a lesion of the class lies in."""
    return "coronary" if lesion_class in PLAQUES else lesion_class.rsplit("_", 1)[0]


def canonical(legend: Mapping[int, str]) -> NDArray[np.uint8]:
    """Our label for each of a source's label values, uint8 (256,): sides are dropped, other organs are background.

    A value that ``unknown`` tells of must not be among the voxels.
    """
    table = np.zeros(256, np.uint8)
    for value, name in legend.items():
        side = next((end for end in ("_left", "_right") if name.endswith(end)), "")
        table[value] = VALUE.get(name.removesuffix(side), 0)
    return table


def mapped(labels: NDArray[np.uint8], table: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint8]:
    """``table[labels]`` as uint8, in two thirds of the time; ``table`` (256,)."""
    return np.frombuffer(bytearray(labels.tobytes()).translate(table.tobytes()), np.uint8).reshape(labels.shape)


def unknown(legend: Mapping[int, str]) -> NDArray[np.bool_]:
    """Whether each label value may be a lesion that has no label here, bool (256,): its voxels would be background."""
    out: NDArray[np.bool_] = canonical(legend) == 0
    out[[0, *(value for value, name in legend.items() if kind(name) == "healthy")]] = False
    return out


@dataclass(frozen=True)
class Distribution:
    """A normal distribution of mean HU, cut off at both ends."""

    mean: float
    sd: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator, margin: float = 0.0) -> float:
        """One value, ``margin`` off the ends at least."""
        while True:
            value = float(rng.normal(self.mean, self.sd))
            if self.low + margin <= value <= self.high - margin:
                return value


# Mean HU in CT angiography at a usual protocol (seen lumen 284-367 HU): medians and quartiles of the literature as
# mean and sd; below 30 HU plaque is called low-attenuation, which bounds its neighbour.
PLAQUE_HU: Final = {
    "calcified": Distribution(770, 110, 600, 1000),
    "non_calcified": Distribution(48, 30, 30, 130),
    "low_attenuation": Distribution(8, 18, -30, 30),
    "mixed": Distribution(148, 73, 90, 280),
}
USUAL_LUMEN_HU: Final = 367.0  # the brightest of it
MIXED_HU: Final = {"soft": (30.0, 80.0), "calcium": (700.0, 1200.0)}  # parts of a mixed plaque, before the blur
# What tissue can be: thin plaque is not drawn darker than fat so that its blurred core reads as asked.
TISSUE_HU: Final = {
    "calcified": (300.0, 1600.0),
    "non_calcified": (-70.0, 150.0),
    "low_attenuation": (-110.0, 60.0),
    "mixed": (-40.0, 400.0),
}


def calcium_scale(lumen_hu: float) -> float:
    """Times its usual HU that calcium has where the lumen is so bright: low tube voltage raises both about alike."""
    return max(1.0, lumen_hu / USUAL_LUMEN_HU)


# Tumours are darker than their organ by texture times delta (SynTumor: delta 65-145 HU, texture 0.50-0.55 on average).
DELTA_HU: Final = (65.0, 145.0)
LEVEL: Final = (0.50, 0.55)
WATER_HU: Final = 5.0  # solid tissue is no darker
