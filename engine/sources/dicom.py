"""The only elements of an XA data set that are ever looked at (promise P8).

DICOM has thousands of attributes and leaves room for private ones, any of which may name the patient, the hospital or
the hour. So nothing is taken out: a new data set is made of those below, and the rest of the file is not parsed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lesionforge.generators.types import BadCase

_LUT: Mapping[str, Any] = {"LUTDescriptor": None, "ModalityLUTType": None, "LUTData": None}
#: Keyword -> None, or what is kept of a sequence's items.
ALLOWED: Mapping[str, Mapping[str, Any] | None] = {
    "Modality": None,
    # How the pixels are stored.
    "Rows": None,
    "Columns": None,
    "NumberOfFrames": None,
    "SamplesPerPixel": None,
    "PhotometricInterpretation": None,
    "PlanarConfiguration": None,
    "BitsAllocated": None,
    "BitsStored": None,
    "HighBit": None,
    "PixelRepresentation": None,
    "PixelData": None,
    "ExtendedOffsetTable": None,
    "ExtendedOffsetTableLengths": None,
    # How they are displayed.
    "RescaleSlope": None,
    "RescaleIntercept": None,
    "ModalityLUTSequence": _LUT,
    "VOILUTSequence": _LUT,
    "WindowCenter": None,
    "WindowWidth": None,
    "VOILUTFunction": None,
    "PresentationLUTShape": None,
    "BurnedInAnnotation": None,
    # Where the C-arm stood.
    "PositionerPrimaryAngle": None,
    "PositionerSecondaryAngle": None,
    "PositionerPrimaryAngleIncrement": None,
    "PositionerSecondaryAngleIncrement": None,
    "DistanceSourceToDetector": None,
    "DistanceSourceToPatient": None,
    "ImagerPixelSpacing": None,
}
#: These decide which runs are one subject's, and go no further: see ``engine.privacy``.
PATIENT = ("PatientID", "IssuerOfPatientID")
HEAD = 2**20  # bytes that the transfer syntax is looked for in
DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def read(data: bytes, allowed: Mapping[str, Mapping[str, Any] | None] = ALLOWED) -> pydicom.Dataset:
    """The allowed elements of a DICOM file; of its file meta information the transfer syntax.

    Raises:
        BadCase: where it is none, or a broken one.
    """
    _refuse_deflated(data[:HEAD])
    try:
        whole = pydicom.dcmread(io.BytesIO(data), specific_tags=list(allowed))
        header = _allowed(whole, allowed)
        header.file_meta = FileMetaDataset()
        if "TransferSyntaxUID" in whole.file_meta:
            header.file_meta.TransferSyntaxUID = whole.file_meta.TransferSyntaxUID
    except InvalidDicomError:
        raise BadCase("is no DICOM file") from None
    except Exception as error:  # pydicom raises what a broken file makes it stumble over
        raise BadCase(f"is a broken DICOM file ({type(error).__name__})") from None
    return header


def _refuse_deflated(head: bytes) -> None:
    """pydicom unpacks a deflated data set whole, whatever its size; no angiograph writes one."""
    if DEFLATED in head:
        raise BadCase("is deflated, so it may unpack to any size: store it in another transfer syntax")


def patient(file: Any) -> str:
    """What names a run's patient, empty where nothing does.

    Args:
        file: a file open for reading, or its bytes.

    Raises:
        BadCase: for a broken file.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    _refuse_deflated(stream.read(HEAD))
    stream.seek(0)
    try:
        header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(PATIENT))
        return " ".join(str(header.get(key, "") or "").strip() for key in PATIENT).strip()
    except Exception as error:  # as above
        raise BadCase(f"is a broken DICOM file ({type(error).__name__})") from None


def _allowed(whole: pydicom.Dataset, allowed: Mapping[str, Mapping[str, Any] | None]) -> pydicom.Dataset:
    """A new data set. An element whose value cannot be read counts as missing; its text must not reach a message."""
    out = pydicom.Dataset()
    for keyword, inside in allowed.items():
        if keyword not in whole:
            continue
        try:
            element = whole[keyword]
            if inside is not None:
                items = pydicom.Sequence([_allowed(item, inside) for item in element.value])
                out.add_new(element.tag, "SQ", items)
            else:
                out.add_new(element.tag, element.VR, element.value)
        except (ValueError, TypeError, AttributeError, OverflowError, NotImplementedError):
            continue
    return out
