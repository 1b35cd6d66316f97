"""XA runs stuffed with canaries: every attribute of the dictionary, nested, private, in the file meta, in the JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, XRayAngiographicImageStorage

from lesionforge.engine.sources.dicom import XA_RUN
from tests.privacy.canaries import TEXT, Canaries
from tests.privacy.standard import REPEATING, TABLE_E_1_1

EDGE = 128
DICTIONARY = tuple(entry[4] for entry in DicomDictionary.values() if entry[4])
# They would make the file unreadable, so they could carry nothing anywhere.
BREAKING = {"FloatPixelData", "DoubleFloatPixelData", "SpecificCharacterSet", "LengthToEnd"}

FEW = ("PatientName", "PatientBirthDate", "AccessionNumber", "OtherPatientIDsSequence")


def frames(count: int, seed: int) -> np.ndarray:
    """Soft grey levels (count, EDGE, EDGE) uint8 with a dark line."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:EDGE, :EDGE] / EDGE
    ground = 130 + 50 * np.sin(3 * x + seed) * np.cos(2 * y) + rng.normal(0, 4, (count, EDGE, EDGE))
    ground[:, 20:110, 60:66] -= 60
    return np.clip(np.rint(ground), 0, 255).astype(np.uint8)


def stuffed(
    path: Path, canaries: Canaries, keywords: Iterable[str] = TABLE_E_1_1, seed: int = 0, jpeg: bool = False,
    **tags: Any,
) -> Path:  # fmt: skip
    """Write a run of two frames in which every one of these attributes holds a canary of its own.

    Args:
        keywords: the attributes; those that are not allowed out (``dicom.XA_RUN``), for the others are geometry.
        jpeg: pixels as JPEG, with a canary in its comment.
        tags: what else to set, or with ``None`` to leave out.
    """
    pixels = frames(2, seed)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = canaries.of("UI", "file meta")
    meta.ImplementationVersionName = canaries.text("file meta")
    meta.SourceApplicationEntityTitle = canaries.text("file meta", upper=True)
    meta.PrivateInformationCreatorUID = canaries.of("UI", "file meta")
    meta.PrivateInformation = canaries.text("file meta").encode() + b" "
    preamble = canaries.text("preamble").encode().ljust(128, b"\0")
    run = FileDataset(str(path), {}, file_meta=meta, preamble=preamble)
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if keyword not in XA_RUN and keyword not in BREAKING and tag is not None and tag >> 16 > 0x0004:
            _plant(run, tag, pydicom.datadict.dictionary_VR(tag), keyword, canaries)
    for group, element, vr in REPEATING:
        _plant(run, group << 16 | element, vr, f"({group:04x},{element:04x})", canaries)
    _private(run, 0x0009, canaries)
    _private(run, 0x7FD1, canaries)
    run.SOPClassUID, run.Modality = XRayAngiographicImageStorage, "XA"
    run.NumberOfFrames, run.Rows, run.Columns = pixels.shape
    run.SamplesPerPixel, run.PhotometricInterpretation, run.PixelRepresentation = 1, "MONOCHROME2", 0
    run.BitsAllocated, run.BitsStored, run.HighBit = 8, 8, 7
    run.PositionerPrimaryAngle, run.PositionerSecondaryAngle = "-30.5", "20"
    run.DistanceSourceToDetector, run.DistanceSourceToPatient, run.ImagerPixelSpacing = "1000", "750", ["0.4", "0.4"]
    run.PixelData = encapsulate([_jpeg(frame, canaries) for frame in pixels]) if jpeg else pixels.tobytes()
    if jpeg:
        run["PixelData"].is_undefined_length = True
    for name, value in tags.items():
        if value is None:
            delattr(run, name)
        else:
            setattr(run, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    run.save_as(path, enforce_file_format=True)
    return path


def ct_series(folder: Path, canaries: Canaries, name: Any, slices: int = 6, **tags: Any) -> None:
    """A stuffed CT series of 24 x 24 pixels a slice, 3 mm apart; ``name()`` makes the files' names."""
    shared = {
        "SeriesInstanceUID": canaries.of("UI", "series"),
        "FrameOfReferenceUID": canaries.of("UI", "frame of reference"),
        "PatientID": canaries.text("PatientID"),
        "IssuerOfPatientID": canaries.text("IssuerOfPatientID"),
    }
    rng = np.random.default_rng(3)
    for k in range(slices):
        pixels = rng.integers(900, 1200, (24, 24), dtype=np.uint16)
        stuffed(
            folder / f"{name()}.dcm", canaries, FEW if k else TABLE_E_1_1, Modality="CT", NumberOfFrames=None,
            Rows=24, Columns=24, BitsAllocated=16, BitsStored=16, HighBit=15, RescaleSlope="1",
            RescaleIntercept="-1024",
            ImagePositionPatient=[0, 0, 3 * k], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=["2", "2"],
            PixelData=pixels.tobytes(), **shared, **tags,
        )  # fmt: skip


def spoil(path: Path, was: bytes, becomes: str) -> None:
    """Put a text where a number or UID stands, as long as it is."""
    data = path.read_bytes()
    assert was in data
    path.write_bytes(data.replace(was, becomes.encode()[: len(was)].ljust(len(was))))


def _plant(into: Dataset, tag: int, vr: str, where: str, canaries: Canaries, depth: int = 0) -> None:
    vr = {"OB or OW": "OB", "US or SS or OW": "OW", "US or OW": "OW"}.get(vr, vr)
    if vr == "SQ":
        item = Dataset()
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
            nested = tag_for_keyword(keyword)
            _plant(item, nested, pydicom.datadict.dictionary_VR(nested), f"{where}/{keyword}", canaries)
        _private(item, 0x0011, canaries, ("LO",))
        if depth < 1:
            _plant(item, 0x00081115, "SQ", f"{where}/", canaries, depth + 1)
        into.add_new(tag, "SQ", [item])
        return
    value: Any = canaries.of(vr, where)
    if vr in ("OB", "OW", "UN"):
        value = value.encode() + b"\0"
    elif vr in ("OF", "OD", "OL", "OV"):
        value = canaries.text(where).encode().ljust(16, b"\0")
    elif vr == "UR":
        value = f"https://example.org/{value}"
    if value is not None:
        into.add_new(tag, vr, value)


def _private(into: Dataset, group: int, canaries: Canaries, vrs: tuple[str, ...] = TEXT) -> None:
    block = into.private_block(group, canaries.text("private creator"), create=True)
    for offset, vr in enumerate(vrs):
        value = canaries.of(vr, "private element")
        block.add_new(offset, vr, value.encode() + b"\0" if vr in ("OB", "OW", "UN") else value)


def _jpeg(frame: np.ndarray, canaries: Canaries) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=95, comment=canaries.text("JPEG comment").encode())
    return out.getvalue()
