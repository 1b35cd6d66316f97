"""``dicom:FOLDER``: X-ray angiography runs (XA); one frame of each file is a case.

Of a data set only the pixels and the geometry are kept (promise P8, ``dicom``): the subject is a hash of the
patient's id, no name, date or UID is read, and no message names a file. What is written into the pixels stays there;
frames that seem to carry writing are flagged, see ``pictures.picture.letters``.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydicom
from annotated_types import Interval

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import File, sizes_fingerprint
from lesionforge.engine.sources.folder import Folder, FolderSource
from lesionforge.engine.sources.pictures.masks import mask_folder, read_mask
from lesionforge.engine.sources.pictures.picture import pixel_hash
from lesionforge.engine.sources.xa.pixels import XaRun
from lesionforge.generators.carm.view import View
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import Angiogram, BadCase, Side

# pydicom warns and logs about values that break the standard's rules, and quotes them: names, among others (P8).
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

DICOM_NAME = re.compile(r".*\.(dcm|dicom|ima)", re.IGNORECASE)
MAYBE_DICOM = re.compile(r"[^.]+|[0-9.]+")  # without an ending, or a UID
MAX_UNEVEN = 0.01  # relative difference of row and column pitch


@dataclass(frozen=True)
class DicomOptions(Parameters):
    """Which frame of a run, and who is a subject.

    Attributes:
        frame: ``best``, the one that shows most contrast agent (``XaRun.best``), or its number from 1.
        subject: ``patient`` (by PatientID), or ``file`` where the ids were blanked to one value for everybody.
        masks: folder of vessel masks of the frames that are read, named as the runs (``patient/IM1.png`` for
            ``patient/IM1.dcm``); relative to the source's own place where it is no absolute path or URL. Without one a
            generator that must know the vessels, such as ``stenosis``, takes no run.
        side: the tree that every run shows.
    """

    frame: Literal["best"] | Annotated[int, Interval(ge=1)] = "best"
    subject: Literal["patient", "file"] = "patient"
    masks: str | None = None
    side: Side | None = None


class XaDicom(FolderSource):
    """The runs below a folder. Files are told by their endings or, without one, by DICOM's preamble."""

    Options: ClassVar[type[DicomOptions]] = DicomOptions

    def __init__(self, place: str, options: DicomOptions) -> None:
        super().__init__(place, options)
        files = dicom_files(Folder(place))
        if not files:
            raise SourceError("holds no DICOM file; give a folder with .dcm files, in subfolders or not")
        names = [str(n) for n in _patients(files)] if options.subject == "patient" else [f.name for f in files]
        self._masks = mask_folder(place, options.masks)
        self._runs = [files[i] for i in self.by_subject(names)]

    def case_files(self, case: int) -> Sequence[File]:
        """The run, and the mask of its frame."""
        run = self._runs[case]
        return [file for file in (run, self._mask_of(run)) if file]

    def fingerprint(self) -> str:
        """Hash of the files' sizes: their names may be a patient's."""
        return sizes_fingerprint(self.files())

    def read(self, case: int) -> Angiogram:
        """One frame of one run."""
        try:
            return self._read(self._runs[case])
        except BadCase as error:
            raise BadCase(f"run {case + 1}: {error}") from None

    def content(self, case: int, whole: bool) -> bytes:
        """The run's pixels as they are stored."""
        return dicom.look(self._runs[case], whole)

    def person(self, case: int) -> bytes:
        """By the patient's id."""
        return dicom.person(self._runs[case]) if self.options.subject == "patient" else b""

    def _mask_of(self, run: File) -> File | None:
        return self._masks.get(_unended(run.name))

    def _read(self, file: File) -> Angiogram:
        data = file.read()
        run = XaRun(dicom.read(data, dicom.XA_RUN))
        number = run.best() if self.options.frame == "best" else self.options.frame
        image, notes = run.grey(number)
        patient = dicom.patient(data) if self.options.subject == "patient" else ""
        source_id = pixel_hash(image)
        view, why_no_view = view_deg(run.header)
        spacing, why_no_spacing = pixel_mm(run.header)
        vessel = self._mask_of(file)
        mask, mask_notes = read_mask(vessel, image) if vessel else (None, {})
        notes |= mask_notes | {"frames": run.frames, "frame": number}
        if run.header.get("BurnedInAnnotation") == "YES":
            notes["burned_in_annotation"] = True
        notes |= {key: why for key, why in (("view_deg", why_no_view), ("pixel_mm", why_no_spacing)) if why}
        return Angiogram(
            subject=f"dicom/{_hash(patient) if patient else source_id}",
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
    return name.rsplit(".", 1)[0] if DICOM_NAME.fullmatch(name.rsplit("/", 1)[-1]) else name


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def dicom_files(folder: Folder) -> list[File]:
    """The DICOM files below a folder, by their endings or, without one, by DICOM's preamble."""
    found = []
    for file in folder.walk():
        base = file.name.rsplit("/", 1)[-1]
        if DICOM_NAME.fullmatch(base) or (MAYBE_DICOM.fullmatch(base) and base != "DICOMDIR" and _has_preamble(file)):
            found.append(file)
    return found


def _has_preamble(file: File) -> bool:
    try:
        return bool(file.fs.cat_file(file.path, start=128, end=132) == b"DICM")
    except (OSError, BadCase):
        return False


def _patients(files: Sequence[File]) -> list[int]:
    """A number for each file's patient: equal for equal ids. Only the numbers are remembered on this machine."""

    def make() -> dict[str, Any]:
        numbers: dict[str, int] = {}
        out = []
        for n, file in enumerate(files):
            try:
                with file.fs.open(file.path, "rb") as stream:
                    patient = dicom.patient(stream)
            except Exception:  # said again, with its reason, when the case is read
                patient = ""
            out.append(numbers.setdefault(patient or f"file {n}\0", len(numbers)))
        return {"patients": np.array(out)}

    marks = "\n".join(f"{f.path} {f.mark}" for f in files)
    return [int(n) for n in remembered(f"patients\n{marks}", ("patients",), make)["patients"]]


def view_deg(header: pydicom.Dataset) -> tuple[tuple[float, float] | None, str]:
    """PositionerPrimaryAngle (LAO +) and PositionerSecondaryAngle (cranial +), or None and the reason."""
    moving = [
        key for key in ("PositionerPrimaryAngleIncrement", "PositionerSecondaryAngleIncrement") if _moves(header, key)
    ]
    if moving:
        return None, f"{moving[0]} says that the C-arm moves during the run"
    try:
        primary, secondary = float(header.PositionerPrimaryAngle), float(header.PositionerSecondaryAngle)
    except (AttributeError, TypeError, ValueError):
        return None, "PositionerPrimaryAngle (0018,1510) or PositionerSecondaryAngle (0018,1511) is missing"
    if not (abs(primary) <= 180 and abs(secondary) <= 90):  # false for what is no number, too
        return None, f"positioner angles {primary:g} and {secondary:g} are outside 180 and 90 degrees"
    return (primary, secondary), ""


def pixel_mm(header: pydicom.Dataset) -> tuple[float | None, str]:
    """Edge of a pixel at the isocentre, ImagerPixelSpacing * SOD / SID; or None and the reason."""
    try:
        view = View.from_dicom(header)
    except (TypeError, ValueError) as error:
        return None, str(error)
    row, col = view.pixel_mm
    if abs(row - col) > MAX_UNEVEN * col:
        return None, f"ImagerPixelSpacing is {row:g} x {col:g} mm: pixels that are not square have no one edge"
    return math.sqrt(row * col) / view.magnification, ""


def _moves(header: pydicom.Dataset, key: str) -> bool:
    value = header.get(key)
    steps = value if isinstance(value, pydicom.multival.MultiValue) else [] if value in (None, "") else [value]
    return any(float(step) != 0 for step in steps)
