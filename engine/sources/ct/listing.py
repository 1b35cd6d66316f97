"""What a folder of CT volumes holds: the files of each, what lies beside them, and what is in none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from lesionforge.engine.sources.base import UNKNOWN_LICENCE
from lesionforge.engine.sources.ct.beside import Owner, Stray, inventory, with_twins
from lesionforge.engine.sources.ct.pairing import LABEL_FOLDER, NII
from lesionforge.engine.sources.files import File

TEST = re.compile(r"(?:^|/)(?:images|labels)Ts/")
PASSED = {  # what a published set has beside its label maps: to test on, or the same once more
    "totalsegmentator": rf"(?:^|/)(?:combined_labels|total){NII}$",  # the masks once more, in one map
    "lits": rf"(?:^|/)test-volume-\d+{NII}$",
    "kits": rf"(?:aggregated_(?:AND|OR|MAJ)_seg|_instance-\d+_annotation-\d+){NII}$",  # each reader's
    "imagecasx": r"(?:^|/)centerlines/[^/]+\.vtk$",
}


@dataclass(frozen=True)
class CtFiles:
    """One volume: its image, and one label map with its legend, or binary masks by standard name.

    ``beside``: what else is there, is or may be of this volume, and may mark a lesion by what it is called.
    """

    name: str
    image: File
    label: File | None = None
    masks: tuple[tuple[str, File], ...] = ()
    beside: tuple[Stray, ...] = ()

    @property
    def read(self) -> list[File]:
        """Those that voxels are taken from, the image first."""
        return [self.image, *([self.label] if self.label else []), *(mask for _, mask in self.masks)]

    @property
    def files(self) -> list[File]:
        """All of them, the image first."""
        return [*self.read, *(stray.file for stray in self.beside)]


@dataclass(frozen=True)
class CtListing:
    """What a folder holds, read as one of the layouts."""

    layout: str
    entries: tuple[CtFiles, ...]
    legend: Mapping[int, str] = field(default_factory=dict)
    licence: str = UNKNOWN_LICENCE
    strays: tuple[Stray, ...] = ()

    def with_strays(self, files: Sequence[File]) -> CtListing:
        """With what lies beside its volumes."""
        used = {file.path for entry in self.entries for file in entry.read}
        owners = []
        for entry in self.entries:
            named = [file.name for file in (entry.image, entry.label) if file]
            folders = frozenset(str(PurePosixPath(name).parent) for name in named)
            owners.append(Owner(entry.name, folders, paths=tuple(re.sub(f"(?i){NII}$", "", name) for name in named)))
        strays = inventory(owners, [file for file in files if file.path not in used and not self._passed(file)])
        beside: dict[int, list[Stray]] = {}
        for stray in strays:
            for number in stray.cases if stray.counts else ():
                beside.setdefault(number, []).append(stray)
        entries = tuple(
            replace(entry, beside=with_twins(beside.get(n, ()), entry.read)) for n, entry in enumerate(self.entries)
        )
        return replace(self, entries=entries, strays=tuple(strays))

    def left_over(self, files: Sequence[File]) -> dict[str, list[str]]:
        """The paths of the files that are in no case and may hold a mask, by the reason; of volumes also images'."""
        used = {file.path for entry in self.entries for file in entry.read}
        strays = {stray.file.path: stray for stray in self.strays}
        out: dict[str, list[str]] = {}
        by_structure = self.layout == "totalsegmentator"
        cases = {entry.image.name.rpartition("/")[0] for entry in self.entries} - {""} if by_structure else set()
        for file in files:
            stray = strays.get(file.path)
            is_volume = re.search(rf"{NII}$", file.name, re.IGNORECASE) is not None
            if file.path in used or self._passed(file) or not (is_volume or (stray and stray.called != "healthy")):
                continue
            if stray and stray.called == "lesion" and not stray.is_claimed:
                why = "volumes called lesions, and of no case here"
            elif not is_volume:
                why = "files of other formats that may hold masks"
            elif any(str(folder) in cases for folder in PurePosixPath(file.name).parents):
                why = "volumes of a case outside its folder segmentations"
            else:
                why = "label maps without an image" if is_label_map(file) else "volumes without a label map"
            out.setdefault(why, []).append(file.path)
        return out

    def _passed(self, file: File) -> bool:
        """Whether the set has a file for another purpose, or says the same by it."""
        again = PASSED.get(self.layout)
        return bool(TEST.search(file.name) or (again and re.search(again, file.name, re.IGNORECASE)))


def is_label_map(file: File) -> bool:
    """Whether a name or its folder is a label map's."""
    base = re.search(rf"(?:^|[-_. /])(?:seg|label|mask|segmentation)s?(?:-\d+)?{NII}$", file.name, re.IGNORECASE)
    return base is not None or LABEL_FOLDER.fullmatch(file.name.rpartition("/")[0].rpartition("/")[2]) is not None
