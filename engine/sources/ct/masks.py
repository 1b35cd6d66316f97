"""Masks of a CT series: DICOM segmentations (SEG) and NRRD files, by the standard names of what they show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.ct import segments
from lesionforge.engine.sources.ct.axes import SAME_PLACE_MM, Axes, Floats, box_in
from lesionforge.engine.sources.ct.names import TUMOUR_OF_SOMETHING, UNKNOWN, name_of, owned
from lesionforge.engine.sources.ct.nrrd import Nrrd, segment_names, sizes
from lesionforge.engine.sources.ct.scan import MAX_VOXELS
from lesionforge.engine.sources.ct.series import pixels
from lesionforge.engine.sources.dicom import number, numbers
from lesionforge.engine.sources.files import File
from lesionforge.generators.structures import kind
from lesionforge.generators.types import BadCase

Mask = NDArray[np.bool_]


def _nobody_knows(count: int) -> BadCase:
    """Of a mask: it may be a lesion, and would count as the organ around it, or as background."""
    return BadCase(
        f"marks {count} voxels, and its name says no anatomy or lesion known here: say what it is in the option masks, "
        "as {'*fnh*': liver_tumour}, or leave it out, as {'*fnh*': background}"
    )


def with_organs(found: Mapping[str, Mask]) -> dict[str, Mask]:
    """The masks with lesions that name no organ called after the one organ beside them.

    Raises:
        BadCase: where there are several: they would become background.
    """
    own = owned(found)
    if TUMOUR_OF_SOMETHING in own.values():
        count = np.count_nonzero(found[TUMOUR_OF_SOMETHING])
        raise BadCase(
            f"one of its masks marks a lesion in {count} voxels and no one organ: say whose it is in the option masks, "
            "as {'*tumor*': liver_tumour}"
        )
    out: dict[str, Mask] = {}
    for name, mask in found.items():
        out[own[name]] = out[own[name]] | mask if own[name] in out else mask
    return out


def from_nrrd(
    file: File, called: Sequence[str], names: Mapping[str, str], affine: Floats, shape: tuple[int, ...]
) -> tuple[str | None, Mask | None]:
    """The name and the mask along LPS; None for what is left out: other anatomy, or an image, as a second CT.

    What lies on other voxels is left out with its name.

    Args:
        called: what the file's name says, and that of its folder.
        affine, shape: of the series' voxels along LPS.

    Raises:
        BadCase: for a mask that cannot be read, and for one that marks something and nobody knows what.
    """
    data = file.read()
    segments = segment_names(data)
    name = name_of([*called, *segments], names)
    if name is None:
        return None, None
    try:
        own = Nrrd.of(data)
        axes = Axes.of(own.affine)
    except BadCase:
        if segments or name != UNKNOWN or sorted(sizes(data)) == sorted(shape):
            raise
        return None, None
    box = box_in(axes.turned(own.affine, own.shape), tuple(own.shape[a] for a in axes.order), affine, shape)
    if box is None:
        return name, None
    if len(segments) > 1 and own.marked():
        raise BadCase(f"holds {len(segments)} segments: store a structure a file")
    if name == UNKNOWN and (marked := own.marked()):
        raise _nobody_knows(marked)
    if name == UNKNOWN or (kind(name) == "healthy" and own.values.min() < -1):
        return None, None
    out = np.zeros(shape, bool)
    out[box] = axes.turn(own.mask())
    return name, out


def from_seg(
    data: bytes, told: str, names: Mapping[str, str], affine: Floats, shape: tuple[int, int, int]
) -> Iterator[tuple[str | None, Mask]]:
    """The segments of a DICOM segmentation by name as masks (column, row, slice) on a series' own voxels.

    A segment that is left out comes without one.

    Args:
        told: what the file's own name says.
        affine, shape: of the series as stored.

    Raises:
        BadCase: where its frames do not lie on the series' slices, and for a segment that nobody knows.
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
    titles, doubted = segments.titles(header, names, told)
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    frames = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    if len(frames) != count:
        raise BadCase(f"its segmentation places {len(frames)} of {count} frames")
    _check_turn(shared, frames, affine)
    normal = affine[:3, 2]
    step2 = float((normal * normal).sum())
    masks: dict[str | None, Mask] = {}
    strange: dict[int, int] = {}
    for frame, plane in zip(frames, pixels(header), strict=True):
        which = int(numbers(_group(frame, shared, "SegmentIdentificationSequence"), "ReferencedSegmentNumber", 1)[0])
        name = titles.get(which, UNKNOWN)
        at = numbers(_group(frame, shared, "PlanePositionSequence"), "ImagePositionPatient", 3)
        k = round(float(((at - affine[:3, 3]) * normal).sum()) / step2)
        gap = at - affine[:3, 3] - k * normal
        far = math.sqrt(float((gap * gap).sum()))
        if far > SAME_PLACE_MM or not 0 <= k < shape[2]:
            raise BadCase(f"a frame of its segmentation lies {far:.1f} mm from its slices, at number {k + 1}")
        if name == UNKNOWN:
            strange[which] = strange.get(which, 0) + int(np.count_nonzero(plane))
            continue
        mask = masks.setdefault(name, np.zeros(shape, bool))
        mask[:, :, k] |= plane.T > 0
    for which, count in strange.items():
        if count:
            why = segments.doubt(count) if which in doubted else _nobody_knows(count)
            raise BadCase(f"segment {which} of its segmentation {why}")
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
