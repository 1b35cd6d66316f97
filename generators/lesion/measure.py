"""What an inserted lesion measures on the finished voxels, by code that is not told what was asked for (promise P5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from generators.lesion.classes import PLAQUES, VALUE, home
from generators.lesion.scene import Box
from generators.lesion.sections import areas, sections
from generators.lesion.vessels import STEP_MM, Vessel

CORE = 0.5  # of the greatest depth: what is deeper is the core, where a reader would put the region of interest
SHELL_MM = (1.0, 12.0)  # from a tumour's edge: the organ that it is compared with
SECTION_MM = 0.1  # between samples of a cross-section
SEARCH = 1.8  # radii of the vessel that a section reaches
REFERENCE_MM = 1.5  # healthy vessel to either side of a plaque
MLD_MM = 0.75  # the minimum is that of a mean over so much


@dataclass(frozen=True)
class Tissue:
    """A lesion's size and density. ``contrast_hu``: core less the organ around it, or less the lumen."""

    voxels: int
    volume_mm3: float
    mean_hu: float
    contrast_hu: float
    components: int


@dataclass(frozen=True)
class Narrowing:
    """A plaque's effect: percent diameter stenosis by the lumen's area, and where about the vessel the plaque lies.

    ``percent_ds_hu``: the same on the HU, where the lumen is what is nearer to its own level than to its
    surroundings'; None beside calcium, whose bloom hides the lumen's edge.
    """

    percent_ds: float
    percent_ds_hu: float | None
    reference_mm: float
    mld_mm: float
    row: int  # of the vessel, where the lumen is least
    arc_deg: float
    outer_ratio: float  # diameter of lumen and plaque together at the minimum / reference diameter

    @property
    def area_stenosis(self) -> float:
        """Percent of the lumen's area that is gone."""
        return 100 * (1 - (1 - self.percent_ds / 100) ** 2)


def tissue(
    hu: NDArray[np.int16],
    labels: NDArray[np.uint8],
    lesion_class: str,
    box: Box,
    at: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> Tissue:
    """Measure the lesion that holds the voxel ``at``.

    Args:
        hu: of the scene.
        labels: of the scene.
        lesion_class: of the lesion, which says its label.
        box: about it; its own voxels reach no face of the box but where the scene ends.
        at: one of its voxels.
        spacing: of the voxels, mm.
    """
    near, marks = hu[box], labels[box]
    parts, _ = ndimage.label(marks == VALUE[lesion_class])
    a, b, c = (x - s.start for x, s in zip(at, box, strict=True))
    own = parts == parts[a, b, c]
    padded = ndimage.distance_transform_edt(np.pad(own, 1), sampling=spacing)
    depth = padded[1:-1, 1:-1, 1:-1]
    core = depth >= CORE * depth.max()
    mean = float(near[core].mean())
    gap = ndimage.distance_transform_edt(~own, sampling=spacing)
    around = (marks == VALUE[home(lesion_class)]) & (gap >= SHELL_MM[0]) & (gap <= SHELL_MM[1])
    level = float(np.median(near[around])) if around.any() else mean
    _, pieces = ndimage.label(own)
    voxels = int(own.sum())
    return Tissue(voxels, voxels * spacing[0] * spacing[1] * spacing[2], mean, mean - level, pieces)


def narrowing(
    hu: NDArray[np.int16] | None,
    labels: NDArray[np.uint8],
    lesion_class: str,
    vessel: Vessel,
    rows: slice,
    spacing: tuple[float, float, float],
) -> Narrowing:
    """Measure the lumen along a vessel: least diameter in ``rows``, reference by interpolation over them.

    The interpolated reference of DICOM PS3.17 T.4.2: a straight line through the mean diameters beside the lesion,
    read at the minimum. Diameters are those of circles of the sections' areas.
    """
    flank = int(REFERENCE_MM / STEP_MM)
    wide = slice(max(0, rows.start - flank), min(len(vessel.points), rows.stop + flank))
    radii = vessel.radii[wide]
    half = SEARCH * float(radii.max())
    lumen = sections(labels == VALUE["coronary"], spacing, vessel, wide, half, SECTION_MM)
    inner = slice(rows.start - wide.start, rows.stop - wide.start)
    found = areas(lumen, 0.5, SEARCH * radii, SECTION_MM)
    percent, reference, mld, least = _stenosis(2 * np.sqrt(found / math.pi), inner)
    plaque = np.isin(labels, [VALUE[name] for name in PLAQUES])
    thick = sections(plaque, spacing, vessel, wide, half, SECTION_MM)
    both = areas((lumen + thick)[least : least + 1], 0.5, SEARCH * radii[least : least + 1], SECTION_MM)
    ratio = float(2 * np.sqrt(both[0] / math.pi) / reference) if reference else 0.0
    by_hu = None
    if hu is not None and lesion_class in ("non_calcified", "low_attenuation"):
        planes = sections(hu, spacing, vessel, wide, half, SECTION_MM)
        by_hu = _by_half_maximum(planes, radii, inner)
    return Narrowing(percent, by_hu, reference, mld, wide.start + least, _arc(thick[least] >= 0.5), ratio)


def _stenosis(diameters: NDArray[np.float64], inner: slice) -> tuple[float, float, float, int]:
    """Percent diameter stenosis, reference, least diameter and its row."""
    before, after = diameters[: inner.start], diameters[inner.stop :]
    ends = [float(part.mean()) if len(part) else float(diameters.max()) for part in (before, after)]
    smooth = ndimage.uniform_filter1d(diameters, max(1, round(MLD_MM / STEP_MM)), mode="nearest")
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
    return float(5 * len(np.unique(np.floor(angles / 5))))
