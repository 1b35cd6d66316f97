"""Motion between two runs, in the plane of the second image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from lesionforge.generators.carm.view import View


@dataclass(frozen=True)
class Motion:
    """Motion between two runs, as XRA-Diff simulates it: the second image scaled and shifted in its plane.

    Scale per axis about the image centre, then shift in pixels; (row, column).
    """

    scale: tuple[float, float]
    shift_px: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: tuple[float, float], shift_px: tuple[float, float]) -> Motion:
        """Uniform in the given ranges, each axis on its own."""
        s, t = rng.uniform(*scale, size=2), rng.uniform(*shift_px, size=2)
        return cls((float(s[0]), float(s[1])), (float(t[0]), float(t[1])))

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """The moved image, empty where nothing moved in; nearest pixel for uint8 (stays binary), linear otherwise.

        XRA-Diff's reflects at its border: a second copy of vessels that lies on no other view's.
        """
        inverse = 1 / np.array(self.scale)
        centre = (np.array(image.shape) - 1) / 2
        offset = centre - (centre + np.array(self.shift_px)) * inverse
        if image.dtype != np.uint8:
            return _moved(image, inverse, offset, 1)
        # Every pixel is one of the image's: its row and its column, each found on its own.
        lines = zip(image.shape, inverse, offset, strict=True)
        rows, cols = (_moved(np.arange(1, n + 1), [scale], [start], 0) for n, scale, start in lines)
        return np.pad(image, ((1, 0), (1, 0))).take(rows, 0).take(cols, 1)  # row and column 0 are what moved in

    def move(self, pixels: NDArray[np.float64], view: View) -> NDArray[np.float64]:
        """Where pixel coordinates (n, 2) of a view come to lie."""
        centre = (np.array([view.rows, view.cols]) - 1) / 2
        moved: NDArray[np.float64] = centre + np.array(self.scale) * (pixels - centre) + np.array(self.shift_px)
        return moved

    def to_json(self) -> dict[str, Any]:
        """The drawn values, enough to replay."""
        return asdict(self)


def _moved(values: NDArray[Any], inverse: ArrayLike, offset: ArrayLike, order: int) -> NDArray[Any]:
    moved: NDArray[Any] = scipy.ndimage.affine_transform(values, inverse, offset, order=order, mode="constant")
    return moved
