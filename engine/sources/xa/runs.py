"""``dicom:FOLDER``: X-ray angiography runs (XA); one frame of each file is a case.

Of a data set only the pixels and the geometry are kept (promise P8, ``dicom``): the subject is a hash of the
patient's id, no name, date or UID is read, and no message names a file. What is written into the pixels stays there;
frames that seem to carry writing are flagged, see ``pictures.picture.letters``.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import pydicom
from annotated_types import Interval

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.dicom_folder import NAME, dicom_files, patients
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource, Person
from lesionforge.engine.sources.pictures.masks import Values, mask_folder, read_mask
from lesionforge.engine.sources.pictures.names import alone
from lesionforge.engine.sources.pictures.picture import pixel_hash
from lesionforge.engine.sources.xa.pixels import XaRun
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import Angiogram, BadCase, Side

ANGLES = "PositionerPrimaryAngle", "PositionerSecondaryAngle"
PITCH = "ImagerPixelSpacing", "DistanceSourceToDetector", "DistanceSourceToPatient"
MAX_UNEVEN = 0.01  # relative difference of row and column pitch


@dataclass(frozen=True)
class DicomOptions(FolderOptions):
    """Which frame of a run, and who is a subject.

    Attributes:
        frame: ``best``, the one that shows most contrast agent (``XaRun.best``), or its number from 1.
        subject: ``patient`` (by PatientID); where the ids were blanked to one value for everybody ``file``, or a
            regular expression for what names the patient in a file's path below the source, as ``^[^/]+`` for a folder
            each.
        masks: folder of vessel masks of the frames that are read, named as the runs (``patient/IM1.png`` for
            ``patient/IM1.dcm``); relative to the source's own place where it is no absolute path or URL. Where one
            lacks, the ``stenosis`` generator finds the vessels.
        vessel_values: what is vessel in masks that hold class numbers, see ``masks:``.
        side: the tree that every run shows.
        pixel_mm: edge of a pixel at the isocentre, for runs that do not say it.
    """

    frame: Literal["best"] | Annotated[int, Interval(ge=1)] = "best"
    subject: str = "patient"
    masks: str | None = None
    vessel_values: Values | None = None
    side: Side | None = None
    pixel_mm: Annotated[float, Interval(gt=0, le=10)] | None = None


class XaDicom(FolderSource):
    """The runs below a folder."""

    Options: ClassVar[type[DicomOptions]] = DicomOptions
    keeps = True
    names_count = False  # they may be a patient's

    def __init__(self, place: str, options: DicomOptions) -> None:
        super().__init__(place, options)
        files = dicom_files(Folder(place))
        if not files:
            raise SourceError("holds no DICOM file; give a folder with .dcm files, in subfolders or not")
        names, by_issuer = [file.name for file in files], [False] * len(files)
        if options.subject == "patient":
            numbers, by_issuer = patients(files)
            names = list(map(str, numbers))
        self._masks = mask_folder(place, options.masks)
        self._named = Counter(_unended(file.name) for file in files)
        self.left_over = {"masks without a run": alone(self._masks, self._named)}
        self._pattern = None if options.subject in ("patient", "file") else options.subject
        self.names_count = self._pattern is not None
        order = self.by_subject(names, self._pattern)
        self._runs = [files[i] for i in order]
        self._by_issuer = [by_issuer[i] for i in order]
        self.unmasked = sum(not self._masks_of(run) for run in self._runs)

    def case_files(self, case: int) -> Sequence[File]:
        """The run, and the mask of its frame."""
        run = self._runs[case]
        return [run, *self._masks_of(run)]

    def read(self, case: int) -> Angiogram:
        """One frame of one run."""
        try:
            return self._read(case)
        except BadCase as error:
            raise BadCase(f"run {case + 1}: {error}") from None

    def content(self, case: int, whole: bool) -> bytes:
        """The run's pixels as they are stored."""
        return dicom.look(self._runs[case], whole)

    def person(self, case: int) -> Person:
        """By the patient's id."""
        return dicom.person(self._runs[case], self._by_issuer[case]) if self.options.subject == "patient" else Person()

    def _masks_of(self, run: File) -> Sequence[File]:
        return self._masks.get(_unended(run.name), ())

    def _read(self, case: int) -> Angiogram:
        file = self._runs[case]
        data = file.read()
        run = XaRun(dicom.read(data, dicom.XA_RUN))
        number = run.best() if self.options.frame == "best" else self.options.frame
        image, notes = run.grey(number)
        patient = dicom.patient(data) if self.options.subject == "patient" else dicom.NOBODY
        who = f"file {self.subject_name(case)}" if self._pattern else dicom.named(patient, self._by_issuer[case])
        source_id = pixel_hash(image)
        view, why_no_view = view_deg(run.header)
        spacing, why_no_spacing = pixel_mm(run.header, self.options.pixel_mm)
        masks = self._masks_of(file)
        if masks and self._named[_unended(file.name)] > 1:
            raise BadCase("another run has its name, but for the ending, so nobody knows whose mask is there")
        mask, mask_notes = read_mask(masks, image, self.options.vessel_values)
        notes |= mask_notes | {"frames": run.frames, "frame": number}
        if "YES" in str(run.header.get("BurnedInAnnotation", "")):
            notes["burned_in_annotation"] = True
        notes |= {key: why for key, why in (("view_deg", why_no_view), ("pixel_mm", why_no_spacing)) if why}
        return Angiogram(
            subject=f"dicom/{_hash(who) if who else source_id}",
            source_id=source_id,
            licence=self.licence,
            image=image,
            mask=mask,
            mask_is_complete=mask is not None,
            side=self.options.side,
            view_deg=view,
            pixel_mm=spacing,
            notes=notes,
        )


