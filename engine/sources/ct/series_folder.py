"""``ctdicom:FOLDER``: CT series with their DICOM segmentations and NRRD masks; a series is a case.

Of a data set only the pixels and the geometry are kept (promise P8, ``dicom``). UIDs and the patient's id tell
which files belong together; neither they nor a file's name are written anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.ct import masks as ct_masks
from lesionforge.engine.sources.ct.axes import Axes
from lesionforge.engine.sources.ct.names import standard
from lesionforge.engine.sources.ct.scan import CtScan, ScanOptions, as_volume, straightened
from lesionforge.engine.sources.ct.series import SliceStack
from lesionforge.engine.sources.dicom_folder import dicom_files
from lesionforge.engine.sources.files import File, sizes_fingerprint
from lesionforge.engine.sources.folder import Folder, FolderSource
from lesionforge.generators.types import BadCase, Volume


@dataclass(frozen=True)
class CtDicomOptions(ScanOptions):
    """How series are read.

    Attributes:
        subject: ``patient`` (by PatientID), or ``series`` where the ids were blanked to one value for everybody.
        masks: standard names of masks, by patterns for what a file or a segment is called, as
            {"*tumor*": liver_tumour}; names of organs are understood without.
    """

    subject: Literal["patient", "series"] = "patient"
    masks: dict[str, str] | None = None


@dataclass(frozen=True)
class CtSeries:
    """The files of one series: its slices, its DICOM segmentations, and the NRRD files beside them."""

    slices: tuple[File, ...]
    segmentations: tuple[File, ...]
    nrrds: tuple[File, ...]


class CtDicom(FolderSource):
    """The CT series below a folder, split where slices of one series differ in size, spacing, direction or kernel."""

    Options: ClassVar[type[CtDicomOptions]] = CtDicomOptions

    def __init__(self, place: str, options: CtDicomOptions) -> None:
        super().__init__(place, options)
        folder = Folder(place)
        files = dicom_files(folder)
        nrrds = [f for f in folder.walk() if f.name.lower().endswith(".nrrd")]
        found, patients = _list_series(files, nrrds)
        if not found:
            raise SourceError("holds no CT series; give a folder with .dcm files, in subfolders or not")
        subjects = patients if options.subject == "patient" else range(len(found))
        self._series = [found[i] for i in self.by_subject([str(s) for s in subjects])]
        self._read = lru_cache(maxsize=1)(self._load)  # a case's variants often come one after the other

    def case_files(self, case: int) -> Sequence[File]:
        """The slices as they are listed, and their masks."""
        s = self._series[case]
        return [*s.slices, *s.segmentations, *s.nrrds]

    def fingerprint(self) -> str:
        """Hash of the files' sizes: their names may be a patient's."""
        return sizes_fingerprint(self.files())

    def content(self, case: int, whole: bool) -> bytes:
        """The slices' pixels as they are stored, in any order; in short the first one's and their number."""
        slices = self._series[case].slices
        looks = [dicom.look(file, whole) for file in (slices if whole else slices[:1])]
        return b"%d " % len(slices) + b"".join(sorted(looks)) if all(looks) else b""

    def person(self, case: int) -> bytes:
        """By the patient's id."""
        return dicom.person(self._series[case].slices[0]) if self.options.subject == "patient" else b""

    def read(self, case: int) -> Volume:
        """One series and its masks."""
        try:
            return self._read(case)
        except BadCase as error:
            raise BadCase(f"series {case + 1}: {error}") from None

    def _load(self, number: int) -> Volume:
        series, o = self._series[number], self.options
        stack = SliceStack.of(series.slices)
        axes = Axes.of(stack.affine)
        o.check_axes(axes)
        hu, notes = stack.hu(axes)
        notes |= {"slices": len(stack.files), "stored_axes": axes.name()}
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
        return as_volume(scan, legend, f"ctdicom/{self._subject(series)}", self.licence, notes, o)

    def _subject(self, series: CtSeries) -> str:
        """A hash of the patient's id, or of the pixels where it says none or is not to be used."""
        data = series.slices[0].read()
        who = dicom.named(dicom.patient(data), True) if self.options.subject == "patient" else ""
        return hashlib.sha256(who.encode() if who else data).hexdigest()[:32]

    def _labels(
        self, series: CtSeries, stack: SliceStack, axes: Axes, affine: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8] | None, dict[int, str], dict[str, Any]]:
        """Label map along LPS, legend and notes; where masks overlap, a lesion lies on its organ."""
        names = {pattern: standard(name) for pattern, name in (self.options.masks or {}).items()}
        shape = tuple(stack.shape[a] for a in axes.order)
        found: dict[str, NDArray[np.bool_]] = {}
        unused = 0
        for file in series.segmentations:
            for name, mask in ct_masks.from_seg(file.read(), names, stack.affine, stack.shape):
                found[name] = found.get(name, False) | axes.turn(mask)
        for file in series.nrrds:
            got = ct_masks.from_nrrd(file, names, affine, shape)
            if got is None:
                unused += 1
                continue
            found[got[0]] = found.get(got[0], False) | got[1]
        notes = {"masks_left_out": unused} if unused else {}
        if not found:
            return None, {}, notes
        order = sorted(found, key=lambda name: (name.endswith("_tumour"), name))
        out = np.zeros(shape, np.uint8)
        for value, name in enumerate(order, 1):
            out[found[name]] = value
        return out, dict(enumerate(order, 1)), notes


def _list_series(files: Sequence[File], nrrds: Sequence[File]) -> tuple[list[CtSeries], list[int]]:
    """The series among the files, and a number for each one's patient. Only numbers are remembered on this machine."""

    def make() -> dict[str, Any]:
        members = [dicom.membership(file) for file in files]
        names = dicom.told_apart([one.patient for one in members])
        series: dict[tuple[str, ...], int] = {}
        patients: dict[str, int] = {}
        slices = np.full(len(files), -1)
        owner = np.full(len(files), -1)
        for n, one in enumerate(members):
            if one.kind == "CT":
                slices[n] = series.setdefault((names[n], *one.series), len(series))
                owner[n] = patients.setdefault(names[n] or f"series {slices[n]}\0", len(patients))
        pairs = [
            (n, number)
            for n, one in enumerate(members)
            if one.kind == "SEG"
            for key, number in series.items()
            if key[0] == names[n] and (one.series[0] == key[1] if one.series[0] else one.series[1] == key[2])
        ]
        return {"slices": slices, "owner": owner, "pairs": np.array(pairs, np.int64).reshape(-1, 2)}

    marks = "\n".join(f"{f.path} {f.mark}" for f in files)
    known = remembered(f"ct series\n{marks}", ("slices", "owner", "pairs"), make)
    found, patients = [], []
    for number in range(int(known["slices"].max(initial=-1)) + 1):
        own = [files[int(n)] for n in np.flatnonzero(known["slices"] == number)]
        segs = tuple(files[int(n)] for n, other in known["pairs"] if other == number)
        homes = {_home(file) for file in own}
        found.append(CtSeries(tuple(own), segs, tuple(f for f in nrrds if _home(f) in homes)))
        patients.append(int(known["owner"][files.index(own[0])]))
    return found, patients


def _home(file: File) -> str:
    return file.name.rpartition("/")[0]
