"""What a backend is asked to draw, and the protocol every backend has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.stenosis.masks import narrow_mask
from lesionforge.generators.stenosis.pixels import PixelBox
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.types import SeverityClass, Side


@dataclass(frozen=True)
class Narrowing:
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

    @cached_property
    def narrowed(self) -> NDArray[np.bool_]:
        """(rows, cols) of the frame: vessel after."""
        return narrow_mask(self.mask, self.points, self.normals, self.diameter, self.keep, self.shift, self.edit_box)


class Editor(Protocol):
    """Draws lesions. Only ``edit_box`` can change: nothing else is returned (promise P6)."""

    def prepare(self, device: str) -> None:
        """Load weights, compile kernels; once per worker. ``device`` is a torch device string."""

    def edit(
        self,
        images: Sequence[NDArray[np.uint8]],
        lesions: Sequence[Narrowing],
        rngs: Sequence[np.random.Generator],
    ) -> list[NDArray[np.uint8]]:
        """New grey values of each lesion's edit box, uint8 (y1 - y0, x1 - x0); whole frames (rows, cols) come in.

        ``rngs``: the sample's own stream per lesion; results must not depend on who shares the batch.
        """
