"""The slices of one CT series, put in order by where they lie, and what is wrong with them in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import iter_pixels, pixel_array

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.ct.axes import MAX_SHEAR_DEG, Axes, Floats
from lesionforge.engine.sources.ct.grouping import SAME
from lesionforge.engine.sources.ct.hounsfield import ValueCounts
from lesionforge.engine.sources.ct.scan import AIR, MAX_VOXELS
from lesionforge.engine.sources.dicom import number, numbers
from lesionforge.engine.sources.files import File
from lesionforge.generators.types import BadCase

MIN_SLICES = 3
SPACING_TOLERANCE = 0.02  # of the distance between slices: positions are written with few digits
MAX_TILT_DEG = 0.1
MAX_EDGE = 4096
MAX_JUMP_HU = 400  # of more than half of all places from a slice to the next one
HU_TYPES = ("", "HU", "US")  # US: not specified; then the values must tell


@dataclass(frozen=True)
class SliceStack:
    """Files of slices in order, and the affine from (column, row, slice) to LPS mm."""

    files: tuple[File, ...]
    affine: Floats
    shape: tuple[int, int, int]
    doubts: Mapping[str, str] = field(default_factory=dict)  # for a case's notes: which slices may lack

    @classmethod
    def of(cls, files: Sequence[File]) -> SliceStack:
        """Order the files by their slices' positions along the slices' normal.

        Raises:
            BadCase: for gaps, duplicates, uneven distances, a tilted gantry, and slices that do not fit together.
        """
        headers = [dicom.read(file.read(), dicom.CT_PLACE) for file in files]
        if any(number(h, "NumberOfFrames", 1) != 1 for h in headers):
            raise BadCase("is enhanced multi-frame CT, which is not read: convert it to one file a slice")
        if len(files) < MIN_SLICES:
            raise BadCase(f"has {len(files)} slices; {MIN_SLICES} or more are a volume")
        places = np.array([numbers(h, "ImagePositionPatient", 3) for h in headers])
        turned = np.array([numbers(h, "ImageOrientationPatient", 6) for h in headers])
        edges = np.array([numbers(h, "PixelSpacing", 2) for h in headers])
        sizes = {(int(numbers(h, "Columns", 1)[0]), int(numbers(h, "Rows", 1)[0])) for h in headers}
        if len(sizes) > 1 or np.ptp(turned, axis=0).max() > SAME or np.ptp(edges, axis=0).max() > SAME:
            raise BadCase("its slices differ in size, spacing or orientation")
        tilts = [abs(number(h, "GantryDetectorTilt", 0.0)) for h in headers]
        if max(tilts) > MAX_TILT_DEG:
            raise BadCase(f"was taken with the gantry tilted by {max(tilts):.1f} degrees; only upright ones are read")
        (size,) = sizes
        along, down = turned[0, :3], turned[0, 3:]
        if abs(_length(along) - 1) > 1e-3 or abs(_length(down) - 1) > 1e-3 or edges.min() <= 0:
            raise BadCase("its ImageOrientationPatient or PixelSpacing cannot be")
        normal = np.array([along[1] * down[2] - along[2] * down[1], along[2] * down[0] - along[0] * down[2],
                           along[0] * down[1] - along[1] * down[0]])  # fmt: skip
        heights = (places * normal).sum(1)
        order = np.argsort(heights, kind="stable")
        step = _step(heights[order])
        _miss_none(step, [number(h, "SpacingBetweenSlices", 0.0) for h in headers])
        start, end = places[order[0]], places[order[-1]]
        drift = end - start - (heights[order[-1]] - heights[order[0]]) * normal
        shear = math.degrees(math.atan2(_length(drift), abs(heights[order[-1]] - heights[order[0]])))
        if shear > MAX_SHEAR_DEG:
            raise BadCase(f"its slices are shifted along by {shear:.1f} degrees: taken with a tilted gantry")
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2] = along * edges[0, 1], down * edges[0, 0], normal * step
        affine[:3, 3] = start
        shape = (*size, len(files))
        if max(size) > MAX_EDGE or min(size) < 2 or math.prod(shape) > MAX_VOXELS:
            raise BadCase(f"has {' x '.join(map(str, shape))} voxels; at most {MAX_VOXELS} are read")
        return cls(tuple(files[i] for i in order), affine, shape, _doubts(step, [headers[i] for i in order]))

    def hu(self, axes: Axes) -> tuple[NDArray[np.int16], dict[str, Any]]:
        """HU along LPS, a slice in work at a time, and notes; what is padding becomes air."""
        out = np.empty(tuple(self.shape[a] for a in axes.order), np.int16)
        inside, padded = axes.stored(out), 0
        counts, before, offset_told = ValueCounts(), None, True
        for k, file in enumerate(self.files):
            try:
                one = HuSlice.of(file, self.shape)
            except BadCase as error:
                raise BadCase(f"slice {k + 1} of {len(self.files)}: {error}") from None
            inside[:, :, k] = one.hu
            padded += int(one.padding.sum())
            counts.add(one.hu, one.padding)
            offset_told &= one.scale[1] < 0
            if before is not None and one.scale != before.scale and (jump := one.apart_hu(before)) > MAX_JUMP_HU:
                raise BadCase(
                    f"slices {k} and {k + 1} of {len(self.files)} have other RescaleSlopes or RescaleIntercepts, and "
                    f"lie {jump:.0f} HU apart: write the true ones in them"
                )
            before = one
        counts.require_hu(offset_told)
        return out, {"padded_voxels": padded} if padded else {}


def _step(heights: Floats) -> float:
    """Distance in mm of sorted slices."""
    gaps = np.diff(heights)
    step = float(np.median(gaps[gaps > 1e-3])) if (gaps > 1e-3).any() else 0.0
    if twins := int((gaps < max(0.1 * step, 1e-3)).sum()):
        raise BadCase(f"{twins} of its {len(heights)} slices lie where another one lies: several phases in one series?")
    wide = np.flatnonzero(gaps > (1 + SPACING_TOLERANCE) * step + 1e-3)
    whole = np.round(gaps[wide] / step)
    if len(wide) and np.abs(gaps[wide] / step - whole).max() < 0.1 and whole.min() >= 2:
        first = int(wide[0])
        raise BadCase(
            f"lacks {int((whole - 1).sum())} slices: {gaps[first]:.2f} mm lie between slices {first + 1} and "
            f"{first + 2}, {step:.2f} mm between others"
        )
    if np.abs(gaps - step).max() > SPACING_TOLERANCE * step + 1e-3:
        raise BadCase(f"its slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart; one distance is needed")
    return float((heights[-1] - heights[0]) / (len(heights) - 1))


def _miss_none(step: float, told: Sequence[float]) -> None:
    """Refuse slices of which every second or third is there, by the distance that they say."""
    for mm in {abs(value) for value in told} - {0.0}:
        times = step / mm
        if round(times) > 1 and abs(times - round(times)) <= SPACING_TOLERANCE * times:
            raise BadCase(
                f"its slices lie {step:.2f} mm apart and say {mm:.2f} mm: {round(times) - 1} of {round(times)} lack"
            )


def _doubts(step: float, headers: Sequence[pydicom.Dataset]) -> dict[str, str]:
    """What says that every second or third slice alone is there, though volumes are also taken or numbered so."""
    out = {}
    numbered = np.diff([number(h, "InstanceNumber", 0.0) for h in headers])
    every = int(abs(numbered[0]))
    if every > 1 and (np.abs(numbered) == every).all():
        out["slices_lacking"] = f"its InstanceNumbers are {every} apart: {every - 1} of {every} slices may be missing"
    thick = float(np.median([number(h, "SliceThickness", 0.0) for h in headers]))
    if thick > 0 and step > 1.5 * thick:
        out["slices_apart"] = f"its slices lie {step:.2f} mm apart and are {thick:.2f} mm thick: some may be missing"
    return out


@dataclass(frozen=True)
class HuSlice:
    """HU (columns, rows) of one slice; where it is padding, by now air; the slope and intercept that made it HU."""

    hu: NDArray[np.int16]
    padding: NDArray[np.bool_]
    scale: tuple[float, float]

    @classmethod
    def of(cls, file: File, shape: tuple[int, int, int]) -> HuSlice:
        """From a file of a series of this shape."""
        header = dicom.read(file.read(), dicom.CT_SLICE)
        if number(header, "SamplesPerPixel", 1) != 1 or number(header, "NumberOfFrames", 1) != 1:
            raise BadCase("is no single grey frame")
        if (header.get("Columns"), header.get("Rows")) != shape[:2]:
            raise BadCase("has another size than before")  # the file changed, or says two things
        if dicom.text(header, "RescaleType").upper() not in HU_TYPES:
            raise BadCase("its RescaleType says that its values are no HU")
        slope, intercept = (float(numbers(header, key, 1)[0]) for key in ("RescaleSlope", "RescaleIntercept"))
        if slope == 0:
            raise BadCase("its RescaleSlope is 0, which makes all its values one")
        stored = pixels(header)[0]
        if stored.shape != (shape[1], shape[0]):
            raise BadCase(f"its pixels are {stored.shape}, not {(shape[1], shape[0])}")
        values = np.clip(np.rint(stored.astype(np.float64) * slope + intercept), -32768, 32767).astype(np.int16)
        empty = _padding(header, stored)
        values[empty] = AIR
        return cls(values.T, empty.T, (slope, intercept))

    def apart_hu(self, other: HuSlice) -> float:
        """How far the values lie from those of the next slice, at half of all places or more."""
        both = ~(self.padding | other.padding)
        gaps = self.hu[both].astype(np.int32) - other.hu[both]
        return abs(float(np.median(gaps))) if gaps.size else 0.0


def _padding(header: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a slice has no pixels: its PixelPaddingValue, or what lies between that and PixelPaddingRangeLimit.

    Either may be written signed where the pixels are not, and the other way round.
    """
    ends = [header.get(key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    bits = 8 * stored.dtype.itemsize
    out = [value % 2**bits for value in ends if isinstance(value, int)]
    if not isinstance(ends[0], int):
        return np.zeros(stored.shape, bool)
    if stored.dtype.kind == "i":
        out = [value - 2**bits if value >= 2 ** (bits - 1) else value for value in out]
    found: NDArray[np.bool_] = (stored >= min(out)) & (stored <= max(out))
    return found


def pixels(header: pydicom.Dataset) -> list[NDArray[Any]]:
    """All frames as they are stored.

    Raises:
        BadCase: where they cannot be decoded; pydicom's own text, which may hold values, is left out.
    """
    if "PixelData" not in header:
        raise BadCase("has no pixels")
    try:
        if header.get("BitsAllocated") == 1:  # iter_pixels reads no frames that begin within a byte
            found = pixel_array(header, raw=True)
            return list(found if found.ndim == 3 else found[None])
        return [np.asarray(frame) for frame in iter_pixels(header, raw=True)]
    except Exception as error:
        raise BadCase(f"its pixels cannot be decoded ({type(error).__name__})") from None


def _length(v: Floats) -> float:
    return math.sqrt(float((v * v).sum()))
