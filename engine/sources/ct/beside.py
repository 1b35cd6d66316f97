"""What lies beside the cases of a folder of CT and may hold a mask: whose it is, and what it is called.

A folder tells first: what lies where one case alone does is that one's. Where several do, names tell: ``a_tumor``,
``tumor_a``, ``aTumor`` and ``tumors/a`` are of case ``a``, ``lesionmask-12`` is of LiTS' ``volume-12``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lesionforge.engine.sources.files import File
from lesionforge.generators.structures import Kind, kind_of_file, plain, says_nothing

#: What holds masks, read here or not.
MASKS = re.compile(
    r"(?:\.seg)?\.(?:nii|img|hdr|mha|mhd|nrrd|nhdr|mgz|mgh|tiff?|stl|obj|ply|vtk|vtp|vti|npy|npz|mat|h5)(?:\.gz)?$",
    re.IGNORECASE,
)
#: What holds none, whatever it is called: texts, tables, documents, pictures of reports, code.
NO_MASKS = re.compile(
    r"\.(?:json|csv|tsv|txt|md|rst|rtf|xml|html?|xlsx?|ods|docx?|odt|pptx?|pdf|py|ipynb|m|r|sh|bat|ya?ml|toml|ini|cfg|log|"
    r"png|jpe?g|gif|bmp|svg|webp|mp4|avi|mov|bib|tex|db|sqlite|lock|sha256|md5)(?:\.gz)?$",
    re.IGNORECASE,
)
#: What is made of a mask: surfaces, features, transforms.
DERIVED = re.compile(r"\.(?:stl|obj|ply|vtk|vtp|vtu|off|glb|gltf|npz|npy|mat|h5|hdf5|tfm)(?:\.gz)?$", re.IGNORECASE)
READ = re.compile(r"\.(?:nii|nii\.gz|nrrd)$", re.IGNORECASE)
ENDS = re.compile(r"(?<=.)[-_.](?:ct|img|image|seg|label|mask)$", re.IGNORECASE)  # of names, as of ``a_ct``


@dataclass(frozen=True)
class Owner:
    """A case: its name with the folders that tell it from others, and the folders that its files lie in.

    ``alone``: what else lies in these is its own, whatever it is called. ``paths``: of its files without
    endings, where they are called after it: what differs in numbers alone is another case's, there or not.
    """

    name: str
    folders: frozenset[str]
    alone: bool = False
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stray:
    """A file that no case uses, and what it is called.

    ``cases``: the numbers of those that it is of, or may be where nobody says whose it is (``is_claimed`` or not).
    ``numbered``: those of them that it is of by a number alone, unless it lies on the voxels of another one only.
    ``has_twin``: it is stored once more in a format that is read, as ``tumor.stl`` of ``tumor.nii.gz``.
    """

    file: File
    called: Kind
    cases: tuple[int, ...]
    is_claimed: bool = True
    has_twin: bool = False
    numbered: tuple[int, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether it is of a format that is read here."""
        return READ.search(self.file.name) is not None

    @property
    def counts(self) -> bool:
        """Whether it can decide how a case is read."""
        return bool(self.cases) and sum((self.is_claimed, self.is_read, self.called == "lesion")) > 1


def inventory(owners: Sequence[Owner], files: Iterable[File]) -> list[Stray]:
    """Whose the files are that no case uses, and what they are called; healthy anatomy is left out.

    What is called a lesion is kept whatever its ending, but for those that hold no mask.
    NRRD files are kept whatever they are called: the segments in them have names of their own.
    """
    below: dict[str, list[int]] = {}
    for number, owner in enumerate(owners):
        for folder in {str(f) for own in owner.folders for f in (PurePosixPath(own), *PurePosixPath(own).parents)}:
            below.setdefault(folder, []).append(number)
    own_paths = {_small(path) for owner in owners for path in owner.paths}
    forms = set(map(_without_numbers, own_paths))
    groups: dict[str, _Group] = {}
    out: list[Stray] = []
    for file in files:
        path = PurePosixPath(file.name)
        holds = MASKS.search(path.name) is not None
        if (NO_MASKS.search(path.name) and not holds) or any(part.startswith(".") for part in path.parts):
            continue
        folder = next(str(f) for f in path.parents if str(f) in below)  # the source's own has them all
        if folder not in groups:
            groups[folder] = _Group(folder, {number: owners[number] for number in below[folder]})
        parts = [*path.relative_to(folder).parent.parts, MASKS.sub("", path.name)]
        small = [_small(part) for part in parts]
        if path.suffix.lower() in ("", ".dcm", ".ima") and kind_of_file("_".join(small[-2:])) != "lesion":
            continue  # a scan's slices, far below a folder with the name of a set
        stray = groups[folder].claimed(file, small)
        whole = _small(MASKS.sub("", file.name))
        if whole not in own_paths and _without_numbers(whole) in forms:
            stray = Stray(file, stray.called, (), is_claimed=False)
        if stray.called == "lesion" or (holds and (stray.called != "healthy" or path.name.lower().endswith(".nrrd"))):
            out.append(stray)
    return out


