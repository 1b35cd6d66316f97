"""The only elements of a CT series and of a DICOM segmentation that are ever looked at (promise P8; see ``xa_header``).

UIDs decide which files belong together, as a patient's id decides which series do; they go no further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.files import File
from lesionforge.generators.types import BadCase

_POSITION = {"PlanePositionSequence": {"ImagePositionPatient": None}}
_SHARED = {
    "PlaneOrientationSequence": {"ImageOrientationPatient": None},
    "PixelMeasuresSequence": {"PixelSpacing": None, "SpacingBetweenSlices": None},
}
_SEGMENT = {"SegmentIdentificationSequence": {"ReferencedSegmentNumber": None}}
_PIXELS: Mapping[str, Any] = dict.fromkeys(
    ("Modality", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
     "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
)  # fmt: skip
_PLACE: Mapping[str, Any] = dict.fromkeys(
    ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "GantryDetectorTilt", "ImageType",
     "RescaleSlope", "RescaleIntercept", "PixelPaddingValue")
)  # fmt: skip
_DATA: Mapping[str, Any] = {"PixelData": None, "ExtendedOffsetTable": None, "ExtendedOffsetTableLengths": None}
PLACE: Mapping[str, Any] = {**_PIXELS, **_PLACE}
SLICE: Mapping[str, Any] = {**PLACE, **_DATA}
SEGMENTATION: Mapping[str, Any] = {
    **_PIXELS,
    **_DATA,
    "SegmentationType": None,
    "SegmentSequence": {
        "SegmentNumber": None,
        "SegmentLabel": None,  # compared with standard names, never written anywhere
        "SegmentedPropertyTypeCodeSequence": {"CodeMeaning": None},
    },
    "SharedFunctionalGroupsSequence": {**_SHARED, **_POSITION, **_SEGMENT},
    "PerFrameFunctionalGroupsSequence": {**_SHARED, **_POSITION, **_SEGMENT},
}
#: These decide what belongs together.
GROUPING = ("PatientID", "IssuerOfPatientID", "SeriesInstanceUID", "ReferencedSeriesSequence", "FrameOfReferenceUID",
            "Modality", "ImageType", "Rows", "Columns", "ConvolutionKernel", "ImageOrientationPatient",
            "PixelSpacing")  # fmt: skip


@dataclass(frozen=True)
class Kin:
    """What a file belongs to, for comparison alone: hold it no longer than it takes to number the series."""

    kind: str  # "CT", "SEG", or "" for all that is left out
    patient: str
    series: tuple[str, ...]  # of a segmentation: what it refers to, as far as it says


def kin(file: File) -> Kin:
    """Whose a file is; of a broken one the kind is "CT", so that its case tells why."""
    try:
        with file.fs.open(file.path, "rb") as stream:
            if dicom.DEFLATED in stream.read(dicom.HEAD):
                return Kin("", "", ())  # it may unpack to any size
            stream.seek(0)
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(GROUPING))
        patient = " ".join(str(header.get(key, "") or "").strip() for key in GROUPING[:2]).strip()
        modality = str(header.get("Modality", ""))
        if modality == "SEG":
            refers = header.get("ReferencedSeriesSequence") or [pydicom.Dataset()]
            return Kin(
                "SEG", patient, (str(refers[0].get("SeriesInstanceUID", "")), _text(header, "FrameOfReferenceUID"))
            )
        if modality not in ("CT", "") or "LOCALIZER" in (header.get("ImageType") or ()):
            return Kin("", "", ())
        told = [_text(header, key) for key in ("SeriesInstanceUID", "FrameOfReferenceUID", *GROUPING[7:10])]
        turned = np.round(np.array(header.get("ImageOrientationPatient") or [0.0], np.float64), 3)
        edges = np.round(np.array(header.get("PixelSpacing") or [0.0], np.float64), 4)
        return Kin("CT", patient, (*told, str(turned.tolist()), str(edges.tolist())))
    except Exception:  # said again, with its reason, when the case is read
        return Kin("CT", "", (file.name,))


def _text(header: pydicom.Dataset, key: str) -> str:
    return str(header.get(key, "") or "")


def number(header: pydicom.Dataset, key: str, default: float) -> float:
    """One number of an element, or ``default`` where it is missing or empty.

    Raises:
        BadCase: where it is none.
    """
    return default if header.get(key) in (None, "") else float(numbers(header, key, 1)[0])


def numbers(header: pydicom.Dataset, key: str, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The finite numbers of an element.

    Raises:
        BadCase: where they are missing or fewer or none.
    """
    value = header.get(key)
    try:
        out = np.array(value if count > 1 else [value], np.float64)
    except (TypeError, ValueError):
        out = np.array([])
    if out.shape != (count,) or not np.isfinite(out).all():
        raise BadCase(f"its {key} is missing or not {count} numbers" if count > 1 else f"its {key} is no number")
    return out
