"""Crops around an edit box and the two conditions: the image with its box hidden, and the vessel mask.

Hidden pixels are -1 where shown ones are 0 ... 1 (the ControlNet inpainting convention), so that a hidden pixel is
not mistaken for a black one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import placed

HIDDEN = -1.0
BLEND_PX = 3  # width of the harmonising border inside the box
SMOOTH_PX = 2.0  # the border's brightness is compared in windows of this sigma

PixelBox = tuple[int, int, int, int]  # x0, y0, x1, y1, half-open
Floats = NDArray[np.float32]
Pixel = TypeVar("Pixel", np.uint8, np.bool_)


@dataclass(frozen=True)
class Window:
    """A square of a frame, and the edit box inside it. It may reach beyond the frame: cut mirrors it there.

    ``left``, ``top``: the first column and row; ``side`` in pixels; ``box`` in the window's own pixels.
    """

    left: int
    top: int
    side: int
    box: PixelBox

    @classmethod
    def around(cls, box: PixelBox, shape: tuple[int, int], side: int, multiple: int, margin: int = 8) -> Window:
        """The window that holds a box with its surroundings, inside the frame where the frame is large enough.

        Args:
            box: edit box in the frame's pixels.
            shape: (rows, cols) of the frame.
            side: side wanted, px; larger boxes get the next multiple that holds them.
            multiple: what the side must be a multiple of.
            margin: pixels of surroundings seen at least on each side of the box.
        """
        x0, y0, x1, y1 = box
        rows, cols = shape
        if not (0 <= x0 < x1 <= cols and 0 <= y0 < y1 <= rows):
            raise ValueError(f"edit box {box} is empty or outside the frame of {cols} x {rows} pixels")
        need = max(side, x1 - x0 + 2 * margin, y1 - y0 + 2 * margin)
        side = -(-need // multiple) * multiple
        left = placed((x0 + x1 - side) // 2, side, cols)
        top = placed((y0 + y1 - side) // 2, side, rows)
        return cls(left, top, side, (x0 - left, y0 - top, x1 - left, y1 - top))

    def cut(self, frame: NDArray[Pixel]) -> NDArray[Pixel]:
        """The window's pixels (side, side)."""
        rows, cols = frame.shape
        before = max(0, -self.top), max(0, -self.left)
        after = max(0, self.top + self.side - rows), max(0, self.left + self.side - cols)
        if any(before + after):
            frame = np.pad(frame, list(zip(before, after, strict=True)), mode="symmetric")
        top, left = self.top + before[0], self.left + before[1]
        return frame[top : top + self.side, left : left + self.side]

    def moved(self, right: int, down: int, shape: tuple[int, int]) -> Window:
        """The window shifted by some pixels, kept inside the frame."""
        left = placed(self.left + right, self.side, shape[1])
        top = placed(self.top + down, self.side, shape[0])
        x, y = self.left - left, self.top - top
        x0, y0, x1, y1 = self.box
        return Window(left, top, self.side, (x0 + x, y0 + y, x1 + x, y1 + y))

    def inside(self) -> NDArray[np.bool_]:
        """(side, side), true in the box."""
        x0, y0, x1, y1 = self.box
        hole = np.zeros((self.side, self.side), bool)
        hole[y0:y1, x0:x1] = True
        return hole


def views(crop: NDArray[np.uint8], mask: NDArray[np.bool_], hole: NDArray[np.bool_]) -> dict[str, Floats]:
    """A crop as the networks see it, float32 (1, side, side) each.

    ``image`` -1 ... 1; ``shown``, the first condition: the image 0 ... 1, -1 in the hole; ``mask``, the second: vessel
    0 or 1; ``hole`` 0 or 1.
    """
    grey = crop.astype(np.float32)
    return {
        "image": (grey / np.float32(127.5) - np.float32(1))[None],
        "shown": np.where(hole, np.float32(HIDDEN), grey / np.float32(255))[None],
        "mask": mask.astype(np.float32)[None],
        "hole": hole.astype(np.float32)[None],
    }


def paste(source: NDArray[np.uint8], drawn: NDArray[np.uint8], box: PixelBox) -> NDArray[np.uint8]:
    """The box of a crop: drawn pixels, brought to the source's brightness along the border, and fading into it there.

    The brightness is corrected by the membrane that spans the differences along the border (Poisson image editing,
    Perez et al. 2003): what is drawn a little too bright or dark as a whole would show its box.

    Both (side, side); the result has the box's size. Nothing outside the box is needed or returned (promise P6).
    """
    x0, y0, x1, y1 = box
    old, new = (a[y0:y1, x0:x1].astype(np.float64) for a in (source, drawn))
    new += _membrane(old - new)
    weight = np.minimum.outer(_ramp(y1 - y0), _ramp(x1 - x0))
    return np.clip(np.rint(old + weight * (new - old)), 0, 255).astype(np.uint8)


def _membrane(gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """The harmonic function (h, w) whose border is that of ``gap``, averaged over some pixels against its noise."""
    h, w = gap.shape
    edges = [gap[:BLEND_PX].mean(0), gap[-BLEND_PX:].mean(0), gap[:, :BLEND_PX].mean(1), gap[:, -BLEND_PX:].mean(1)]
    top, bottom, left, right = (scipy.ndimage.gaussian_filter1d(edge, SMOOTH_PX, mode="nearest") for edge in edges)
    load = np.zeros((h, w))  # of the five-point Laplacian, by the border's neighbours
    load[0] -= top
    load[-1] -= bottom
    load[:, 0] -= left
    load[:, -1] -= right
    # The sine transform diagonalises it.
    rows, cols = (2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) - 2 for n in (h, w))
    return np.asarray(scipy.fft.idstn(scipy.fft.dstn(load, type=1) / (rows[:, None] + cols), type=1))


def _ramp(n: int) -> NDArray[np.float64]:
    edge = np.minimum(np.arange(n), np.arange(n)[::-1]) + 1.0
    return np.minimum(edge / (BLEND_PX + 1), 1.0)
