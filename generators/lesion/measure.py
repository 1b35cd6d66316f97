"""What an inserted lesion measures on the finished voxels, by code that is not told what was asked for (promise P5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import PLAQUES, VALUE, home
from lesionforge.generators.lesion.lumen import SEARCH, Stenosis, flanked, stenosis
from lesionforge.generators.lesion.scene import Box
from lesionforge.generators.lesion.sections import areas, lumen_areas, sections
from lesionforge.generators.lesion.vessels import CtVessel

CORE = 0.5  # of the greatest depth: what is deeper is the core, where a reader would put the region of interest
LEAST_CORE = 8  # voxels
SHELL_MM = (1.0, 12.0)  # from a tumour's edge: the organ that it is compared with
SECTION_MM = 0.125  # between samples of a cross-section


@dataclass(frozen=True)
class Tissue:
    """A lesion's density: ``contrast_hu``: core less the organ around it, or less the lumen."""

    mean_hu: float
    contrast_hu: float


@dataclass(frozen=True)
class Region:
    """A lesion on the finished label map: its box, its core and what lies around it (bool of the box's shape)."""

    box: Box
    core: NDArray[np.bool_]
    around: NDArray[np.bool_]
    voxels: int
    volume_mm3: float

    def read(self, hu: NDArray[np.int16]) -> Tissue:
        """Measure its HU in a scene."""
        near = hu[self.box]
        mean = float(near[self.core].mean())
        level = float(np.median(near[self.around])) if self.around.any() else mean
        return Tissue(mean, mean - level)


@dataclass(frozen=True)
class PlaqueNarrowing:
    """A plaque's effect on the label map, and where about the vessel it lies.

    ``arc_deg``: at the minimum. ``outer_ratio``: diameter of lumen and plaque together there / reference diameter.
    ``hu``: the stenosis as the HU show it (``lumen.read``), once there are any.
    """

    label: Stenosis
    arc_deg: float
    outer_ratio: float
    hu: Stenosis | None = None


def region(
    labels: NDArray[np.uint8],
    lesion_class: str,
    box: Box,
    at: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> Region:
    """Measure the lesion that holds the voxel ``at``: the 6-connected piece of its label there.

    Args:
        labels: of the scene.
        lesion_class: of the lesion, which says its label.
        box: about it; its own voxels reach no face of the box but where the scene ends.
        at: one of its voxels.
        spacing: of the voxels, mm.
    """
    marks = labels[box]
    parts, _ = scipy.ndimage.label(marks == VALUE[lesion_class])
    a, b, c = (x - s.start for x, s in zip(at, box, strict=True))
    own = parts == parts[a, b, c]
    gap = scipy.ndimage.distance_transform_edt(~own, sampling=spacing)
    around = (marks == VALUE[home(lesion_class)]) & (gap >= SHELL_MM[0]) & (gap <= SHELL_MM[1])
    voxels = int(own.sum())
    volume = voxels * spacing[0] * spacing[1] * spacing[2]
    return Region(box, core(own, spacing), around, voxels, volume)


def core(own: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """The voxels of one piece that lie deeper in it than ``CORE`` of the greatest depth, and not at its surface.

    Half of a surface voxel is what lies beside: it counts only where hardly anything lies deeper.
    """
    depth = _depth(own, spacing)
    out: NDArray[np.bool_] = depth > CORE * depth.max()
    inner = out & scipy.ndimage.binary_erosion(own, border_value=1)
    return inner if np.count_nonzero(inner) >= LEAST_CORE else out


def _depth(own: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance of each voxel of a piece from the outside, mm, which includes what lies beyond the box."""
    ((a, b, c),) = scipy.ndimage.find_objects(own.view(np.uint8))
    out = np.zeros(own.shape)
    inner = scipy.ndimage.distance_transform_edt(np.pad(own[a, b, c], 1), sampling=spacing)
    out[a, b, c] = inner[1:-1, 1:-1, 1:-1]
    return out


def percent_ds(
    lumen: NDArray[np.bool_], vessel: CtVessel, rows: slice, spacing: tuple[float, float, float]
) -> Stenosis:
    """Measure a lumen's label along a vessel: least diameter in ``rows``, reference by interpolation over them."""
    wide, inner = flanked(vessel, rows)
    found = lumen_areas(lumen, spacing, vessel, wide, SEARCH * vessel.radii[wide], SECTION_MM)
    return stenosis(2 * np.sqrt(found / math.pi), inner, wide.start)


def narrowing(
    labels: NDArray[np.uint8], vessel: CtVessel, rows: slice, spacing: tuple[float, float, float]
) -> PlaqueNarrowing:
    """All about a plaque's effect that its label shows."""
    lumen = labels == VALUE["coronary"]
    found = percent_ds(lumen, vessel, rows, spacing)
    here, radii = slice(found.row, found.row + 1), SEARCH * vessel.radii[found.row : found.row + 1]
    plaque = np.isin(labels, [VALUE[name] for name in PLAQUES])
    thick = sections(plaque, spacing, vessel, here, float(radii[0]), SECTION_MM)
    both = sections(plaque | lumen, spacing, vessel, here, float(radii[0]), SECTION_MM)
    outer = 2 * math.sqrt(areas(both, 0.5, radii, SECTION_MM)[0] / math.pi)
    ratio = outer / found.reference_mm if found.reference_mm else 0.0
    return PlaqueNarrowing(found, _arc(thick[0] >= 0.5), ratio)


def _arc(plaque: NDArray[np.bool_]) -> float:
    """Degrees about the centreline in which a section shows plaque, in steps of 5."""
    a, b = np.nonzero(plaque)
    middle = plaque.shape[0] // 2
    angles = np.degrees(np.arctan2(b - middle, a - middle))
    return float(5 * len(np.unique(np.floor(angles % 360 / 5))))
