"""What an inserted lesion measures on the finished voxels, by code that is not told what was asked for (promise P5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import PLAQUES, VALUE, home
from lesionforge.generators.lesion.scene import Box
from lesionforge.generators.lesion.sections import areas, lumen_areas, sections
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel

CORE = 0.5  # of the greatest depth: what is deeper is the core, where a reader would put the region of interest
SHELL_MM = (1.0, 12.0)  # from a tumour's edge: the organ that it is compared with
SECTION_MM = 0.125  # between samples of a cross-section
SEARCH = 1.8  # radii of the vessel that a section reaches
REFERENCE_MM = 1.5  # healthy vessel to either side of a plaque
MLD_MM = 0.75  # the minimum is that of a mean over so much


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
    """A plaque's effect: percent diameter stenosis by the lumen's area, and where about the vessel the plaque lies.

    ``percent_ds_hu``: the same on the HU, where the lumen is what is nearer to its own level than to its
    surroundings'; None beside calcium, whose bloom hides the lumen's edge, and before there are HU.
    """

    percent_ds: float
    reference_mm: float
    mld_mm: float
    row: int  # of the vessel, where the lumen is least
    arc_deg: float
    outer_ratio: float  # diameter of lumen and plaque together at the minimum / reference diameter
    percent_ds_hu: float | None = None

    @property
    def area_stenosis(self) -> float:
        """Percent of the lumen's area that is gone."""
        return 100 * (1 - (1 - self.percent_ds / 100) ** 2)


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
    depth = _depth(own, spacing)
    gap = scipy.ndimage.distance_transform_edt(~own, sampling=spacing)
    around = (marks == VALUE[home(lesion_class)]) & (gap >= SHELL_MM[0]) & (gap <= SHELL_MM[1])
    voxels = int(own.sum())
    volume = voxels * spacing[0] * spacing[1] * spacing[2]
    return Region(box, depth > CORE * depth.max(), around, voxels, volume)


def _depth(own: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance of each voxel of a piece from the outside, mm, which includes what lies beyond the box."""
    ((a, b, c),) = scipy.ndimage.find_objects(own.view(np.uint8))
    out = np.zeros(own.shape)
    inner = scipy.ndimage.distance_transform_edt(np.pad(own[a, b, c], 1), sampling=spacing)
    out[a, b, c] = inner[1:-1, 1:-1, 1:-1]
    return out


def percent_ds(
    lumen: NDArray[np.bool_], vessel: CtVessel, rows: slice, spacing: tuple[float, float, float]
) -> tuple[float, float, float, int]:
    """Measure the lumen along a vessel: least diameter in ``rows``, reference by interpolation over them.

    The interpolated reference of DICOM PS3.17 T.4.2: a straight line through the mean diameters beside the lesion,
    read at the minimum. Diameters are those of circles of the sections' areas.

    Returns:
        Percent diameter stenosis, reference and least diameter in mm, and its row in the vessel.
    """
    wide, inner = _flanked(vessel, rows)
    radii = SEARCH * vessel.radii[wide]
    found = lumen_areas(lumen, spacing, vessel, wide, radii, SECTION_MM)
    percent, reference, mld, least = _stenosis(2 * np.sqrt(found / math.pi), inner)
    return percent, reference, mld, wide.start + least


def narrowing(
    labels: NDArray[np.uint8], vessel: CtVessel, rows: slice, spacing: tuple[float, float, float]
) -> PlaqueNarrowing:
    """All about a plaque's effect that its label shows; see ``percent_ds``."""
    lumen = labels == VALUE["coronary"]
    percent, reference, mld, least = percent_ds(lumen, vessel, rows, spacing)
    here, radii = slice(least, least + 1), SEARCH * vessel.radii[least : least + 1]
    plaque = np.isin(labels, [VALUE[name] for name in PLAQUES])
    thick = sections(plaque, spacing, vessel, here, float(radii[0]), SECTION_MM)
    both = sections(plaque | lumen, spacing, vessel, here, float(radii[0]), SECTION_MM)
    outer = 2 * math.sqrt(areas(both, 0.5, radii, SECTION_MM)[0] / math.pi)
    ratio = outer / reference if reference else 0.0
    return PlaqueNarrowing(percent, reference, mld, least, _arc(thick[0] >= 0.5), ratio)


def percent_ds_hu(
    hu: NDArray[np.int16], lesion_class: str, vessel: CtVessel, rows: slice, spacing: tuple[float, float, float]
) -> float | None:
    """See ``PlaqueNarrowing``."""
    if lesion_class not in ("non_calcified", "low_attenuation"):
        return None
    wide, inner = _flanked(vessel, rows)
    half = SEARCH * float(vessel.radii[wide].max())
    planes = sections(hu, spacing, vessel, wide, half, SECTION_MM)
    return _by_half_maximum(planes, vessel.radii[wide], inner)


def _flanked(vessel: CtVessel, rows: slice) -> tuple[slice, slice]:
    """The rows with the references beside them, and where the rows lie in those."""
    flank = int(REFERENCE_MM / STEP_MM)
    wide = slice(max(0, rows.start - flank), min(len(vessel.points), rows.stop + flank))
    return wide, slice(rows.start - wide.start, rows.stop - wide.start)


def _stenosis(diameters: NDArray[np.float64], inner: slice) -> tuple[float, float, float, int]:
    """Percent diameter stenosis, reference, least diameter and its row."""
    before, after = diameters[: inner.start], diameters[inner.stop :]
    ends = [float(part.mean()) if len(part) else float(diameters.max()) for part in (before, after)]
    smooth = scipy.ndimage.uniform_filter1d(diameters, max(1, round(MLD_MM / STEP_MM)), mode="nearest")
    least = inner.start + int(np.argmin(smooth[inner]))
    share = (least - inner.start) / max(1, inner.stop - inner.start - 1)
    reference, mld = (1 - share) * ends[0] + share * ends[1], float(smooth[least])
    return (100 * (1 - mld / reference) if reference else 0.0), reference, mld, least


def _by_half_maximum(planes: NDArray[np.float32], radii: NDArray[np.float64], inner: slice) -> float:
    middle = planes.shape[1] // 2
    beside = np.r_[planes[: inner.start, middle, middle], planes[inner.stop :, middle, middle]]
    lumen = float(np.median(beside if len(beside) else planes[:, middle, middle]))
    edge = np.r_[planes[:, 0].ravel(), planes[:, -1].ravel()]
    level = (lumen + float(np.median(edge))) / 2
    found = areas(planes, level, 1.3 * radii, SECTION_MM)
    return _stenosis(2 * np.sqrt(found / math.pi), inner)[0]


def _arc(plaque: NDArray[np.bool_]) -> float:
    """Degrees about the centreline in which a section shows plaque, in steps of 5."""
    a, b = np.nonzero(plaque)
    middle = plaque.shape[0] // 2
    angles = np.degrees(np.arctan2(b - middle, a - middle))
    return float(5 * len(np.unique(np.floor(angles % 360 / 5))))
