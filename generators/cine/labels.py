"""What is true of a frame: where each lesion is, how it looks from there, and what a pixel shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.contrast import OPACIFIED
from lesionforge.generators.cine.tubes import Projected
from lesionforge.generators.cine.vessels import ARTERIES, Floats, Narrowing, Vessels
from lesionforge.generators.kernels import jit
from lesionforge.generators.types import severity_class, significant

OTHER_VESSEL, DEVICE, CATHETER = 200, 254, 255  # values of a mask; SYNTAX segments from 1 on
#: Mask value of each segment, the same in every sample; the arteries' own names for trees without segments.
VALUES: Final[Mapping[str, int]] = {name: n for n, name in enumerate(ARTERIES, 1)}
MASK_VALUES: Final[Mapping[str, str]] = {
    **{str(n): name for name, n in VALUES.items()},
    str(OTHER_VESSEL): "vessel", str(DEVICE): "device", str(CATHETER): "catheter",
}  # fmt: skip
FORESHORTENED, OVERLAPPED, THIN_PX, INSIDE = 0.6, 0.6, 2.5, 0.6  # beyond these a lesion is not visible; see ``Seen``
_CLEAR_MM = 2.0  # vessels as near as this to a lesion's walls are its own neighbours, which hide nothing


def codes(vessels: Vessels) -> NDArray[np.uint8]:
    """Mask value (n,) of each point of the vessels."""
    table = np.array([*(VALUES[name] for name in vessels.names), OTHER_VESSEL], np.uint8)
    return table[vessels.segment]


@dataclass(frozen=True)
class Seen:
    """A lesion in one frame.

    Attributes:
        box: x0, y0, x1, y1 about the vessel's healthy width over the lesion's length, cut at the picture's border.
        percent_ds: percent diameter stenosis of the lumen as projected, where its silhouette is narrowest.
        foreshortening: share of its length that the view does not show.
        overlap: share of its length that other vessels or the catheter cross.
        visible: its narrowest place and more than half of its box lie in the field, contrast is there, the vessel is
            2.5 px wide, and neither foreshortening nor overlap is above .6.
    """

    box: tuple[float, float, float, float]
    percent_ds: float
    foreshortening: float
    overlap: float
    visible: bool

    def to_json(self, index: int) -> dict[str, Any]:
        """As a label; ``index`` into the run's stenoses."""
        return {
            "stenosis": index,
            "box": [round(edge, 2) for edge in self.box],
            "percent_ds": round(self.percent_ds, 1),
            "foreshortening": round(self.foreshortening, 3),
            "overlap": round(self.overlap, 3),
            "visible": self.visible,
        }


class Site:
    """A lesion of a tree: what of it is the same in every frame.

    Args:
        vessels: the tree.
        lesion: one of its lesions.
    """

    def __init__(self, vessels: Vessels, lesion: Narrowing) -> None:
        self.lesion = lesion
        self.part = slice(lesion.first, lesion.last + 1)
        points, healthy = vessels.points[self.part], vessels.healthy[self.part]
        self.healthy, self.radii = healthy, vessels.radii
        # The lumen's centre has moved away from the plaque; the healthy vessel's, which a box is about, has not.
        moved = lesion.eccentric * np.maximum(healthy - vessels.radii[self.part], 0)
        self.off = moved[:, None] * np.array(lesion.direction)
        gaps = np.full(len(vessels.points), np.inf)
        for point, radius in zip(points, healthy.tolist(), strict=True):
            gaps = np.minimum(gaps, np.sqrt(((vessels.points - point) ** 2).sum(1)) - radius - vessels.healthy)
        self.hiding = (gaps > _CLEAR_MM) & (vessels.healthy > 0.35)
        length = np.sqrt((np.diff(points, axis=0) ** 2).sum(1)).sum()
        reach = max(4, round(2 * float(healthy.max()) / max(float(length) / max(len(points) - 1, 1), 1e-3)))
        same = np.flatnonzero(vessels.branch == vessels.branch[lesion.first])
        self.around = slice(max(lesion.first - reach, int(same[0])), min(lesion.last + reach, int(same[-1])) + 1)

    def seen(
        self,
        points: Floats,
        at: Projected,
        axes: Floats,
        concentration: Floats,
        field: NDArray[np.bool_],
        others: tuple[Floats, Floats, Floats],
    ) -> Seen | None:
        """The lesion in a frame; None where its box lies outside the picture.

        Args:
            points: the vessels' points (n, 3) in this frame, LPS mm.
            at: the same on the detector.
            axes: of the view, as ``View.axes``.
            concentration: of contrast (n,).
            field: what the collimator leaves open.
            others: rows, columns and radii in pixels of what else may hide it.
        """
        part, middle = self.part, self.lesion.minimum
        row, col = (
            line[part] - (self.off * axis).sum(1) * at.scale[part]
            for line, axis in ((at.row, axes[1]), (at.col, axes[0]))
        )
        wide = self.healthy * at.scale[part]
        edges = np.array([(col - wide).min(), (row - wide).min(), (col + wide).max(), (row + wide).max()]) + 0.5
        rows, cols = field.shape
        x0, y0, x1, y1 = np.clip(edges, 0, (cols, rows, cols, rows)).tolist()
        if x1 - x0 < 1 or y1 - y0 < 1:
            return None
        inside = (x1 - x0) * (y1 - y0) / float((edges[2] - edges[0]) * (edges[3] - edges[1]))
        i, j = math.floor(at.row[middle] + 0.5), math.floor(at.col[middle] + 0.5)
        inside *= bool(0 <= i < rows and 0 <= j < cols and field[i, j])
        steps = np.diff(points[part], axis=0)
        length = float((np.sqrt((steps * steps).sum(1)) * at.scale[part][1:]).sum())
        shown = float(np.sqrt(np.diff(at.row[part]) ** 2 + np.diff(at.col[part]) ** 2).sum())
        foreshortening = min(max(1 - shown / max(length, 1e-9), 0.0), 1.0)
        overlap = self._overlap(at, concentration, others)
        entry = concentration[self.lesion.first]
        width = float(self.healthy[middle - part.start] * at.scale[middle])
        around = self.around
        apparent = _apparent(
            at.row[around], at.col[around], (self.radii[around] * at.scale[around]),
            part.start - around.start, part.stop - around.start, 2 * wide,
        )  # fmt: skip
        visible = inside > INSIDE and entry >= OPACIFIED / 2 and width >= THIN_PX
        visible = visible and foreshortening <= FORESHORTENED and overlap <= OVERLAPPED
        return Seen((x0, y0, x1, y1), 100 * apparent, foreshortening, overlap, bool(visible))

    def _overlap(self, at: Projected, concentration: Floats, others: tuple[Floats, Floats, Floats]) -> float:
        hiding = self.hiding & (concentration > OPACIFIED / 2)
        part = self.part
        rows = np.concatenate([at.row[hiding], others[0]])
        cols = np.concatenate([at.col[hiding], others[1]])
        radii = np.concatenate([self.radii[hiding] * at.scale[hiding], others[2]])
        return _crossed(at.row[part], at.col[part], self.healthy * at.scale[part], rows, cols, radii)


