"""What a backend is asked to draw, the protocol every backend has, and the vessel mask redrawn with a narrowing.

The mask (DiGDA, section 2.1): two wall points face each other at the minimal lumen diameter. Both move along the
normal until their distance is the reference diameter times (1 - %DS / 100); the walls are redrawn smoothly between the
lesion's ends and these points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.stenosis.pixels import PixelBox, locate
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.types import SeverityClass, Side

Rows = NDArray[np.float64]
WALL_STEP = 0.25  # px
STAYS = 1e-6  # of the half-width: less is no movement
LEAST = 0.5  # px, half-width below which single pixels would be left standing apart


@dataclass(frozen=True)
class FrameNarrowing:
    """One lesion to draw. Positions are (x, y) = (column, row) index coordinates of the frame.

    The stretch of vessel reaches beyond the lesion at both ends (where ``keep`` is 1). Arrays have n rows, about one
    per pixel along the centreline.
    """

    points: NDArray[np.float64]  # (n, 2) lumen centre before the edit
    normals: NDArray[np.float64]  # (n, 2) unit normals
    diameter: NDArray[np.float64]  # (n,) lumen diameter before the edit, px
    keep: NDArray[np.float64]  # (n,) share of the diameter that is left: 1 untouched, 0 closed
    shift: NDArray[np.float64]  # (n,) where the lumen centre moves to along the normal, px (eccentric lesions)
    at: int  # row of the minimal lumen diameter
    depth: float  # 0: circular section; k: opacity at the axis falls as keep^(1 - k) (elliptic, narrow in view)
    percent_ds: float  # asked of the editor; 0 leaves the frame as it is
    severity: SeverityClass  # class the sample was asked for
    psf_sigma: float  # px, blur of the frame
    texture: Texture  # grain of the frame
    edit_box: PixelBox  # all that may change
    mask: NDArray[np.bool_]  # (rows, cols) of the frame: vessel before
    segment: str | None = None  # SYNTAX name
    side: Side | None = None
    view_deg: tuple[float, float] | None = None
    free: NDArray[np.bool_] | None = None  # (n, 2) nothing stands beside the left, the right wall; None: nowhere
    memo: dict[str, Any] = field(default_factory=dict)  # an editor's own: the same in every round of a lesion

    @cached_property
    def narrowed(self) -> NDArray[np.bool_]:
        """(rows, cols) of the frame: vessel after."""
        return narrow_mask(self.mask, self.points, self.normals, self.diameter, self.keep, self.shift, self.edit_box)


class Editor(ABC):
    """Draws lesions; a backend writes ``edit``. Only ``edit_box`` can change: nothing else is returned (promise P6).

    Attributes:
        digest: SHA-256 of its weights once it is prepared; None where it has none.
    """

    digest: str | None = None

    def prepare(self, device: str) -> None:  # noqa: B027 - many have nothing to load
        """Load weights, compile kernels; once per worker. ``device`` is a torch device string."""

    @abstractmethod
    def edit(
        self,
        images: Sequence[NDArray[np.uint8]],
        lesions: Sequence[FrameNarrowing],
        rngs: Sequence[np.random.Generator],
    ) -> list[NDArray[np.uint8]]:
        """New grey values of each lesion's edit box, uint8 (y1 - y0, x1 - x0); whole frames (rows, cols) come in.

        ``rngs``: the sample's own stream per lesion; results must not depend on who shares the batch. A lesion that is
        drawn again, its request corrected, comes with the same image and memo.
        """


def narrow_mask(
    mask: NDArray[np.bool_], points: Rows, normals: Rows, diameter: Rows, keep: Rows, shift: Rows, box: PixelBox
) -> NDArray[np.bool_]:
    """The vessel mask after the narrowing; it only loses pixels, and inside ``box`` only.

    The mask's own walls move: where it is drawn wider or narrower than the vessel looks, it stays so in proportion.
    A vessel that is not closed (``keep`` above 0) stays connected, be it by a line of single pixels.

    Args:
        mask: (rows, cols) of the frame.
        points, normals: (n, 2). See ``FrameNarrowing``.
        diameter, keep, shift: (n,) See ``FrameNarrowing``.
        box: bounds the lesion.
    """
    x0, y0, x1, y1 = box
    out = mask.copy()
    if (keep >= 1).all():
        return out
    left, right = (_wall(mask, points, normals, diameter, side) for side in (-1, 1))
    # Where a branch leaves, its mask is no wall of this vessel.
    left, right = np.maximum(left, 1.25 * np.median(left) - 1), np.minimum(right, 1.25 * np.median(right) + 1)
    middle, half = (left + right) / 2, (right - left) / 2
    row, across = locate(points, normals, float(diameter.max()) + 3, x0, y0, x1, y1)
    place = np.arange(len(points))
    k, m, h, e = (np.interp(row, place, v) for v in (keep, middle, half, shift / np.maximum(diameter / 2, 1e-9)))
    inside = (row >= 0) & (k < 1) & (np.abs(across - m) <= h + 2)
    beyond = across - m - e * h
    # A wall that stays is no limit: a branch may leave there.
    low = np.where(e - k < STAYS - 1, -np.inf, -k * h)
    high = np.where(e + k > 1 - STAYS, np.inf, k * h)
    gone = inside & ((beyond < low) | (beyond > high) | (k * h < LEAST))
    if keep.min() > 0:  # else closed
        gone &= ~_line(points + (middle + shift / np.maximum(diameter / 2, 1e-9) * half)[:, None] * normals, box)
    out[y0:y1, x0:x1] &= ~gone
    return out


def _wall(mask: NDArray[np.bool_], points: Rows, normals: Rows, diameter: Rows, side: int) -> Rows:
    """Signed distance (n,) of the mask's wall from the centreline on one side, px."""
    reach = float(diameter.max())
    t = np.arange(0, reach, WALL_STEP)
    xy = points[:, None] + side * t[None, :, None] * normals[:, None]
    inside = (
        scipy.ndimage.map_coordinates(mask.astype(np.float32), [xy[..., 1], xy[..., 0]], order=1, mode="constant")
        >= 0.5
    )
    inside[:, 0] = True
    out = np.where(inside.all(axis=1), len(t), np.argmin(inside, axis=1))
    wall = scipy.ndimage.gaussian_filter1d(
        scipy.ndimage.median_filter((out - 0.5) * WALL_STEP, 5, mode="nearest"), 1.5, mode="nearest"
    )
    return np.asarray(side * wall)


def _line(points: Rows, box: PixelBox) -> NDArray[np.bool_]:
    """Pixels of a box on a polyline."""
    x0, y0, x1, y1 = box
    fine = np.linspace(0, len(points) - 1, 4 * len(points))
    place = np.arange(len(points))
    x = np.rint(np.interp(fine, place, points[:, 0])).astype(int) - x0
    y = np.rint(np.interp(fine, place, points[:, 1])).astype(int) - y0
    out = np.zeros((y1 - y0, x1 - x0), bool)
    ok = (x >= 0) & (y >= 0) & (x < x1 - x0) & (y < y1 - y0)
    out[y[ok], x[ok]] = True
    return out
