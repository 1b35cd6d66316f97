"""Crops about lesions, cut alike whether drawn or real: one size, grid and display, the lesion not quite central."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

FRAME = 512  # longest side that a frame is brought to
EDGE = 192  # px of an angiogram's crop
GRID = 8  # px; JPEG's blocks begin at the same place in every crop
OFF = 20.0  # px that the lesion lies off the middle at most
CT_EDGE = 256  # px of a CT crop
CT_OFF = 0.1  # of its edge
AROUND = 2  # slices on either side


@dataclass(frozen=True)
class Window:
    """A display window in HU, and the edge of the field of view in mm."""

    level: float
    width: float
    edge_mm: float

    def __str__(self) -> str:
        return f"window {self.level:g} / {self.width:g} HU, field {self.edge_mm:g} mm"


#: What plaques and tumours are read in.
WINDOWS = {"plaques": Window(200, 800, 40), "tumours": Window(60, 400, 120)}


@dataclass(frozen=True)
class Crop:
    """What a reader sees and what is true of it.

    ``pixels`` uint8 (slices, edge, edge); ``mark``: x, y of the lesion in them, coarse. ``drawn``: or real.
    ``kind``: class of the lesion, ``ungraded`` where nobody said. ``subject``: a hash.
    """

    pixels: NDArray[np.uint8]
    mark: tuple[int, int]
    drawn: bool
    kind: str
    subject: str


def of_frame(
    image: NDArray[np.uint8], box: Sequence[float], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """A crop (1, 192, 192) and the lesion's place in it; None where the frame is too small.

    Args:
        image: uint8 (rows, cols); another size than 512 is brought there first.
        box: x0, y0, x1, y1 of the lesion.
        rng: draws how far off the middle it lies.
    """
    scale = FRAME / max(image.shape)
    if scale != 1:
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    if min(image.shape) < EDGE:
        return None
    at = (scale * (box[0] + box[2]) / 2, scale * (box[1] + box[3]) / 2)
    corner = [
        int(np.clip(GRID * round((one + off - EDGE / 2) / GRID), 0, GRID * ((side - EDGE) // GRID)))
        for one, off, side in zip(at, rng.uniform(-OFF, OFF, 2), image.shape[::-1], strict=True)
    ]
    x, y = corner
    return image[None, y : y + EDGE, x : x + EDGE].copy(), _coarse(at[0] - x, at[1] - y)


def of_volume(
    hu: NDArray[np.int16],
    spacing_mm: Sequence[float],
    centre: Sequence[float],
    window: Window,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    """Axial slices (5, 256, 256) as they are read, the patient's right on the left, and the lesion's place in them.

    None where the volume does not fill the field: a border would say which volume it is.

    Args:
        hu: (i, j, k) along LPS.
        spacing_mm: of its voxels.
        centre: of the lesion, in voxels.
        window: of the display.
        rng: draws how far off the middle it lies.
    """
    step = window.edge_mm / CT_EDGE
    first = []
    for axis, off in zip((0, 1), rng.uniform(-CT_OFF, CT_OFF, 2), strict=True):
        extent = (hu.shape[axis] - 1) * spacing_mm[axis]
        if extent < window.edge_mm - step:
            return None
        start = centre[axis] * spacing_mm[axis] + (off - 0.5) * window.edge_mm
        first.append(float(np.clip(start, 0, extent - (window.edge_mm - step))))
    lines = [(start + step * np.arange(CT_EDGE)) / spacing_mm[axis] for axis, start in enumerate(first)]
    rows, cols = np.meshgrid(lines[1], lines[0], indexing="ij")
    out = []
    for k in np.clip(round(centre[2]) + np.arange(-AROUND, AROUND + 1), 0, hu.shape[2] - 1).tolist():
        plane = map_coordinates(hu[:, :, k].astype(np.float32), [cols, rows], order=1, mode="nearest")
        out.append(np.clip((plane - window.level) / window.width + 0.5, 0, 1) * 255)
    at = [(centre[axis] * spacing_mm[axis] - first[axis]) / step for axis in (0, 1)]
    return np.stack(out).round().astype(np.uint8), _coarse(*at)


def _coarse(x: float, y: float) -> tuple[int, int]:
    """To 4 px: drawn boxes are about the minimum, real ones as somebody drew them."""
    return 4 * round(x / 4), 4 * round(y / 4)
