"""Multi-frame X-ray angiograms as DICOM asks for them (PS3.3 A.14, XA Image IOD), one file a run, uncompressed.

``dicom:FOLDER/SPLIT`` reads them as any hospital's runs. No date is written, and UIDs are made of the recipe and the
sample, so that the same sample gives the same bytes.
"""

from __future__ import annotations

import uuid
from importlib import metadata
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, XRayAngiographicImageStorage
from pydicom.valuerep import format_number_as_ds as ds

from lesionforge.sinks.exports.runs import ExportedRun, Runs

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "lesionforge")  # of our UIDs
ARTERY = {"left": codes.SCT.LeftCoronaryArtery, "right": codes.SCT.RightCoronaryArtery}
SYNTHETIC = "SYNTHETIC"  # stands wherever a viewer shows text
AGENT = "Iodine (simulated)"


def write(runs: Runs, folder: Path) -> None:
    """Write ``SPLIT/KEY.dcm`` and, beside it, the sample's own ``KEY.json`` as it is stored."""
    for split in runs.splits:
        for run in runs.read(split):
            place = folder / split
            place.mkdir(parents=True, exist_ok=True)
            angiogram(run).save_as(place / f"{run.key}.dcm", enforce_file_format=True)
            (place / f"{run.key}.json").write_bytes(run.text)


def angiogram(run: ExportedRun) -> FileDataset:
    """A run as an X-Ray Angiographic Image Storage object, marked as synthetic in every way that DICOM has."""
    record, frames = run.record, run.frames
    name = f"{record['recipe']}/{record['sample_id']}"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = uid(f"instance/{name}")
    meta.ImplementationClassUID = uid("implementation")
    meta.ImplementationVersionName = "LESIONFORGE"
    out = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _who(out, run, name)
    _how(out, run)
    out.SamplesPerPixel, out.PhotometricInterpretation, out.PixelRepresentation = 1, "MONOCHROME2", 0
    _, out.Rows, out.Columns = frames.shape
    out.BitsAllocated = out.BitsStored = 8
    out.HighBit = 7
    out.WindowCenter, out.WindowWidth, out.VOILUTFunction = "128", "256", "LINEAR"  # grey levels as they are
    out.PixelData = frames.tobytes()
    out["PixelData"].VR = "OW"
    return out


def uid(text: str) -> UID:
    """The UID of a name (PS3.5 B.2: 2.25 and a UUID as a number), the same one on every machine."""
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, text).int}")


def _who(out: pydicom.Dataset, run: ExportedRun, name: str) -> None:
    """Patient, study, series, equipment and SOP Common: nobody, made by us, at no time."""
    record, subject = run.record, str(run.record["subject"])
    version = metadata.version("lesionforge")
    out.SOPClassUID, out.SOPInstanceUID = XRayAngiographicImageStorage, uid(f"instance/{name}")
    out.ImageType = ["DERIVED", "SECONDARY", "SINGLE PLANE", SYNTHETIC]
    out.SyntheticData = "YES"
    out.Modality, out.Manufacturer = "XA", "lesionforge"
    out.ManufacturerModelName = str(record.get("generator", "cine"))
    out.SoftwareVersions = version
    out.PatientName, out.PatientID = f"{SYNTHETIC}^{subject[:16]}", subject[:64]
    out.PatientIdentityRemoved = "YES"
    out.DeidentificationMethod = "synthetic run, PatientID is a hash"
    for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
                  "ReferringPhysicianName", "PatientOrientation", "Laterality"):  # fmt: skip
        setattr(out, empty, "")
    out.StudyID = subject[:16]
    out.StudyInstanceUID = uid(f"study/{record['recipe']}/{subject}")
    out.SeriesInstanceUID = uid(f"series/{name}")
    out.SeriesNumber, out.InstanceNumber = int(record.get("variant", 0)) + 1, 1
    out.StudyDescription = f"{SYNTHETIC} coronary angiography"
    view = str(record["view"].get("name") or "")
    out.SeriesDescription = f"{SYNTHETIC} {record.get('side') or ''} coronary {view}"[:64]
    out.DerivationDescription = (
        f"Synthetic: no acquisition of a patient. Made by lesionforge {version}, generator "
        f"{out.ManufacturerModelName}, recipe {record['recipe']}, sample {record['sample_id']}."
    )
    out.ImageComments = "SYNTHETIC: not for diagnosis"
    out.BurnedInAnnotation = "NO"
    out.LossyImageCompression = "00"
    artery = ARTERY.get(str(record.get("side")), codes.SCT.CoronaryArtery)
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = artery.value, "SCT", artery.meaning
    out.AnatomicRegionSequence = Sequence([code])


def _how(out: pydicom.Dataset, run: ExportedRun) -> None:
    """Contrast, cine, multi-frame, X-ray image, acquisition and positioner."""
    view = run.view
    out.ContrastBolusAgent, out.ContrastBolusRoute = AGENT, "INTRA-ARTERIAL"
    out.PixelIntensityRelationship = "DISP"  # grey levels for the eye, no longer in line with the beam
    out.KVP = out.XRayTubeCurrent = out.ExposureTime = out.Exposure = ""  # there was no tube
    out.RadiationSetting = "GR"
    out.PositionerMotion = out.TableMotion = "STATIC"
    out.DistanceSourceToDetector, out.DistanceSourceToPatient = ds(view["sid_mm"]), ds(view["sod_mm"])
    out.EstimatedRadiographicMagnificationFactor = ds(view["sid_mm"] / view["sod_mm"])
    out.PositionerPrimaryAngle, out.PositionerSecondaryAngle = ds(view["primary_deg"]), ds(view["secondary_deg"])
    out.ImagerPixelSpacing = [ds(view["row_mm"]), ds(view["col_mm"])]
    if run.fps is None:
        return
    out.NumberOfFrames = len(run.frames)
    out.FrameIncrementPointer = Tag("FrameTime")
    out.FrameTime = ds(1000 / run.fps)
    out.CineRate = out.RecommendedDisplayFrameRate = round(run.fps) or 1
    out.StartTrim, out.StopTrim = 1, len(run.frames)
    if run.full is not None:
        out.RepresentativeFrameNumber = (run.full[0] + run.full[1]) // 2 + 1
