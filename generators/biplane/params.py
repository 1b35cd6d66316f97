"""What can be chosen about a bi-plane sample, and the ranges its C-arm is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from lesionforge.generators.carm import View
from lesionforge.generators.types import Side

Range = tuple[float, float]
DETECTOR_PIXEL_MM: Range = (0.2769, 0.2789)  # XRA-Diff, released configuration
MIN_VIEWS, MAX_VIEWS = 2, 4


@dataclass(frozen=True)
class ViewRange:
    """Uniform ranges of one view: millimetres and degrees (primary LAO +, secondary cranial +)."""

    sid_mm: Range
    sod_mm: Range
    primary_deg: Range
    secondary_deg: Range

    def draw(self, rng: np.random.Generator, pixel_mm: float, size: int) -> View:
        """One view of a square detector."""
        sid, sod, primary, secondary = (
            float(rng.uniform(*r)) for r in (self.sid_mm, self.sod_mm, self.primary_deg, self.secondary_deg)
        )
        return View(sid, sod, primary, secondary, size, size, (pixel_mm, pixel_mm))


# XRA-Diff, Table 2. Left, second view, cranial angle: the paper says -10 ... 45, its code 10 ... 45.
TABLE: dict[Side, tuple[ViewRange, ViewRange]] = {
    "right": (
        ViewRange((970, 1010), (745, 785), (0, 50), (-20, 20)),
        ViewRange((1050, 1070), (742, 788), (-42, -18), (-18, 18)),
    ),
    "left": (
        ViewRange((1030, 1200), (740, 785), (-18, 18), (0, 0)),
        ViewRange((960, 1160), (737, 852), (-47, -22), (-10, 45)),
    ),
}
CODE_LEFT_SECOND = ViewRange((960, 1160), (737, 852), (-47, -22), (10, 45))


@dataclass(frozen=True)
class BiplaneParams:
    """Parameters of the ``biplane`` generator.

    Attributes:
        image: ``silhouette`` (PNG, 0 and 255) or ``line_integral`` (NPY float32, mm of vessel along each ray).
        views: number of views, 2 to 4. Views 3 and 4 are turned from views 1 and 2 (primary' = -secondary,
            secondary' = primary), as in the paper's ablation.
        angles: ``paper`` or ``code``: which range the left tree's second cranial angle comes from.
        grid: cells along each edge of the cubic grid.
        resample: also store the volumes averaged down to this many cells an edge (the paper's network takes 60).
        spacing_mm: range of the grid's cell edge; one value is drawn per case and used throughout.
        detector: pixels along each edge of the detector.
        motion: move the second view, as breathing between two runs would. With a recipe ``balance`` over the
            classes ``still`` and ``motion``, the plan decides instead.
        motion_shift_px, motion_scale: ranges of that motion, per axis.
        projector: ``native`` (numba), ``torch`` (any torch device) or ``odl`` (ODL with ASTRA on CUDA).
        compress: store volumes as ``.npy.gz`` (a fiftieth of the size; readers unzip) in place of ``.npy``.
    """

    # Read by pydantic in the engine; a plain dict, so that generators need no pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    image: Literal["silhouette", "line_integral"] = "silhouette"
    views: int = 2
    angles: Literal["paper", "code"] = "paper"
    grid: int = 128
    resample: int | None = None
    spacing_mm: tuple[float, float] = (0.8, 1.1)
    detector: int = 512
    motion: bool = False
    motion_shift_px: tuple[float, float] = (-20, 20)
    motion_scale: tuple[float, float] = (0.8, 1.2)
    projector: Literal["native", "torch", "odl"] = "native"
    compress: bool = False

    def __post_init__(self) -> None:
        if not MIN_VIEWS <= self.views <= MAX_VIEWS:
            raise ValueError(f"views is {self.views}: give {MIN_VIEWS} to {MAX_VIEWS}")
        if not 8 <= self.grid <= 512:
            raise ValueError(f"grid is {self.grid}: give 8 to 512 cells an edge (the paper: 128)")
        if self.resample is not None and not 4 <= self.resample < self.grid:
            raise ValueError(f"resample is {self.resample}: give 4 or more, less than grid ({self.grid})")
        if not 16 <= self.detector <= 4096:
            raise ValueError(f"detector is {self.detector}: give 16 to 4096 pixels an edge (the paper: 512)")
        for name, least in (("spacing_mm", 0.05), ("motion_scale", 0.1), ("motion_shift_px", -1e9)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(f"{name} is {low} ... {high}: give a range, low first, from {least:g} up")

    def draw_views(self, rng: np.random.Generator, side: Side) -> list[View]:
        """Draw the views of one sample from the side's ranges."""
        first, second = TABLE[side]
        if side == "left" and self.angles == "code":
            second = CODE_LEFT_SECOND
        # A smaller detector image keeps the detector's size: fewer, larger pixels.
        pixel = float(rng.uniform(*DETECTOR_PIXEL_MM)) * 512 / self.detector
        views = [r.draw(rng, pixel, self.detector) for r in (first, second)]
        views += [_turned(view) for view in views[: self.views - 2]]
        return views


def _turned(view: View) -> View:
    primary, secondary = -view.secondary_deg, view.primary_deg
    return View(view.sid_mm, view.sod_mm, primary, secondary, view.rows, view.cols, view.pixel_mm)
