"""``dicom:FOLDER``: X-ray angiography runs (XA); one frame of each file is a case.

Of a data set only the pixels and the geometry are kept (promise P8, ``xa_header``): the subject is a hash of the
patient's id, no name, date or UID is read, and no message names a file. What is written into the pixels stays there;
frames that seem to carry writing are told by ``burned_in``.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydicom
from pydantic import ConfigDict, Field

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import File, Folder, secret
from lesionforge.engine.sources.groups import grouped, pack
from lesionforge.engine.sources.pictures.picture import pixel_hash
from lesionforge.engine.sources.xa.geometry import pixel_mm, view_deg
from lesionforge.engine.sources.xa.pixels import Run
from lesionforge.generators.types import Angiogram, BadCase, Side

# pydicom warns and logs about values that break the standard's rules, and quotes them: names, among others (P8).
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom\.")

DICOM_NAME = re.compile(r".*\.(dcm|dicom|ima)", re.IGNORECASE)
MAYBE_DICOM = re.compile(r"[^.]+|[0-9.]+")  # without an ending, or a UID


@dataclass(frozen=True)
class DicomOptions:
    """Which frame of a run, and who is a subject.

    Attributes:
        frame: ``best``, the one that shows most contrast agent (``Run.best``), or its number from 1.
        subject: ``patient`` (by PatientID), or ``file`` where the ids were blanked to one value for everybody.
        side: the tree that every run shows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    frame: Literal["best"] | Annotated[int, Field(ge=1)] = "best"
    subject: Literal["patient", "file"] = "patient"
    side: Side | None = None


class XaDicom:
    """The runs below a folder. Files are told by their endings or, without one, by DICOM's preamble."""

    Options: ClassVar[type[DicomOptions]] = DicomOptions
    licence: str = "unknown: that of the files given"

    def __init__(self, place: str, options: DicomOptions) -> None:
        self.options = options
        files = dicom_files(Folder(place))
        if not files:
            raise SourceError("holds no DICOM file; give a folder with .dcm files, in subfolders or not")
        names = [str(n) for n in _patients(files)] if options.subject == "patient" else [f.name for f in files]
        self.cases_per_subject, order = pack(grouped(names))
        self._files = [files[i] for i in order]
        self.subjects = len(order) // self.cases_per_subject

    def fingerprint(self) -> str:
        """Hash of the files' sizes in order; their names may be a patient's, and may be changed."""
        listing = "\n".join(f"{n} {f.size}" for n, f in enumerate(self._files))
        return hashlib.sha256(listing.encode()).hexdigest()

    def secret(self) -> bytes:
        """See ``files.secret``."""
        return secret(self._files)

    def locate(self, case: int) -> str:
        """The file of a case."""
        return self._files[case].path

    def read(self, case: int) -> Angiogram:
        """One frame of one run."""
        try:
            return self._read(self._files[case])
        except BadCase as error:
            raise BadCase(f"run {case + 1}: {error}") from None

    def _read(self, file: File) -> Angiogram:
        data = file.read()
        run = Run(dicom.read(data))
        number = run.best() if self.options.frame == "best" else self.options.frame
        image, notes = run.grey(number)
        patient = dicom.patient(data) if self.options.subject == "patient" else ""
        source_id = pixel_hash(image)
        view, why_no_view = view_deg(run.header)
        spacing, why_no_spacing = pixel_mm(run.header)
        notes |= {"frames": run.frames, "frame": number}
        if run.header.get("BurnedInAnnotation") == "YES":
            notes["burned_in_annotation"] = True
        notes |= {key: why for key, why in (("view_deg", why_no_view), ("pixel_mm", why_no_spacing)) if why}
        return Angiogram(
            subject=f"dicom/{_hash(patient) if patient else source_id}",
            source_id=source_id,
            licence=self.licence,
            image=image,
            side=self.options.side,
            view_deg=view,
            pixel_mm=spacing,
            notes=notes,
        )


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
