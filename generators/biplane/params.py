"""What can be chosen about a bi-plane sample, and the ranges its C-arm is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from lesionforge.generators.carm.view import View, angles_of
from lesionforge.generators.parameters import Parameters, Range
from lesionforge.generators.types import Side

Pair = tuple[float, float]
DETECTOR_PIXEL_MM: Pair = (0.2769, 0.2789)  # XRA-Diff, released configuration
ViewCount = Annotated[int, Interval(ge=2, le=4)]


@dataclass(frozen=True)
class ViewRange:
    """Uniform ranges of one view: millimetres and degrees (primary LAO +, secondary cranial +)."""

    sid_mm: Pair
    sod_mm: Pair
    primary_deg: Pair
    secondary_deg: Pair

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
class BiplaneParams(Parameters):
    """Parameters of the ``biplane`` generator.

    Attributes:
        image: ``silhouette`` (PNG, 0 and 255), ``line_integral`` (NPY float32, mm of vessel along each ray) or ``xray``
            (PNG, a shaded angiogram, with the silhouettes beside as ``mask0.png``, ...).
        views: number of views, 2 to 4. Views 3 and 4 are turned from views 1 and 2 (primary' = -secondary,
            secondary' = primary), as in the paper's ablation.
        angles: ``paper`` or ``code``: which range the left tree's second cranial angle comes from.
        named_views: views as they are called, in place of those ranges and of ``views``: ``LAO 30 CRA 20``,
            ``AP CAU 25``, ``spider``, ``lateral``.
        frame: ``fit``: the table stands so that the tree lies in the middle of every picture, with larger pixels where
            it would not fit; ``centre``: the box about it stands on the isocentre, as in the paper, and may be cut.
        grid: cells along each edge of the cubic grid (the paper: 128).
        resample: also store the volumes on this many cells an edge, as shares of 1 (the paper's network takes 60).
        shares: also store how much of each cell the tree fills (``share128``).
        correspondences: also store what is one point in all views (``points``, float32): of each occupied cell its
            flat index, x, y, z (LPS mm) and row, column in every view.
        spacing_mm: range of the grid's cell edge; one value is drawn per case and used throughout.
        detector: pixels along each edge of the detector (the paper: 512).
        motion: move the second view, as breathing between two runs would. With a recipe ``balance`` over the
            classes ``still`` and ``motion``, the plan decides instead.
        motion_shift_px: range of that motion's shift along each axis of the detector, in pixels.
        motion_scale: range of its scale along each axis.
        projector: what line integrals are of: ``native``, the surface; else the cells, by ``torch`` (any torch device)
            or ``odl`` (ODL with ASTRA on CUDA). Silhouettes are always the surface's.
        compress: store volumes as ``.npy.zst`` (a hundredth of the size) in place of ``.npy``.
    """

    image: Literal["silhouette", "line_integral", "xray"] = "silhouette"
    views: ViewCount = 2
    angles: Literal["paper", "code"] = "paper"
    named_views: tuple[str, ...] = ()
    frame: Literal["fit", "centre"] = "fit"
    grid: Annotated[int, Interval(ge=8, le=512)] = 128
    resample: Annotated[int, Interval(ge=4)] | None = None
    shares: bool = False
    correspondences: bool = False
    spacing_mm: Range[Annotated[float, Interval(ge=0.05)]] = (0.8, 1.1)
    detector: Annotated[int, Interval(ge=16, le=4096)] = 512
    motion: bool = False
    motion_shift_px: Range[Annotated[float, Interval(ge=-4096, le=4096)]] = (-20, 20)
    motion_scale: Range[Annotated[float, Interval(ge=0.1)]] = (0.8, 1.2)
    projector: Literal["native", "torch", "odl"] = "native"
    compress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resample is not None and self.resample >= self.grid:
            raise ValueError(f"resample is {self.resample}: give 4 or more, less than grid ({self.grid})")
        if self.projector != "native" and self.image == "silhouette":
            raise ValueError(f"projector {self.projector} makes line integrals alone: set image to line_integral")
        if self.named_views and not 2 <= len(self.named_views) <= 4:
            raise ValueError(f"named_views names {len(self.named_views)}: give 2 to 4")
        for name in self.named_views:
            angles_of(name)

    def draw_views(self, rng: np.random.Generator, side: Side) -> list[View]:
        """Draw the views of one sample from the side's ranges."""
        first, second = TABLE[side]
        if side == "left" and self.angles == "code":
            second = CODE_LEFT_SECOND
        # A smaller detector image keeps the detector's size: fewer, larger pixels.
        pixel = float(rng.uniform(*DETECTOR_PIXEL_MM)) * 512 / self.detector
        if self.named_views:
            ranges = [first, second, first, second][: len(self.named_views)]
            drawn = [r.draw(rng, pixel, self.detector) for r in ranges]
            angles = map(angles_of, self.named_views)
            return [replace(v, primary_deg=a, secondary_deg=b) for v, (a, b) in zip(drawn, angles, strict=True)]
        views = [r.draw(rng, pixel, self.detector) for r in (first, second)]
        views += [_turned(view) for view in views[: self.views - 2]]
        return views


def _turned(view: View) -> View:
    primary, secondary = -view.secondary_deg, view.primary_deg
    return View(view.sid_mm, view.sod_mm, primary, secondary, view.rows, view.cols, view.pixel_mm)
