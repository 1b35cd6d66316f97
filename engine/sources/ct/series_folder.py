"""``ctdicom:FOLDER``: CT series with their DICOM segmentations and NRRD masks; a series is a case.

Of a data set only the pixels and the geometry are kept (promise P8, ``dicom``). UIDs and the patient's id tell
which files belong together; neither they nor a file's name are written anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.ct import masks as ct_masks
from lesionforge.engine.sources.ct.axes import Axes
from lesionforge.engine.sources.ct.grouping import FLAWS, Kind, Member, series_of
from lesionforge.engine.sources.ct.names import name_of, standard
from lesionforge.engine.sources.ct.scan import CtScan, ScanOptions, as_volume, straightened
from lesionforge.engine.sources.ct.series import SliceStack
from lesionforge.engine.sources.dicom_folder import dicom_files
from lesionforge.engine.sources.files import File, stem
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource, Person
from lesionforge.generators.structures import kind
from lesionforge.generators.types import BadCase, Volume

LEFT: dict[Kind, str] = {
    "slice": "",
    "segmentation": "DICOM segmentations of no series that is there",
    "localizer": "localizers",
    "structure set": "RT structure sets, which are not read",
    "other": "DICOM files of another modality",
}
LEFT_OVER = tuple(LEFT.values())
UNREAD = re.compile(r"\.(?:nii|nii\.gz|mha|mhd|mgz|nhdr)$", re.IGNORECASE)  # masks of CT are often stored so


@dataclass(frozen=True)
class CtDicomOptions(FolderOptions, ScanOptions):
    """How series are read.

    Attributes:
        subject: ``patient`` (by PatientID); where the ids were blanked to one value for everybody ``series``, or a
            regular expression for what names the patient in the path of a series' first file, as ``^[^/]+`` for a
            folder each.
        masks: standard names of masks, by patterns for what a file or a segment is called, as
            {"*tumor*": liver_tumour}; names of organs are understood without. A series with a mask that nobody names is
            refused, as it may be a lesion; "background" leaves one out.
    """

    subject: str = "patient"
    masks: dict[str, str] | None = None


@dataclass(frozen=True)
class CtSeries:
    """The files of one series: its slices, its DICOM segmentations, and the NRRD files beside or below them.

    The first slice says whose it is, if any does. ``parts``: of how many that bear one UID; ``person``: a number, equal
    for one patient's; ``by_issuer``: the id alone does not tell who that is; ``flaw``: why it is refused, if it is.
    """

    slices: tuple[File, ...]
    segmentations: tuple[File, ...]
    nrrds: tuple[File, ...]
    parts: int
    person: int
    by_issuer: bool
    flaw: str


class CtDicom(FolderSource):
    """The CT series below a folder, split where slices of one series differ in size, spacing, direction or kernel."""

    Options: ClassVar[type[CtDicomOptions]] = CtDicomOptions
    keeps = True
    names_count = False  # they may be a patient's

    def __init__(self, place: str, options: CtDicomOptions) -> None:
        super().__init__(place, options)
        folder = Folder(place)
        files = dicom_files(folder)
        known = {file.path for file in files}
        others = [f for f in folder.walk() if f.path not in known]
        found, self.left_over = _list_series(files, [f for f in others if f.name.lower().endswith(".nrrd")])
        if unread := [f.path for f in others if UNREAD.search(f.name)]:
            self.left_over["volumes of other formats, which are not read here"] = unread
        if not found:
            raise SourceError("holds no CT series; give a folder with .dcm files, in subfolders or not")
        if parted := sum(one.parts > 1 and not one.flaw for one in found):
            self.notes = [
                f"{parted} of {len(found)} cases are parts of series whose slices differ in size, spacing, direction "
                "or kernel: each part is a volume"
            ]
        names = [one.slices[0].name for one in found]
        self._pattern = None if options.subject in ("patient", "series") else options.subject
        self.names_count = self._pattern is not None
        if not self._pattern:
            names = [str(one.person if options.subject == "patient" else n) for n, one in enumerate(found)]
        self._series = [found[i] for i in self.by_subject(names, self._pattern)]

    def case_files(self, case: int) -> Sequence[File]:
        """The slices as they are listed, and their masks."""
        s = self._series[case]
        return [*s.slices, *s.segmentations, *s.nrrds]

    def annotations(self) -> Sequence[bytes]:
        """What the names of the NRRD files say: called otherwise they mark something else."""
        names = self._mask_names()
        marks = [[name_of(called, names) for called in _called(series)] for series in self._series]
        return [json.dumps(marks).encode()] if any(marks) else []

    def content(self, case: int, whole: bool) -> bytes:
        """The slices' pixels as they are stored, in any order; in short the first one's and their number."""
        slices = self._series[case].slices
        looks = [dicom.look(file, whole) for file in (slices if whole else slices[:1])]
        return b"%d " % len(slices) + b"".join(sorted(looks)) if all(looks) else b""

    def person(self, case: int) -> Person:
        """By the patient's id."""
        series = self._series[case]
        return dicom.person(series.slices[0], series.by_issuer) if self.options.subject == "patient" else Person()

    def read(self, case: int) -> Volume:
        """One series and its masks."""
        try:
            return self._load(case)
        except BadCase as error:
            raise BadCase(f"series {case + 1}: {error}") from None

    def _load(self, number: int) -> Volume:
        series, o = self._series[number], self.options
        if series.flaw:
            raise BadCase(series.flaw)
        stack = SliceStack.of(series.slices)
        axes = Axes.of(stack.affine)
        o.check_axes(axes)
        hu, notes = stack.hu(axes)
        notes |= {"slices": len(stack.files), "stored_axes": axes.name(), **stack.doubts}
        if series.parts > 1:
            notes["series_parted_into"] = series.parts
        affine = axes.turned(stack.affine, stack.shape)
        labels, legend, left_out = self._labels(series, stack, axes, affine)
        notes |= left_out
        if axes.oblique:
            notes["oblique_deg"] = round(axes.angle_deg, 2)
            scan = straightened(hu, labels, affine, axes.spacing_mm, o.interpolation)
        else:
            x, y, z = (float(mm) for mm in affine[:3, 3])
            scan = CtScan(hu, labels, axes.spacing_mm, (x, y, z))
        if o.region:
            if scan.labels is None:
                raise BadCase("has no masks to crop it by")
            if box := o.box(scan.labels, legend, scan.spacing_mm):
                scan = scan.crop(box)
        return as_volume(scan, legend, f"ctdicom/{self._subject(number)}", self.licence, notes, o)

    def _subject(self, case: int) -> str:
        """A hash of the patient's id or name, or of the pixels where none is known or to be used."""
        series = self._series[case]
        data = series.slices[0].read()
        patient = dicom.patient(data) if self.options.subject == "patient" else dicom.NOBODY
        who = f"file {self.subject_name(case)}" if self._pattern else dicom.named(patient, series.by_issuer)
        return hashlib.sha256(who.encode() if who else data).hexdigest()[:32]

    def _mask_names(self) -> dict[str, str]:
        return {pattern: standard(name) for pattern, name in (self.options.masks or {}).items()}

    def _labels(
        self, series: CtSeries, stack: SliceStack, axes: Axes, affine: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8] | None, dict[int, str], dict[str, Any]]:
        """Label map along LPS, legend and notes; where masks overlap, a lesion lies on its organ."""
        names = self._mask_names()
        shape = tuple(stack.shape[a] for a in axes.order)
        found: dict[str, NDArray[np.bool_]] = {}
        unused = 0
        parts: list[tuple[str | None, NDArray[np.bool_] | None]] = [
            (name, axes.turn(mask))
            for file in series.segmentations
            for name, mask in ct_masks.from_seg(file.read(), names, stack.affine, stack.shape)
        ]
        for n, (file, called) in enumerate(zip(series.nrrds, _called(series), strict=True), 1):
            try:
                parts.append(ct_masks.from_nrrd(file, called, names, affine, shape))
            except BadCase as error:
                raise BadCase(f"its NRRD file {n} of {len(series.nrrds)} {error}") from None
        for name, mask in parts:
            if name is None or mask is None:
                unused += 1
            elif mask.any():
                found[name] = found.get(name, False) | mask
        notes = {"masks_left_out": unused} if unused else {}
        if not found:
            return None, {}, notes
        found = ct_masks.with_organs(found)
        order = sorted(found, key=lambda name: (kind(name) == "lesion", name))
        out = np.zeros(shape, np.uint8)
        for value, name in enumerate(order, 1):
            out[found[name]] = value
        return out, dict(enumerate(order, 1)), notes


