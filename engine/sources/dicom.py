"""The only elements of a DICOM file that are ever looked at: XA runs, CT slices, segmentations (promise P8).

DICOM has thousands of attributes and leaves room for private ones, any of which may name the patient, the hospital or
the hour. So nothing is taken out: a new data set is made of those below, and the rest of the file is not parsed.
What tells which files belong together - ids, UIDs - is compared and goes no further.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lesionforge.engine.sources.files import File, refuse_passing
from lesionforge.engine.sources.folder import Person
from lesionforge.generators.types import BadCase

# pydicom warns and logs about values that break the standard's rules, and quotes them: names, among others (P8).
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

Allowed = Mapping[str, Any]  # keyword -> None, or what is kept of a sequence's items

_PIXELS: Allowed = dict.fromkeys(  # how they are stored
    ("Modality", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
     "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
)  # fmt: skip
_DATA: Allowed = dict.fromkeys(("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
_VOI: Allowed = {
    **dict.fromkeys(("WindowCenter", "WindowWidth", "VOILUTFunction")),
    "VOILUTSequence": dict.fromkeys(("LUTDescriptor", "LUTData")),
}
_DISPLAY: Allowed = {  # a ModalityLUTSequence is no part of an angiogram's display
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept", "PresentationLUTShape", "PixelPaddingValue",
                     "PixelPaddingRangeLimit", "BurnedInAnnotation")),
    **_VOI,
    "SharedFunctionalGroupsSequence": {"FrameVOILUTSequence": _VOI},
    "PerFrameFunctionalGroupsSequence": {"FrameVOILUTSequence": _VOI},
}  # fmt: skip
_C_ARM: Allowed = dict.fromkeys(
    ("PositionerPrimaryAngle", "PositionerSecondaryAngle", "PositionerPrimaryAngleIncrement",
     "PositionerSecondaryAngleIncrement", "DistanceSourceToDetector", "DistanceSourceToPatient", "ImagerPixelSpacing",
     "PixelAspectRatio")
)  # fmt: skip
_POSITION = {"PlanePositionSequence": {"ImagePositionPatient": None}}
_SHARED = {
    "PlaneOrientationSequence": {"ImageOrientationPatient": None},
    "PixelMeasuresSequence": {"PixelSpacing": None, "SpacingBetweenSlices": None},
}
_SEGMENT = {"SegmentIdentificationSequence": {"ReferencedSegmentNumber": None}}
_CODE: Allowed = {"CodeMeaning": None, "CodeValue": None}
_SLICE_PLACE: Allowed = dict.fromkeys(
    ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "GantryDetectorTilt",
     "SliceThickness", "InstanceNumber",
     "ImageType", "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit")
)  # fmt: skip
XA_RUN: Allowed = {**_PIXELS, **_DATA, **_DISPLAY, **_C_ARM}
CT_PLACE: Allowed = {**_PIXELS, **_SLICE_PLACE}
CT_SLICE: Allowed = {**CT_PLACE, **_DATA}
SEGMENTATION: Allowed = {
    **_PIXELS,
    **_DATA,
    "SegmentationType": None,
    **dict.fromkeys(("SeriesDescription", "ContentLabel", "ContentDescription")),  # these and the next ones are
    "SegmentSequence": {  # compared with standard names, and never written anywhere
        **dict.fromkeys(("SegmentNumber", "SegmentLabel", "SegmentDescription", "TrackingID")),
        "SegmentedPropertyCategoryCodeSequence": _CODE,
        "SegmentedPropertyTypeCodeSequence": {**_CODE, "SegmentedPropertyTypeModifierCodeSequence": _CODE},
        "AnatomicRegionSequence": _CODE,
    },
    "StructureSetROISequence": dict.fromkeys(("ROINumber", "ROIName")),  # of RT structure sets, likewise
    "RTROIObservationsSequence": dict.fromkeys(("ReferencedROINumber", "RTROIInterpretedType")),
    "SharedFunctionalGroupsSequence": {**_SHARED, **_POSITION, **_SEGMENT},
    "PerFrameFunctionalGroupsSequence": {**_SHARED, **_POSITION, **_SEGMENT},
}
#: These decide which runs and series are one subject's, and go no further: see ``engine.privacy``.
PATIENT = ("PatientID", "IssuerOfPatientID")
ONE_PERSON = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")  # each is of one person
STANDARD = "1.2.840.10008."  # UIDs that DICOM gives out itself, as the frames of reference of atlases: everybody's
KEY = os.urandom(32)
BEGINNING = 2**16  # bytes of pixels that tell most runs apart
HEAD = 2**20  # bytes that the transfer syntax is looked for in
DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def read(data: bytes, allowed: Allowed) -> pydicom.Dataset:
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


class PatientId(NamedTuple):
    """What names a patient, for comparison alone: an id means something to its issuer. Empty where a file says none."""

    id: str
    issuer: str


NOBODY = PatientId("", "")


def told_apart(ids: Sequence[PatientId]) -> list[str]:
    """A name for each file's patient: the id, with its issuer where every file with that id says one.

    Two hospitals number their patients alike; a file that does not say which is everybody's, so that no patient is
    taken for two.
    """
    anybody_s = {one.id for one in ids if not one.issuer}
    return [named(one, one.id not in anybody_s) for one in ids]


def named(one: PatientId, by_issuer: bool) -> str:
    """An id in one text, with its issuer or without; empty for nobody."""
    return f"{one.id}\0{one.issuer}" if by_issuer and one.issuer else one.id


def patient(file: Any) -> PatientId:
    """Whose a file is.

    Args:
        file: a file open for reading, or its bytes.

    Raises:
        BadCase: for a broken file.
    """
    return patient_of(head(io.BytesIO(file) if isinstance(file, bytes) else file, PATIENT))


def patient_of(header: pydicom.Dataset) -> PatientId:
    """Whose a data set is."""
    who, issuer = (text(header, key) for key in PATIENT)
    return PatientId(who, issuer if who else "")


def head(stream: Any, keywords: Sequence[str]) -> pydicom.Dataset:
    """Elements before the pixels, for comparison alone: what tells which files belong together.

    Args:
        stream: a file open for reading.
        keywords: of the elements.

    Raises:
        BadCase: for a broken file.
    """
    _refuse_deflated(stream.read(HEAD))
    stream.seek(0)
    try:
        return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(keywords))
    except Exception as error:  # as above
        refuse_passing(error)
        raise BadCase(f"is a broken DICOM file ({type(error).__name__})") from None


def person(file: File, by_issuer: bool = True) -> Person:
    """Hashes of what names a patient, a study, a series and a frame of reference: to compare by, kept nowhere.

    Args:
        file: of the patient.
        by_issuer: whether who issued the id, where that is said, is part of it.
    """
    try:
        with file.open() as stream:
            header = head(stream, (*PATIENT, *ONE_PERSON))
    except (OSError, BadCase) as error:  # said again, with its reason, when the case is read
        refuse_passing(error)
        return Person()
    uids = (text(header, key) for key in ONE_PERSON)
    said = (*patient_of(header), *("" if uid.startswith(STANDARD) else uid for uid in uids))
    who = Person(*(_keyed(one) if one else b"" for one in said))
    return who if by_issuer else who._replace(issuer=b"")


def _keyed(one: str) -> bytes:
    """Means something to this process alone."""
    return hashlib.blake2b(one.encode(errors="surrogateescape"), key=KEY, digest_size=32).digest()


def look(file: File, whole: bool) -> bytes:
    """Hash of the pixels as they are stored, whatever the rest of a file says; empty where it has none.

    Args:
        whole: of all; else of their beginning.

    Raises:
        BadCase: for a broken file.
    """
    try:
        with file.open() as stream:
            _refuse_deflated(stream.read(HEAD))
            stream.seek(0)
            pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["Rows"])  # leaves off at the pixels
            pixels = stream.read() if whole else stream.read(BEGINNING)
    except BadCase:
        raise
    except Exception as error:  # as above
        refuse_passing(error)
        raise BadCase(f"is a broken DICOM file ({type(error).__name__})") from None
    return hashlib.sha256(pixels).digest() if pixels else b""


def text(header: pydicom.Dataset, key: str) -> str:
    """An element as text, empty where it is missing or cannot be read."""
    try:
        return str(header.get(key, "") or "").strip(" \0")
    except Exception:  # a value is parsed when it is asked for
        return ""


def number(header: pydicom.Dataset, key: str, default: float) -> float:
    """One number of an element, or ``default`` where it is missing or empty.

    Raises:
        BadCase: where it is none.
    """
    return default if header.get(key) in (None, "") else float(numbers(header, key, 1)[0])


def numbers(header: pydicom.Dataset, key: str, count: int) -> NDArray[np.float64]:
    """The finite numbers of an element.

    Raises:
        BadCase: where they are missing, fewer or none.
    """
    value = header.get(key)
    try:
        out = np.array(value if count > 1 else [value], np.float64)
    except (TypeError, ValueError):
        out = np.array([])
    if value in (None, "") and count == 1:
        raise BadCase(f"its {key} is missing")
    if out.shape != (count,) or not np.isfinite(out).all():
        raise BadCase(f"its {key} is missing or not {count} numbers" if count > 1 else f"its {key} is no number")
    return out


def components(header: pydicom.Dataset, key: str) -> list[float | None]:
    """The numbers of an element of many values, None for each that is empty.

    Raises:
        BadCase: where one is no finite number.
    """
    value = header.get(key)
    parts = value if isinstance(value, pydicom.multival.MultiValue) else [value]
    try:
        out = [None if part in (None, "") else float(part) for part in parts]
    except (TypeError, ValueError):
        raise BadCase(f"its {key} is no number") from None
    if not np.isfinite([part for part in out if part is not None]).all():
        raise BadCase(f"its {key} is no number")
    return out


def _allowed(whole: pydicom.Dataset, allowed: Allowed) -> pydicom.Dataset:
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
