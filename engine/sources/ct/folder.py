"""``ct:FOLDER``: CT volumes with label maps, laid out as the published sets lay them out (``ct_layouts``)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct import layouts
from lesionforge.engine.sources.ct.axes import SAME_PLACE_MM, Axes, Order, apart_mm, laid
from lesionforge.engine.sources.ct.beside import Stray
from lesionforge.engine.sources.ct.label_map import counted, rename
from lesionforge.engine.sources.ct.layouts import Layout
from lesionforge.engine.sources.ct.listing import CtFiles
from lesionforge.engine.sources.ct.marks import Grid, missed
from lesionforge.engine.sources.ct.names import TUMOUR_OF_SOMETHING, nameless, standard
from lesionforge.engine.sources.ct.scan import CtScan, ScanOptions, as_volume, lesions_in, straightened
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder, FolderOptions, FolderSource
from lesionforge.engine.sources.nifti import header_of, look, read_hu, read_labels
from lesionforge.engine.sources.nifti_header import NiftiHeader
from lesionforge.generators.structures import kind
from lesionforge.generators.types import BadCase, Volume

TUMOUR_ORGANS = ("liver", "kidney", "pancreas", "spleen", "coronary")  # read of a set with a mask per structure
LOST = frozenset(map(str, range(28, 48)))  # LiTS' volumes from 3D-IRCADb
LEGEND = "the option legend, as {1: liver, 2: liver_tumour}"


@dataclass(frozen=True)
class CtOptions(FolderOptions, ScanOptions):
    """How volumes are read.

    Attributes:
        layout: how the folder is laid out; ``auto`` recognises all but a mixture.
        legend: standard names of the label map's values, where the layout does not say them (of plain pairs: always) or
            says them wrong, as {1: liver, 2: liver_tumour}. A volume with values that the layout's own legend lacks
            is refused; what one given here lacks is left out, and counted in the json.
        labels: the structures to keep, by standard name; all where absent. Of a set with one mask file per structure
            (TotalSegmentator: 117) only these are read; where absent, lesions, liver, kidney, pancreas, spleen and
            coronary. Lesions that are left out so are counted in the json.
        modality: ``ct`` where dataset.json calls CT by another name, as a normalisation.
    """

    layout: Layout = "auto"
    legend: dict[int, str] | None = None
    labels: tuple[str, ...] | None = None
    modality: Literal["auto", "ct"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.legend is not None and not all(1 <= value <= 255 for value in self.legend):
            raise ValueError("legend names values from 1 to 255")


class CtVolumes(FolderSource):
    """A case per volume. What is held at once: 3 bytes a voxel, the region's alone where one is named."""

    Options: ClassVar[type[CtOptions]] = CtOptions
    keeps = True

    def __init__(self, place: str, options: CtOptions) -> None:
        super().__init__(place, options)
        files = Folder(place).walk()
        found = layouts.find(files, options.layout, options.modality == "ct", options.legend is not None)
        self.layout, self.licence = found.layout, found.licence
        self.left_over = found.left_over(files)
        if self.layout == "lits" and LOST & {entry.name.rpartition("/")[2] for entry in found.entries}:
            self.notes = [
                "of LiTS' volumes 28 to 47 most say 1 x 1 x 1 mm, as they lost their spacing: sizes drawn in mm are "
                "wrong there; mend their headers from 3D-IRCADb-01, or take them out"
            ]
        self.legend = {v: standard(name) for v, name in (options.legend or found.legend).items()}
        if self.layout != "totalsegmentator" and not self.legend:
            raise SourceError(f"does not say what its labels mean: set {LEGEND}")
        if self.layout == "totalsegmentator" and options.legend:
            raise SourceError(
                "has a mask file per structure, whose name says what it marks: the option legend has no effect there; "
                "leave it out, and rename masks, as liver_tumour"
            )
        if options.legend and options.labels is None:
            self.notes = [
                *self.notes,
                "what the option legend does not name is background, counted in each sample's json",
            ]
        wanted = {standard(name) for name in options.labels or ()}
        there = {name for entry in found.entries for name, _ in entry.masks} or set(self.legend.values())
        if lacking := sorted(wanted - there):
            known = ", ".join(sorted(name for name in there if kind(name) == "healthy" or name.endswith("tumour")))
            raise SourceError(
                f"has nothing called {lacking[0]}, which the option labels is to keep: what it is there would be "
                f"background; it has {known}"
            )
        unknown = [] if options.legend or options.labels is not None else nameless(self.legend)
        if unknown:
            raise SourceError(
                f"dataset.json gives label {unknown[0]} a name that is no structure known here, or a tumour's of no "
                f"organ: it would become background. Say what it is in {LEGEND}, or what to keep in the option labels"
            )
        masks = {name for entry in found.entries for name, _ in entry.masks} - wanted
        self._doubtful = {n for n in masks if (kind(n) == "lesion" if options.labels else nameless({0: n}))}
        self._found = found.entries
        self._order = self.by_subject([entry.name for entry in found.entries], options.subject)
        self._entries = [found.entries[i] for i in self._order]

    def case_files(self, case: int) -> Sequence[File]:
        """The image, its label map and its masks."""
        return self._entries[case].files

    def annotations(self) -> Sequence[bytes]:
        """What the set's own index says, where it has one."""
        return [json.dumps([self.layout, self.legend, self.licence], sort_keys=True).encode()]

    def content(self, case: int, whole: bool) -> bytes:
        """The image's voxels."""
        return look(self._entries[case].image, whole)

    def read(self, case: int) -> Volume:
        """One volume and its labels."""
        try:
            return self._load(case)
        except BadCase as error:
            raise BadCase(f"volume {case + 1}: {error}") from None

    def _load(self, case: int) -> Volume:
        entry, o = self._entries[case], self.options
        header = header_of(entry.image)
        axes = Axes.of(header.affine)
        notes: dict[str, Any] = {"layout": self.layout, "stored_axes": axes.name(), **header.doubts}
        o.check_axes(axes)
        labels, legend, dropped, left_out = self._labels(entry, header, axes)
        if lost := self._lost(case, labels, legend) + dropped:
            notes["lesions_left_out"] = lost
        if left_out:
            notes["labels_left_out"] = left_out
        lesions = lesions_in(labels, legend) if o.region or o.spacing_mm or axes.oblique else {}
        affine = axes.turned(header.affine, header.shape)
        if axes.oblique:
            notes["oblique_deg"] = round(axes.angle_deg, 2)
            scan = straightened(read_hu(entry.image, axes), labels, affine, axes.spacing_mm, o.interpolation)
            if scan.labels is not None and (box := o.box(scan.labels, legend, scan.spacing_mm)):
                scan = scan.crop(box)
        else:
            box = o.box(labels, legend, axes.spacing_mm)
            order: Order = "F" if o.spacing_mm else "C"  # as resampling is fastest, or as generators get it
            labels = laid(labels[box].copy(order="K") if box else labels, order)
            hu = read_hu(entry.image, axes, box, order)
            x, y, z = (float(mm) for mm in affine[:3, 3])
            if box:
                x, y, z = (o + mm * s.start for o, mm, s in zip((x, y, z), axes.spacing_mm, box, strict=True))
            scan = CtScan(hu, labels, axes.spacing_mm, (x, y, z))
        return as_volume(scan, legend, f"{self.layout}/{self.subject_name(case)}", self.licence, notes, o, lesions)

    def _labels(
        self, entry: CtFiles, image: NiftiHeader, axes: Axes
    ) -> tuple[NDArray[np.uint8], dict[int, str], int, dict[str, int]]:
        """The label map, turned, its legend, reduced to the structures to keep, and what is left out.

        That is how many lesions by the option labels, and by value the voxels of what nobody names.
        """
        wanted = None if self.options.labels is None else {standard(name) for name in self.options.labels}
        if entry.label is not None:
            _same_place(header_of(entry.label), image)
            found = read_labels(entry.label, axes)
            left_out = self._nameless(found)
            dropped = 0 if wanted is None else self._dropped(found, wanted)
            table = np.zeros(256, np.uint8)
            legend: dict[int, str] = {}
            for value, name in self.legend.items():
                if wanted is None or name in wanted:
                    first = next((v for v, known in legend.items() if known == name), value)
                    legend[first], table[value] = name, first
            rename(found, table)
            return found, legend, dropped, left_out
        parts = [
            (name, file)
            for name, file in entry.masks
            if (name in wanted if wanted else name in TUMOUR_ORGANS or _is_of_an_organ(name))
        ]
        parts.sort(key=lambda part: (kind(part[0]) == "lesion", part[0]))  # a lesion lies on its organ
        if not parts:
            raise BadCase("has no mask of the structures to keep")
        legend = dict(enumerate(dict.fromkeys(name for name, _ in parts), 1))
        values = {name: value for value, name in legend.items()}
        out = np.zeros(tuple(image.shape[a] for a in axes.order), np.uint8, "F")
        for name, file in parts:
            _same_place(header_of(file), image)
            mask = read_labels(file, axes)
            if (high := int(mask.max())) > 1 and (several := (mask != 0) & (mask != high)).any():
                both = f"{int(mask[several][0])} and {high}"
                raise BadCase(f"its mask of {name} holds {both}: a file marks one structure; split it")
            np.copyto(out, values[name], where=mask > 0)
        return out, legend, 0, {}

    def _lost(self, case: int, labels: NDArray[np.uint8], legend: Mapping[int, str]) -> int:
        """How many lesions are left out, as the option labels says, of masks and of files beside.

        Args:
            labels, legend: what is kept.

        Raises:
            BadCase: where it says nothing and a mask or a file beside marks what may be a lesion.
        """
        number, keep = self._order[case], self.options.labels
        entry = self._found[number]
        lost = 0
        for file in (file for name, file in entry.masks if name in self._doubtful):
            why = missed(Stray(file, "lesion", (number,)), number, self._grid_of, labels, _lesions(legend))
            if why and not keep:
                raise BadCase(
                    "one of its masks, whose name says neither anatomy nor a lesion of one organ known here, "
                    f"{why}: rename it, as liver_tumour, or say what to keep in the option labels"
                )
            lost += bool(why)
        for stray in entry.beside:
            if keep and stray.called != "lesion":
                continue
            why = missed(stray, number, self._grid_of, labels, _lesions(legend))
            if why and entry.label:  # it may copy what the legend joins or leaves out
                raw = read_labels(entry.label, Axes.of(header_of(entry.image).affine))
                why = missed(stray, number, self._grid_of, raw, _lesions(self.legend))
            if why and not keep:
                raise BadCase(
                    f"a file beside its label map or folder segmentations {why}: mark it there, as liver_tumour, take "
                    "it out, or say what to keep in the option labels"
                )
            lost += bool(why)
        return lost

    def _grid_of(self, number: int) -> Grid:
        header = header_of(self._found[number].image)
        axes = Axes.of(header.affine)
        return Grid(axes.turned(header.affine, header.shape), tuple(header.shape[a] for a in axes.order))

    def _dropped(self, found: NDArray[np.uint8], wanted: Collection[str]) -> int:
        """How many lesions that are there are not to be kept."""
        out = [value for value, name in self.legend.items() if kind(name) == "lesion" and name not in wanted]
        return int(np.count_nonzero(counted(found)[out])) if out else 0

    def _nameless(self, found: NDArray[np.uint8]) -> dict[str, int]:
        """The voxels of each value that no legend names.

        Raises:
            BadCase: for one that the set's own legend lacks: it may be a lesion, and would become background.
        """
        counts = counted(found)
        unknown = [value for value in np.flatnonzero(counts).tolist() if value not in self.legend]
        if unknown and not self.options.legend and self.options.labels is None:
            raise BadCase(
                f"its label map holds {unknown[0]} in {counts[unknown[0]]} voxels, and nobody says what that is: name "
                f"it in {LEGEND}, or name the structures to keep in the option labels"
            )
        return {str(value): int(counts[value]) for value in unknown}


def _lesions(legend: Mapping[int, str]) -> list[int]:
    """The values that are lesions."""
    return [value for value, name in legend.items() if kind(name) == "lesion"]


def _is_of_an_organ(name: str) -> bool:
    """Whether a mask's name is a lesion's, and says of what."""
    return kind(name) == "lesion" and name != TUMOUR_OF_SOMETHING


def _same_place(label: NiftiHeader, image: NiftiHeader) -> None:
    """Refuse a label map on other voxels than its image's."""
    if label.shape != image.shape:
        raise BadCase(f"its label map has {label.shape} voxels, the image {image.shape}")
    if (far := apart_mm(label.affine, image.affine, image.shape)) > SAME_PLACE_MM:
        raise BadCase(f"its label map lies up to {far:.1f} mm from the image")
