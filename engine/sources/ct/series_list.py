"""The CT series below a folder: their slices, and the masks that are stored as DICOM or in NRRD."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.ct.grouping import FLAWS, Kind, Member, series_of
from lesionforge.engine.sources.files import File, stem
from lesionforge.generators.structures import kind, words

LEFT: dict[Kind, str] = {
    "slice": "",
    "segmentation": "DICOM segmentations of no series that is there",
    "localizer": "localizers",
    "structure set": "RT structure sets, which are not read",
    "other": "DICOM files of another modality",
}
LEFT_OVER = tuple(LEFT.values())


@dataclass(frozen=True)
class CtSeries:
    """The files of one series: its slices, its DICOM segmentations, and the NRRD files beside or below them.

    ``near``: structure sets and segmentations that may be of it and are not read, see ``grouping.Series``.

    The first slice says whose it is, if any does. ``parts``: of how many that bear one UID; ``person``: a number, equal
    for one patient's; ``by_issuer``: the id alone does not tell who that is; ``flaw``: why it is refused, if it is.
    """

    slices: tuple[File, ...]
    segmentations: tuple[File, ...]
    near: tuple[File, ...]
    nrrds: tuple[File, ...]
    parts: int
    person: int
    by_issuer: bool
    flaw: str

    @property
    def homes(self) -> frozenset[str]:
        """The folders that its slices lie in."""
        return frozenset(map(home, self.slices))

    @property
    def called(self) -> list[list[str]]:
        """What each NRRD file is called, and the folder below the slices' where that tells of lesions."""
        homes = self.homes
        folders = [home(file).removeprefix(_home_above(file, homes) or ".") for file in self.nrrds]
        return [
            [stem(file.name), *([folder] if kind(folder) == "lesion" else [])]
            for file, folder in zip(self.nrrds, folders, strict=True)
        ]

    def told(self, segmentation: File) -> str:
        """What a file's own name and its folder's say, but for words of the folders that the slices lie in."""
        parts = [PurePosixPath(segmentation.name).parent.name, stem(segmentation.name)]
        known = set(words(" ".join(self.homes)))
        return " ".join(word for word in words(" ".join(parts)) if word not in known)


def list_series(files: Sequence[File], nrrds: Sequence[File]) -> tuple[list[CtSeries], dict[str, list[str]]]:
    """The series among the files, and what is in none. Only numbers are remembered on this machine."""

    def make() -> dict[str, Any]:
        members = [Member.of(file) for file in files]
        series = series_of(members)
        persons = {name: n for n, name in enumerate(dict.fromkeys(one.person for one in series if one.person))}
        slices = [(n, number) for number, one in enumerate(series) for n in one.slices]
        segmentations = [(n, number) for number, one in enumerate(series) for n in one.segmentations]
        near = [(n, number) for number, one in enumerate(series) for n in one.near]
        rows = [
            (one.parts, persons.get(one.person, len(persons) + n), "\0" in one.person, one.flaw)
            for n, one in enumerate(series)
        ]
        used = {n for n, _ in slices + segmentations}
        left = [LEFT_OVER.index(LEFT[one.kind]) if n not in used else -1 for n, one in enumerate(members)]
        return {
            "slices": np.array(slices, np.int64).reshape(-1, 2),
            "segmentations": np.array(segmentations, np.int64).reshape(-1, 2),
            "near": np.array(near, np.int64).reshape(-1, 2),
            "series": np.array(rows, np.int64).reshape(-1, 4),
            "left": np.array(left, np.int64),
        }

    marks = "\n".join(f"{f.path} {f.mark}" for f in files)
    keys = ("slices", "segmentations", "near", "series", "left")
    known = remembered(f"ct series, people, flaws and what is near\n{marks}", keys, make)
    found = []
    own_files: dict[tuple[str, int], list[File]] = {}
    for key in keys[:3]:
        for n, number in known[key].tolist():
            own_files.setdefault((key, number), []).append(files[n])
    homes = {home(file) for (key, _), own in own_files.items() if key == "slices" for file in own}
    below: dict[str, list[File]] = {}
    for file in nrrds:
        if above := _home_above(file, homes):
            below.setdefault(above, []).append(file)
    for number, (parts, person, by_issuer, flaw) in enumerate(known["series"].tolist()):
        own, segs, near = (tuple(own_files.get((key, number), ())) for key in keys[:3])
        beside = {f.path: f for folder in dict.fromkeys(map(home, own)) for f in below.get(folder, ())}
        found.append(CtSeries(own, segs, near, tuple(beside.values()), parts, person, bool(by_issuer), FLAWS[flaw]))
    left: dict[str, list[str]] = {}
    for file, why in zip(files, known["left"].tolist(), strict=True):
        if why >= 0:
            left.setdefault(LEFT_OVER[why], []).append(file.path)
    used = {file.path for one in found for file in one.nrrds}
    if alone := [file.path for file in nrrds if file.path not in used]:
        left["NRRD files beside no CT slice"] = alone
    return found, left


def home(file: File) -> str:
    return str(PurePosixPath(file.name).parent)


def _home_above(file: File, homes: Collection[str]) -> str | None:
    """The nearest folder above a file that is one of ``homes``."""
    return next((str(folder) for folder in PurePosixPath(file.name).parents if str(folder) in homes), None)