def _unended(name: str) -> str:
    return name.rsplit(".", 1)[0] if NAME.fullmatch(name.rsplit("/", 1)[-1]) else name


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def view_deg(header: pydicom.Dataset) -> tuple[tuple[float, float] | None, str]:
    """PositionerPrimaryAngle (LAO +) and PositionerSecondaryAngle (cranial +), or None and the reason."""
    try:
        for key in ("PositionerPrimaryAngleIncrement", "PositionerSecondaryAngleIncrement"):
            if any(dicom.components(header, key)):
                return None, f"{key} says that the C-arm moves during the run"
        primary, secondary = (float(dicom.numbers(header, key, 1)[0]) for key in ANGLES)
    except BadCase:
        return (
            None,
            "PositionerPrimaryAngle (0018,1510) or PositionerSecondaryAngle (0018,1511) is missing or no number",
        )
    if not (abs(primary) <= 180 and abs(secondary) <= 90):
        return None, f"positioner angles {primary:g} and {secondary:g} are outside 180 and 90 degrees"
    return (primary, secondary), ""


def pixel_mm(header: pydicom.Dataset, told: float | None) -> tuple[float | None, str]:
    """Edge of a pixel at the isocentre, ImagerPixelSpacing * SOD / SID; or None and the reason.

    Args:
        header: of the run.
        told: what the source's option says, for a header that does not.
    """
    if lacking := [key for key in PITCH if header.get(key) in (None, "")]:
        return told, "" if told else f"{', '.join(lacking)} is missing: the source's option pixel_mm may say it"
    try:
        aspect = dicom.components(header, "PixelAspectRatio")
        row, col = (float(pitch) for pitch in dicom.numbers(header, "ImagerPixelSpacing", 2))
        sid, sod = (float(dicom.numbers(header, key, 1)[0]) for key in PITCH[1:])
        view = View(sid, sod, 0.0, 0.0, pixel_mm=(row, col))
    except (BadCase, ValueError) as error:
        return None, str(error)
    if abs(row - col) > MAX_UNEVEN * col or len(set(aspect)) > 1:
        return None, f"pixels are not square: ImagerPixelSpacing is {row:g} x {col:g} mm; they have no one edge"
    return math.sqrt(row * col) / view.magnification, ""
