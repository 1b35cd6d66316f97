"""Sources that read the files of a folder: what lies there, and what such sources have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lesionforge.engine.sources.base import Source, SourceError
from lesionforge.engine.sources.files import File, fingerprint, listed, located, missing, natural, secret, why
from lesionforge.generators.types import BadCase


class Folder:
    """A folder, and the files under it by name."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.fs, self.path = located(place)
        try:
            known = self.fs.isdir(self.path)
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot be looked at: {why(error)}") from None
        if not known:
            raise missing(place, "folder")

    def files(self, sub: str = "") -> dict[str, File]:
        """The files of a subfolder by their names, sorted with numbers in order; none where it is not there."""
        path = f"{self.path.rstrip('/')}/{sub}" if sub else self.path
        try:
            found = self.fs.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SourceError(f"a folder in it cannot be listed: {why(error)}") from None
        files = self._plain(found, lambda _: sub)
        return {f.name.rsplit("/", 1)[-1]: f for f in sorted(files, key=lambda f: natural(f.name))}

    def walk(self) -> list[File]:
        """All files below, in subfolders too, in natural order of their names."""
        try:
            found = self.fs.find(self.path, detail=True)
        except OSError as error:
            raise SourceError(f"cannot be listed: {why(error)}") from None
        root = self.path.rstrip("/") + "/"
        files = self._plain(found.values(), lambda name: name.removeprefix(root).rpartition("/")[0])
        return sorted(files, key=lambda f: natural(f.name))

    def _plain(self, found: Iterable[Mapping[str, Any]], sub: Callable[[str], str]) -> list[File]:
        """What is a file or a link to one. Folders behind links are listed where they lie.

        Args:
            found: the file system's listing.
            sub: the subfolder of a path.

        Raises:
            SourceError: for links to folders elsewhere: who leaves them out loses cases silently.
        """
        out = []
        for info in found:
            name = str(info["name"])
            if not info.get("islink"):
                out += [listed(self.fs, info, sub(name))] if info["type"] == "file" else []
                continue
            real = os.path.realpath(name)  # a disk's: no other place has links
            inside = real.startswith(os.path.realpath(self.path).rstrip("/") + "/")
            if os.path.isdir(real) and not inside:
                raise SourceError("holds a link to a folder elsewhere: put that folder itself there")
            if inside and os.path.isfile(real):
                out.append(listed(self.fs, {**self.fs.info(real), "name": name}, sub(name)))
            elif not os.path.isdir(real):
                out.append(listed(_Elsewhere(), info, sub(name)))
        return out


class _Elsewhere:
    """The file system of links that lead out of a folder or nowhere: nothing is read through them, and they say so."""

    def open(self, *_: Any, **__: Any) -> Any:
        raise BadCase("is a link out of the source's folder or to nowhere: put the file itself there")

    cat_file = open


class FolderSource(Source):
    """A source of files: their names and sizes are its fingerprint and its secret. A subclass says which they are."""

    @abstractmethod
    def case_files(self, case: int) -> Sequence[File]:
        """The files of a case, first the one to show to somebody who looks for it."""

    def files(self) -> list[File]:
        """All files that cases are read from."""
        return [file for case in range(self.cases) for file in self.case_files(case)]

    def annotations(self) -> Sequence[bytes]:
        """Label files read whole, where they are small enough to be fingerprinted by what they say."""
        return ()

    def fingerprint(self) -> str:
        """Hash of the files' names and sizes, and of every annotation."""
        return fingerprint(self.files(), *self.annotations())

    def secret(self) -> bytes:
        """See ``files.secret``."""
        return secret(self.files())

    def locate(self, case: int) -> str:
        """The path of the case's first file."""
        return self.case_files(case)[0].path

    def put_together(self, names: Sequence[str]) -> list[int]:
        """Set ``subjects`` and ``cases_per_subject`` so that cases with the same name are one subject's.

        A plan knows subjects with the same number of cases each; patients have one picture or twenty. So patients are
        put together in bins as large as the largest of them: a bin is what the plan calls a subject, and no patient
        stands in two. A bin that stays unfilled gives its first cases again.

        Args:
            names: what tells the subject of each case found; no name goes further.

        Returns:
            Which of the cases found each case is.
        """
        groups: dict[str, list[int]] = {}
        for case, name in enumerate(names):
            groups.setdefault(name, []).append(case)
        self.cases_per_subject, order = pack(list(groups.values()))
        self.subjects = len(order) // self.cases_per_subject
        return order


def pack(groups: Sequence[Sequence[int]]) -> tuple[int, list[int]]:
    """Lay groups of cases out in bins of equal size, best fit first.

    Args:
        groups: numbers of the cases of each group; no group is empty.

    Returns:
        The size of a bin, and the cases bin by bin; with single cases alone that is 1 and the cases as given.
    """
    size = max((len(group) for group in groups), default=1)
    bins: list[list[int]] = []
    room: dict[int, list[int]] = {free: [] for free in range(size + 1)}  # bins by what is free in them
    for group in sorted(groups, key=len, reverse=True):  # stable: groups of one size stay in order
        free = next((f for f in range(len(group), size) if room[f]), None)
        if free is None:
            bins.append([])
            free, place = size, len(bins) - 1
        else:
            place = room[free].pop(0)
        bins[place] += group
        room[free - len(group)].append(place)
    filled = [[b[i % len(b)] for i in range(size)] for b in bins]
    return size, [case for b in filled for case in b]
