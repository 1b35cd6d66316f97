"""``ctdicom:FOLDER``: CT series with their DICOM segmentations and NRRD masks; a series is a case.

Of a data set only the pixels and the geometry are kept (promise P8, ``dicom``). UIDs and the patient's id tell
which files belong together; neither they nor a file's name are written anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct import masks as ct_masks
from lesionforge.engine.sources.ct.axes import Axes
from lesionforge.engine.sources.ct.beside import MASKS, Owner, Stray, inventory, with_twins
from lesionforge.engine.sources.ct.marks import Grid, missed
from lesionforge.engine.sources.ct.names import BACKGROUND, chosen, name_of, standard
from lesionforge.engine.sources.ct.scan import CtScan, ScanOptions, as_volume, lesions_in, straightened
from lesionforge.engine.sources.ct.segments import lesions_told, may_be_one
from lesionforge.engine.sources.ct.series import SliceStack
from lesionforge.engine.sources.ct.series_list import list_series
from lesionforge.engine.sources.dicom_folder import dicom_files
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource, Person
from lesionforge.generators.structures import kind, kind_of_file
from lesionforge.generators.types import BadCase, Volume

NRRD = re.compile(r"\.nrrd$", re.IGNORECASE)
WAY_OUT = (
    "store it as a DICOM SEG or a binary .nrrd beside the slices and on their voxels, or leave it out by the option "
    "masks, as {'*tumor*': background}"
)
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
        found, self.left_over = list_series(files, [f for f in others if NRRD.search(f.name)])
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
        self._look_beside(others)

    def _look_beside(self, others: Sequence[File]) -> None:
        """Set what lies beside each series, and count what is not read."""
        used = {file.path for series in self._series for file in series.nrrds}
        owners = [Owner(min(homes), homes, alone=True) for homes in (series.homes for series in self._series)]
        strays = inventory(owners, [file for file in others if file.path not in used])
        beside: dict[int, list[Stray]] = {}
        for stray in strays:
            name = chosen([MASKS.sub("", stray.file.name.rpartition("/")[2])], self._mask_names())
            if stray.counts and name != BACKGROUND:
                for case in stray.cases:
                    beside.setdefault(case, []).append(replace(stray, called=kind(name)) if name else stray)
        self._beside = {case: with_twins(own, self._series[case].nrrds) for case, own in beside.items()}
        told = {s.file.path for s in strays if s.called != "healthy"}
        unread = [f.path for f in others if UNREAD.search(f.name) or (f.path in told and not NRRD.search(f.name))]
        lesions = {s.file.path for s in strays if s.called == "lesion" and not s.is_claimed}
        left = {**self.left_over, "files of other formats that may hold masks, which are not read here": unread}
        left = {why: [path for path in paths if path not in lesions] for why, paths in left.items()}
        left["volumes called lesions, and of no case here"] = sorted(lesions)
        self.left_over = {why: paths for why, paths in left.items() if paths}

    def case_files(self, case: int) -> Sequence[File]:
        """The slices as they are listed, their masks, and what else lies beside them."""
        s = self._series[case]
        return [*s.slices, *s.segmentations, *s.near, *s.nrrds, *(stray.file for stray in self._beside.get(case, ()))]

    def annotations(self) -> Sequence[bytes]:
        """What the names of masks and of files beside say: called otherwise they mark something else."""
        names = self._mask_names()
        marks = [
            [name_of(called, names) for called in series.called]
            + [said for said in map(series.told, series.segmentations) if kind_of_file(said) == "lesion"]
            for series in self._series
        ]
        beside = [[stray.called for stray in self._beside.get(case, ())] for case in range(self.cases)]
        return [json.dumps(said).encode() for said in (marks, beside) if any(said)]

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
        grid = _grid(stack)
        labels, legend, left_out = self._labels(number, stack, axes, grid)
        notes |= left_out
        if labels is not None:  # else nothing is called healthy
            self._require_nothing_missed(number, grid, labels, legend)
        lesions = {} if labels is None else lesions_in(labels, legend)
        if axes.oblique:
            notes["oblique_deg"] = round(axes.angle_deg, 2)
            scan = straightened(hu, labels, grid.affine, axes.spacing_mm, o.interpolation)
        else:
            x, y, z = (float(mm) for mm in grid.affine[:3, 3])
            scan = CtScan(hu, labels, axes.spacing_mm, (x, y, z))
        if o.region:
            if scan.labels is None:
                raise BadCase("has no masks to crop it by")
            if box := o.box(scan.labels, legend, scan.spacing_mm):
                scan = scan.crop(box)
        return as_volume(scan, legend, f"ctdicom/{self._subject(number)}", self.licence, notes, o, lesions)

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
        self, number: int, stack: SliceStack, axes: Axes, grid: Grid
    ) -> tuple[NDArray[np.uint8] | None, dict[int, str], dict[str, Any]]:
        """Label map along LPS, legend and notes; where masks overlap, a lesion lies on its organ."""
        series, names, shape = self._series[number], self._mask_names(), grid.shape
        found: dict[str, NDArray[np.bool_]] = {}
        unused = 0
        parts: list[tuple[str | None, NDArray[np.bool_] | None]] = [
            (name, axes.turn(mask))
            for file in series.segmentations
            for name, mask in ct_masks.from_seg(file.read(), series.told(file), names, stack.affine, stack.shape)
        ]
        for n, (file, called) in enumerate(zip(series.nrrds, series.called, strict=True), 1):
            try:
                name, mask = ct_masks.from_nrrd(file, called, names, grid.affine, shape)
                if name and mask is None and kind(name) != "healthy":
                    sharing = tuple(n for n, other in enumerate(self._series) if file in other.nrrds)
                    said = "lesion" if kind(name) == "lesion" else kind_of_file(" ".join(called))
                    if why := self._missed(Stray(file, said, sharing), number, grid, None, ()):
                        raise BadCase(f"{why}: {WAY_OUT}")
                parts.append((name, mask))
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

    def _require_nothing_missed(
        self, number: int, grid: Grid, labels: NDArray[np.uint8], legend: Mapping[int, str]
    ) -> None:
        """Refuse a series with a file that may mark a lesion, where its own label map has none that could be it."""
        lesions = [value for value, name in legend.items() if kind(name) == "lesion"]
        for stray in self._beside.get(number, ()):
            if why := self._missed(stray, number, grid, labels, lesions):
                raise BadCase(f"a file beside its slices {why}: {WAY_OUT}")
        for file in self._series[number].near:
            told = lesions_told(file.read(), self._mask_names())  # sets store the same in both ways
            if not all(any(may_be_one(name, legend[value]) for value in lesions) for name in told):
                raise BadCase(
                    "an RT structure set, or a segmentation that refers to a series that is not there, names a lesion, "
                    f"and would count as healthy: {WAY_OUT}"
                )

    def _missed(
        self, stray: Stray, number: int, grid: Grid, labels: NDArray[np.uint8] | None, lesions: Sequence[int]
    ) -> str | None:
        def grid_of(case: int) -> Grid:
            return grid if case == number else _grid(SliceStack.of(self._series[case].slices))

        return missed(stray, number, grid_of, labels, lesions)


def _grid(stack: SliceStack) -> Grid:
    axes = Axes.of(stack.affine)
    return Grid(axes.turned(stack.affine, stack.shape), tuple(stack.shape[a] for a in axes.order))
