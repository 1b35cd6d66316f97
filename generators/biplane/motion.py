"""Motion between two runs, as the paper simulates it: the second image is scaled and shifted in its plane."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Motion:
    """Scale per axis about the image centre, then shift in pixels; (row, column)."""

    scale: tuple[float, float]
    shift_px: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: tuple[float, float], shift_px: tuple[float, float]) -> Motion:
        """Uniform in the given ranges, each axis on its own."""
        s, t = rng.uniform(*scale, size=2), rng.uniform(*shift_px, size=2)
        return cls((float(s[0]), float(s[1])), (float(t[0]), float(t[1])))

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """The moved image, reflected at the border; nearest pixel for uint8 (stays binary), linear otherwise."""
        inverse = 1 / np.array(self.scale)
        centre = (np.array(image.shape) - 1) / 2
        offset = centre - (centre + np.array(self.shift_px)) * inverse
        order = 0 if image.dtype == np.uint8 else 1
        moved: NDArray[Any] = ndimage.affine_transform(image, inverse, offset, order=order, mode="reflect")
        return moved

    def to_json(self) -> dict[str, Any]:
        """The drawn values, enough to replay."""
        return asdict(self)
