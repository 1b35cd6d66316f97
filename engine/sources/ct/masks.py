"""Masks of a CT series: DICOM segmentations (SEG) and NRRD files, by the standard names of what they show."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.ct.axes import SAME_PLACE_MM, Axes, Floats, apart_mm
from lesionforge.engine.sources.ct.names import TUMOUR_OF_SOMETHING, lesion_in, organ_in
from lesionforge.engine.sources.ct.nrrd import read_mask
from lesionforge.engine.sources.ct.scan import MAX_VOXELS
from lesionforge.engine.sources.ct.series import pixels
from lesionforge.engine.sources.dicom import number, numbers
from lesionforge.engine.sources.files import File, stem
from lesionforge.generators.structures import ORGANS
from lesionforge.generators.types import BadCase

Mask = NDArray[np.bool_]


def name_of(texts: Sequence[str], names: Mapping[str, str]) -> str | None:
    """The standard name for what a file or a segment is called: the option's first pattern that fits, or the organ.

    A lesion that one text tells of and the organ that another one names are a lesion of that organ.
    """
    for text in texts:
        for pattern, name in names.items():
            if fnmatch.fnmatchcase(text.lower(), pattern.lower()):
                return name
    together = " ".join(texts)
    if lesion_in(together):
        return organ_in(together) or TUMOUR_OF_SOMETHING
    return next((organ for organ in map(organ_in, texts) if organ), None)


def with_organs(found: Mapping[str, Mask]) -> dict[str, Mask]:
    """The masks with a tumour that names no organ called after the one organ beside it.

    Raises:
        BadCase: where there are several: it would become background.
    """
    out = dict(found)
    if (mask := out.pop(TUMOUR_OF_SOMETHING, None)) is None:
        return out
    organs = [name for name in out if name in ORGANS]
    if len(organs) != 1:
        raise BadCase(
            f"one of its masks marks a lesion in {np.count_nonzero(mask)} voxels and no one organ: say whose it is in "
            "the option masks, as {'*tumor*': liver_tumour}"
        )
    name = f"{organs[0]}_tumour"
    return {**out, name: out[name] | mask if name in out else mask}


def from_nrrd(
    file: File, names: Mapping[str, str], affine: Floats, shape: tuple[int, ...]
) -> tuple[str | None, Mask | None]:
    """The name and the mask along LPS; None where nobody says what it shows, or where it lies on other voxels.

    Args:
        affine, shape: of the series' voxels along LPS.
    """
    name = name_of([stem(file.name)], names)
    if name is None:
        return None, None
    mask, own = read_mask(file.read())
    axes = Axes.of(own)
    turned = axes.turn(mask)
    if turned.shape != shape or apart_mm(axes.turned(own, mask.shape), affine, shape) > SAME_PLACE_MM:
        return None, None
    return name, turned


def from_seg(
    data: bytes, names: Mapping[str, str], affine: Floats, shape: tuple[int, int, int]
) -> Iterator[tuple[str | None, Mask]]:
    """The segments of a DICOM segmentation by name as masks (column, row, slice) on a series' own voxels.

    A segment that nobody names comes without one.

    Args:
        affine, shape: of the series as stored.

    Raises:
        BadCase: where its frames do not lie on the series' slices.
    """
    header = dicom.read(data, dicom.SEGMENTATION)
    count = int(number(header, "NumberOfFrames", 1))
    size = int(number(header, "Columns", 0)), int(number(header, "Rows", 0))
    if header.get("SegmentationType") != "BINARY":
        raise BadCase("its segmentation is not binary")
    if size != shape[:2]:
        raise BadCase(f"its segmentation has {size[0]} x {size[1]} pixels, its slices {shape[0]} x {shape[1]}")
    if count < 1 or size[0] * size[1] * count > MAX_VOXELS:
        raise BadCase(f"its segmentation claims {count} frames")
    titles = {}
    for segment in header.get("SegmentSequence") or ():
        types = segment.get("SegmentedPropertyTypeCodeSequence") or [pydicom.Dataset()]
        texts = (str(segment.get("SegmentLabel", "") or ""), str(types[0].get("CodeMeaning", "") or ""))
        titles[int(numbers(segment, "SegmentNumber", 1)[0])] = name_of(texts, names)
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    frames = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    if len(frames) != count:
        raise BadCase(f"its segmentation places {len(frames)} of {count} frames")
    _check_turn(shared, frames, affine)
    normal = affine[:3, 2]
    step2 = float((normal * normal).sum())
    masks: dict[str | None, Mask] = {}
    for frame, plane in zip(frames, pixels(header), strict=True):
        which = int(numbers(_group(frame, shared, "SegmentIdentificationSequence"), "ReferencedSegmentNumber", 1)[0])
        name = titles.get(which)
        at = numbers(_group(frame, shared, "PlanePositionSequence"), "ImagePositionPatient", 3)
        k = round(float(((at - affine[:3, 3]) * normal).sum()) / step2)
        gap = at - affine[:3, 3] - k * normal
        far = math.sqrt(float((gap * gap).sum()))
        if far > SAME_PLACE_MM or not 0 <= k < shape[2]:
            raise BadCase(f"a frame of its segmentation lies {far:.1f} mm from its slices, at number {k + 1}")
        mask = masks.setdefault(name, np.zeros(shape, bool))
        mask[:, :, k] |= plane.T > 0
    yield from masks.items()


def _check_turn(shared: pydicom.Dataset, frames: list[pydicom.Dataset], affine: Floats) -> None:
    """Refuse frames that are turned against the slices, or have pixels of another size."""
    turned = numbers(_group(frames[0], shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    edges = numbers(_group(frames[0], shared, "PixelMeasuresSequence"), "PixelSpacing", 2)
    wrong = max(
        float(np.abs(turned[:3] * edges[1] - affine[:3, 0]).max()),
        float(np.abs(turned[3:] * edges[0] - affine[:3, 1]).max()),
    )
    if wrong > 1e-3:
        raise BadCase("its segmentation's frames have another orientation or spacing than its slices")


def _group(frame: pydicom.Dataset, shared: pydicom.Dataset, key: str) -> Any:
    """A functional group of a frame, or the one that all frames share."""
    found = frame.get(key) or shared.get(key) or [pydicom.Dataset()]
    return found[0]