def _list_series(files: Sequence[File], nrrds: Sequence[File]) -> tuple[list[CtSeries], dict[str, list[str]]]:
    """The series among the files, and what is in none. Only numbers are remembered on this machine."""

    def make() -> dict[str, Any]:
        members = [Member.of(file) for file in files]
        series = series_of(members)
        persons = {name: n for n, name in enumerate(dict.fromkeys(one.person for one in series if one.person))}
        slices = [(n, number) for number, one in enumerate(series) for n in one.slices]
        segmentations = [(n, number) for number, one in enumerate(series) for n in one.segmentations]
        rows = [
            (one.parts, persons.get(one.person, len(persons) + n), "\0" in one.person, one.flaw)
            for n, one in enumerate(series)
        ]
        used = {n for n, _ in slices + segmentations}
        left = [LEFT_OVER.index(LEFT[one.kind]) if n not in used else -1 for n, one in enumerate(members)]
        return {
            "slices": np.array(slices, np.int64).reshape(-1, 2),
            "segmentations": np.array(segmentations, np.int64).reshape(-1, 2),
            "series": np.array(rows, np.int64).reshape(-1, 4),
            "left": np.array(left, np.int64),
        }

    marks = "\n".join(f"{f.path} {f.mark}" for f in files)
    known = remembered(f"ct series, people and flaws\n{marks}", ("slices", "segmentations", "series", "left"), make)
    found = []
    own_files: dict[tuple[str, int], list[File]] = {}
    for key in ("slices", "segmentations"):
        for n, number in known[key].tolist():
            own_files.setdefault((key, number), []).append(files[n])
    homes = {_home(file) for (key, _), own in own_files.items() if key == "slices" for file in own}
    below: dict[str, list[File]] = {}
    for file in nrrds:
        if home := _home_above(file, homes):
            below.setdefault(home, []).append(file)
    for number, (parts, person, by_issuer, flaw) in enumerate(known["series"].tolist()):
        own, segs = own_files["slices", number], own_files.get(("segmentations", number), [])
        beside = {f.path: f for home in dict.fromkeys(map(_home, own)) for f in below.get(home, ())}
        found.append(
            CtSeries(tuple(own), tuple(segs), tuple(beside.values()), parts, person, bool(by_issuer), FLAWS[flaw])
        )
    left: dict[str, list[str]] = {}
    for file, why in zip(files, known["left"].tolist(), strict=True):
        if why >= 0:
            left.setdefault(LEFT_OVER[why], []).append(file.path)
    used = {file.path for one in found for file in one.nrrds}
    if alone := [file.path for file in nrrds if file.path not in used]:
        left["NRRD files beside no CT slice"] = alone
    return found, left


def _home(file: File) -> str:
    return str(PurePosixPath(file.name).parent)


def _home_above(file: File, homes: Collection[str]) -> str | None:
    """The nearest folder above a file that is one of ``homes``."""
    return next((str(folder) for folder in PurePosixPath(file.name).parents if str(folder) in homes), None)


def _called(series: CtSeries) -> list[list[str]]:
    """What each NRRD file is called, and the folder below the slices' where that tells of lesions."""
    homes = {_home(file) for file in series.slices}
    folders = [_home(file).removeprefix(_home_above(file, homes) or ".") for file in series.nrrds]
    return [
        [stem(file.name), *([folder] if kind(folder) == "lesion" else [])]
        for file, folder in zip(series.nrrds, folders, strict=True)
    ]
