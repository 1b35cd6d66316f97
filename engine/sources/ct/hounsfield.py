"""Whether a volume's values can be Hounsfield units: by how often each occurs, and by the organs that are marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import BadCase

ZERO = 2**15  # index of 0 HU among the counts
MIN_SPREAD_HU = 150  # between the smallest and the largest value of any CT: air and water are 1000 apart
LOWEST_HU = -3100  # of padding in use beside other values
BELOW_AIR_HU = -1100  # no tissue is; what often is, is padding
LEAST_PADDING_HU = -9999  # beside the least number of 16 bits; ten times air is less
MAX_PADDINGS = 2  # outside the field of view, and outside the body's box
FEW = 0.01  # of all voxels
DENSE_HU = 900  # the least of dense bone and metal; contrast and trabecular bone stay below
MAX_DENSE = 0.2  # of all voxels; raw values are soft tissue + 1024
MIN_ORGAN = 27  # voxels; of fewer, most may lie on the organ's edge

#: What the median of an organ's voxels can be. Tissue: Prokop and Galanski, Spiral and Multislice CT of the Body
#: (Thieme 2003), and Buzug, Computed Tomography (Springer 2008): air -1000, lung about -850 (here also collapsed, and
#: enhanced), fat -120 to -50, solid organs 20 to 70, bone up to 3000. Fat in an organ takes 1.7 HU a per cent
#: (Starekova et al., Radiology 2021;301:250: -3 HU at 40%): all fat, as an old pancreas, it is as fat is: the lower
#: ends, with some noise and air. Contrast agent at 120 kV adds some 100 HU to liver and pancreas, 150 to the spleen,
#: 250 to the kidney and 500 to vessels, and 3 times that at 40 keV (iodine against water in Hubbell and Seltzer,
#: NISTIR 5632, 1995): the upper ends, with iron and calcium below. Vessels and bones may be metal; hollow organs hold
#: gas, food or barium, which tells nothing.
ORGAN_HU: Final[Mapping[str, tuple[float, float]]] = {
    "lung": (BELOW_AIR_HU, 350),
    **dict.fromkeys(("liver", "pancreas", "prostate"), (-200, 450)),
    **dict.fromkeys(("spleen", "myocardium"), (-200, 600)),
    "kidney": (-200, 900),
    **dict.fromkeys(("aorta", "heart"), (-200, 2000)),
    **dict.fromkeys(("coronary", "bone", "spine"), (-200, 4000)),
}


@dataclass
class ValueCounts:
    """How often each value occurs in a volume, and the ends, without what is said to be padding."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * ZERO, np.int64))
    low: float = np.inf
    high: float = -np.inf

    def add(self, plane: NDArray[Any], padding: NDArray[np.bool_] | None = None) -> None:
        """The values of one more slice.

        Args:
            plane: (a, b); the ends are of all of it, some 64 x 64 of it are counted.
            padding: where it is none of the image.
        """
        values = plane if padding is None else plane[~padding]
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        thin = max(1, min(plane.shape) // 64)
        some = plane[::thin, ::thin]
        some = some.ravel() if padding is None else some[~padding[::thin, ::thin]]
        self.counts += np.bincount(np.clip(some, -ZERO, ZERO - 1).astype(np.int64) + ZERO, minlength=2 * ZERO)

    def require_hu(self, offset_told: bool = False) -> None:
        """Refuse what is no HU.

        Args:
            offset_told: a header takes something off the stored values: none is left out, and soft tissue alone is CT.

        Raises:
            BadCase: with the ends, and what may have happened.
        """
        if wrong := self._wrong(offset_told):
            raise BadCase(
                f"holds values from {self.low:g} to {self.high:g}, which are no Hounsfield units: {wrong}"
                if np.isfinite(self.low)
                else "holds nothing but padding"
            )

    def _wrong(self, offset_told: bool) -> str:
        narrow = not self.high - self.low >= MIN_SPREAD_HU
        if (narrow or self.low >= 0) and not (offset_told and self.high > self.low):  # noise takes water below 0
            return "was it normalised, or its offset left out?"
        counts = self.counts.copy()
        if self.low == -128 and self.high <= 127 and counts[ZERO - 128] > FEW * counts.sum():
            return "they are a signed byte's, as of grey values"
        below = counts[: ZERO + BELOW_AIR_HU]
        counts[0] = 0
        if self.low >= LEAST_PADDING_HU:
            counts[ZERO + int(self.low)] = 0
        often = below[ZERO + LEAST_PADDING_HU :]
        paddings = np.argsort(often)[-MAX_PADDINGS:]
        often[paddings[often[paddings] > FEW * counts.sum()]] = 0
        if counts[: ZERO + LOWEST_HU].sum() > FEW * counts.sum():
            return f"more than 1% are below {LOWEST_HU}: were they scaled?"
        water, lung = counts[ZERO - 200 : ZERO + 300].sum(), counts[: ZERO - 200].sum()
        if water < max(0.001 * lung, below.sum()):
            return "too few are near water, which is 0: was an offset taken twice?"
        if counts[ZERO + DENSE_HU :].sum() > MAX_DENSE * counts.sum():
            return f"more than 20% are above {DENSE_HU}, as dense as bone: was an offset left out, or were they scaled?"
        return ""


def require_organs(hu: NDArray[np.int16], labels: NDArray[np.uint8], legend: Mapping[int, str]) -> None:
    """Refuse volumes whose marked organs have HU that no such organ has; some 96 x 96 x 96 voxels are looked at.

    Raises:
        BadCase: with the organ and its median.
    """
    thin = tuple(slice(None, None, max(1, n // 96)) for n in hu.shape)
    for value, name in legend.items():
        organ = name.removesuffix("_left").removesuffix("_right")
        if organ not in ORGAN_HU:
            continue
        inside = hu[thin][labels[thin] == value]
        if len(inside) < MIN_ORGAN:
            continue
        middle, (low, high) = float(np.median(inside)), ORGAN_HU[organ]
        if not low <= middle <= high:
            raise BadCase(
                f"its {name} has a median of {middle:g} HU, and {low:g} to {high:g} are possible: its values are no "
                f"Hounsfield units, or its labels mark something else"
            )