def with_twins(strays: Sequence[Stray], read: Sequence[File]) -> tuple[Stray, ...]:
    """Those beside a case, and which of them are stored once more in a format that is read.

    Args:
        read: the case's own files.
    """
    known = {_base(file) for file in (*read, *(stray.file for stray in strays if stray.is_read))}
    lesions = {base for base in known if kind_of_file(base) == "lesion"}  # a case's name alone is that of many a file
    return tuple(replace(s, has_twin=not s.is_read and _base(s.file) in lesions) for s in strays)


def _base(file: File) -> str:
    name = file.name.rpartition("/")[2]
    return _small(MASKS.sub("", name) if MASKS.search(name) else PurePosixPath(name).stem)


class _Group:
    """The cases in or below a folder, by what tells them apart."""

    def __init__(self, folder: str, owners: Mapping[int, Owner]) -> None:
        self._all = tuple(owners)
        self._own = tuple(n for n, owner in owners.items() if owner.alone and folder in owner.folders)
        self._parts = {n: [_small(ENDS.sub("", part)) for part in owner.name.split("/")] for n, owner in owners.items()}
        common = set.intersection(*map(set, self._parts.values())) if len(owners) > 1 else set()
        self._names: dict[str, list[int]] = {}
        for number, parts in self._parts.items():
            name = next((part for part in reversed(parts) if part not in common), "")
            self._names.setdefault(name, []).append(number)
        split = [name.split("_") for name in self._names]
        alike = itertools.takewhile(lambda words: len(set(words)) == 1, zip(*split, strict=False))
        self._begin = split[0][:-1] if len(split) == 1 else [words[0] for words in alike]
        numbered = {name: re.fullmatch(r"(.*?)_?(\d+)", name) for name in self._names}
        prefixes = {match[1] if match else None for match in numbered.values()}
        self._prefix = prefixes.pop() if len(prefixes) == 1 else None  # None: their numbers alone tell no cases
        self._numbers = {match[2]: self._names[name] for name, match in numbered.items() if match}
        for name, cases in list(self._names.items()):
            for path in owners[cases[0]].paths if len(cases) == 1 else ():
                if name in _runs(own := _small(path.rpartition("/")[2])):  # as ``volume-0`` of 0
                    self._names.setdefault(own, cases)

    def claimed(self, file: File, parts: list[str]) -> Stray:
        """Whose a file is: that of any of them where only a number that no case has, or nothing, tells.

        Args:
            parts: of its path below the folder, in small words.
        """
        if self._own or len(self._all) == 1:
            return Stray(file, self._called(parts, next(iter(self._names))), self._own or self._all)
        runs = {run for part in parts for run in _runs(part)}
        counts = self._prefix is not None  # numbers alone tell the cases, and lesions are counted, too
        names = sorted(run for run in runs & self._names.keys() if run and not (counts and run.isdecimal()))
        if longest := [name for name in names if len(name) == len(max(names, key=len))]:
            named = dict.fromkeys(n for name in longest for n in self._nearest(self._names[name], runs))
            return Stray(file, self._called(parts, longest[0]), tuple(named))
        if (number := self._number(parts)) and (cases := self._nearest(self._numbers.get(number, []), runs)):
            called = self._called(parts, number)
            others = tuple(n for n in self._all if n not in cases) if called == "lesion" else ()
            return Stray(file, called, cases + others, numbered=cases if others else ())
        return Stray(file, self._called(parts, ""), self._all, False)

    def _nearest(self, cases: Sequence[int], runs: set[str]) -> tuple[int, ...]:
        """Of cases of one name those whose other folders a path has, too."""
        fits = {n: sum(part in runs for part in self._parts[n]) for n in cases}
        most = max(fits.values(), default=0)
        return tuple(n for n, count in fits.items() if count == most)

    def _number(self, parts: list[str]) -> str | None:
        """The number of a case in a path: a folder's of digits alone, else the first one in the file's name."""
        if self._prefix is None:
            return None
        if alone := next((part for part in parts[:-1] if part.isdecimal()), None):
            return alone
        match = next((m for part in reversed(parts) if (m := re.match(r"(\D*?)_?(\d+)", part))), None)
        known = match and (
            match[1] == self._prefix or not self._prefix or says_nothing(match[1]) or kind_of_file(match[1]) == "lesion"
        )
        return match[2] if match and known else None

    def _called(self, parts: list[str], name: str) -> Kind:
        """What is left of a path without the name of its case says; folders count for lesions."""
        left = []
        for part in parts:
            rest = re.sub(rf"(?:^|(?<=_)){re.escape(name)}(?=_|$)", "", part) if name else part
            words = rest.strip("_").split("_")
            if self._begin and words[: len(self._begin)] == self._begin and len(part.split("_")) > len(self._begin):
                words = words[len(self._begin) :]
            rest = "_".join(words)
            if self._prefix:
                rest = re.sub(rf"^{re.escape(self._prefix)}_?\d+(?=_|$)", "", rest)
            left.append(rest.strip("_"))
        together = "_".join(left)
        called = kind_of_file(together)
        return called if called == "lesion" or says_nothing(left[-1]) else kind_of_file(left[-1])


def _small(part: str) -> str:
    """A part of a path in small words joined by ``_``, numbers without leading zeros."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part)
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain(text))


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "0", text)


def _runs(part: str) -> set[str]:
    """All runs of a part's words."""
    words = part.split("_")
    return {"_".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)}