@jit
def _crossed(row: Floats, col: Floats, wide: Floats, rows: Floats, cols: Floats, radii: Floats) -> float:
    """Share of a lesion's points on which another tube lies by half of its width."""
    hit = 0
    for n in range(len(row)):
        for m in range(len(rows)):
            reach = radii[m] + 0.5 * wide[n]
            y, x = rows[m] - row[n], cols[m] - col[n]
            if y * y + x * x < reach * reach:
                hit += 1
                break
    return hit / max(len(row), 1)


@jit
def _apparent(row: Floats, col: Floats, radius: Floats, first: int, last: int, healthy: Floats) -> float:
    """1 - width / healthy width where the silhouette is narrowest, read across the vessel at each of its points.

    A width is that of the union of discs, so what is foreshortened hides behind its wider neighbours.
    """
    narrow = 0.0
    for n in range(first, last):
        a, b = max(n - 2, 0), min(n + 2, len(row) - 1)
        dy, dx = row[b] - row[a], col[b] - col[a]
        length = math.sqrt(dy * dy + dx * dx)
        if length < 1e-6:
            continue
        dy, dx = dy / length, dx / length
        low, high = 0.0, 0.0
        for m in range(len(row)):
            y, x = row[m] - row[n], col[m] - col[n]
            along, across = y * dy + x * dx, x * dy - y * dx
            gap = radius[m] * radius[m] - along * along
            if gap > 0:
                half = math.sqrt(gap)
                low, high = min(low, across - half), max(high, across + half)
        narrow = max(narrow, 1.0 - (high - low) / max(healthy[n - first], 1e-9))
    return narrow


def stenoses(lesions: Sequence[Narrowing], points: Floats) -> list[dict[str, Any]]:
    """Labels of a tree's lesions; ``points`` (n, 3) of its vessels at rest, about the isocentre."""
    out = []
    for lesion in lesions:
        out.append(
            {
                "segment": lesion.segment,
                "artery": lesion.artery,
                "percent_ds": significant(lesion.percent_ds),
                "severity_class": severity_class(lesion.percent_ds),
                "mld_mm": significant(lesion.mld_mm),
                "reference_mm": significant(lesion.reference_mm),
                "length_mm": significant(lesion.length_mm),
                "eccentric": significant(lesion.eccentric),
                "point_mm": [significant(x) for x in points[lesion.minimum].tolist()],
                "kind": lesion.kind,
            }
        )
    return out


def arteries(names: Sequence[str], lesions: Sequence[Narrowing]) -> dict[str, float]:
    """The worst %DS of each artery of a tree; 0 in one without lesions."""
    worst: dict[str, float] = {ARTERIES[name]: 0.0 for name in names}
    for lesion in lesions:
        if lesion.artery:
            worst[lesion.artery] = max(worst.get(lesion.artery, 0.0), significant(lesion.percent_ds))
    return worst


def of_still(frame: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A frame's visible boxes as lesions of a single picture."""
    return [
        {
            "box": box["box"],
            "severity_class": known[box["stenosis"]]["severity_class"],
            "percent_ds": known[box["stenosis"]]["percent_ds"],
            "synthetic": True,
        }
        for box in frame["boxes"]
        if box["visible"]
    ]
