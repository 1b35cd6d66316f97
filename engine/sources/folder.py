"""Sources that read the files of a folder: what lies there, and what such sources have in common."""

from __future__ import annotations

import hashlib
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.base import Source, SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import UNREADABLE, File, digests, listed, natural, refuse_passing
from lesionforge.engine.sources.places import located, missing, told
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import BadCase


class Folder:
    """A folder, and the files under it by name."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.fs, self.path = located(place)
        self.fs.invalidate_cache()  # what another opening in this process listed may be past
        try:
            known = self.fs.isdir(self.path)
        except Exception as error:  # a network's are of many kinds
            raise SourceError(f"cannot be looked at: {told(error)}") from None
        if not known:
            raise missing(place, "folder")

    def files(self, sub: str = "") -> dict[str, File]:
        """The files of a subfolder by their names, sorted with numbers in order; none where it is not there."""
        path = f"{self.path.rstrip('/')}/{sub}" if sub else self.path
        try:
            found = self.fs.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise SourceError(f"a folder in it cannot be listed: {told(error)}") from None
        files = self._plain(found, lambda _: sub)
        return {f.name.rsplit("/", 1)[-1]: f for f in sorted(files, key=lambda f: natural(f.name))}

    def walk(self, sub: str = "") -> list[File]:
        """All files below (a subfolder), in subfolders too, in natural order of their names."""
        try:
            found = self.fs.find(f"{self.path.rstrip('/')}/{sub}" if sub else self.path, detail=True)
        except Exception as error:
            raise SourceError(f"cannot be listed: {told(error)}") from None
        root = self.path.rstrip("/") + "/"
        files = self._plain(found.values(), lambda name: name.removeprefix(root).rpartition("/")[0])
        return sorted(files, key=lambda f: natural(f.name))

    def _plain(self, found: Iterable[Mapping[str, Any]], sub: Callable[[str], str]) -> list[File]:
        """What is a file or a link to one, but for what macOS leaves. Folders behind links are listed where they lie.

        Args:
            found: the file system's listing.
            sub: the subfolder of a path.

        Raises:
            SourceError: for links to folders elsewhere: who leaves them out loses cases silently.
        """
        out = []
        for info in found:
            name = str(info["name"])
            if OF_MACOS.fullmatch(name.rpartition("/")[2]):
                continue
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
                out.append(listed(Nowhere(LEADS_OUT), info, sub(name)))
        return out


OF_MACOS = re.compile(r"\._.*|\.DS_Store", re.DOTALL)  # beside files of others, by their names
LEADS_OUT = "is a link out of the source's folder or to nowhere: put the file itself there"


@dataclass(frozen=True)
class Nowhere:
    """The file system of what is named and has no file: links that lead out or nowhere, pictures of an index."""

    reason: str

    def open(self, *_: Any, **__: Any) -> Any:
        raise BadCase(self.reason)

    cat_file = open


def content_of(place: str) -> str:
    """SHA-256 of the names and content of a file, or of all files below a folder but hidden ones.

    Raises:
        SourceError: where nothing is there, or it cannot be read.
    """
    fs, path = located(place)
    try:
        files = [listed(fs, fs.info(path))] if fs.isfile(path) else Folder(place).walk()
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"cannot be looked at: {told(error)}") from None
    files = [file for file in files if not any(part.startswith(".") for part in file.name.split("/"))]
    out = hashlib.sha256()
    for file, digest in zip(files, digests(files), strict=True):
        out.update(f"{file.name if len(files) > 1 else ''}\n{file.size}\n".encode(errors="surrogateescape") + digest)
    return out.hexdigest()


@dataclass(frozen=True)
class FolderOptions(Parameters):
    """What every folder may need.

    Attributes:
        subject: regular expression for what names the patient in a file's name: its group ``subject``, else its first
            group, else all that it matches, as ``^[0-9]+`` in the Danilov set, where ``14_002_5_0016`` is a frame of
            patient 14. Each name is a subject of its own without it.
    """

    subject: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.subject or "")
        except re.error as error:
            raise ValueError(f"subject {self.subject!r} is no regular expression: {error}") from None


class Person(NamedTuple):
    """Hashes of a person's id, of who issued it, and of what else is one person's: empty where nobody knows."""

    id: bytes = b""
    issuer: bytes = b""
    study: bytes = b""
    series: bytes = b""
    frame: bytes = b""  # of reference


class FolderSource(Source):
    """A source of files: what they hold is its fingerprint and its secret. A subclass says which they are.

    Attributes:
        names_count: whether a file's name decides what is read of it, such as its subject.
    """

    names_count: bool = True

    @abstractmethod
    def case_files(self, case: int) -> Sequence[File]:
        """The files of a case, first the one to show to somebody who looks for it."""

    def files(self) -> list[File]:
        """All files that cases are read from, each once."""
        return list({f.path: f for case in range(self.cases) for f in self.case_files(case)}.values())

    def annotations(self) -> Sequence[bytes]:
        """Other files that decide what is read, whole: an index of all cases, say."""
        return ()

    def fingerprint(self) -> str:
        """Hash of the files' names, sizes and content, and of every annotation: the same wherever they lie."""
        return hashlib.sha256(b"fingerprint" + self._listing()).hexdigest()

    def secret(self) -> bytes:
        """A hash of what only those know who have the files.

        It keys every hash of a name that leaves a source. A recipe's seed would not do: it is published with the
        dataset, and with it a list of patients' names could be tried one by one.
        """
        return hashlib.sha256(b"secret" + self._listing()).digest()

    def _listing(self) -> bytes:
        out, files = hashlib.sha256(), self.files()
        for file, digest in zip(files, digests(files), strict=True):
            name = file.name if self.names_count else ""
            out.update(f"{name}\n{file.size}\n".encode(errors="surrogateescape") + digest)
        for text in self.annotations():
            out.update(hashlib.sha256(text).digest())
        return out.digest()

    def locate(self, case: int) -> str:
        """The path of the case's first file."""
        return self.case_files(case)[0].path

    def by_subject(self, names: Sequence[str], pattern: str | None = None) -> list[int]:
        """Set ``subjects`` and ``sizes`` so that cases with the same name are one subject's, next to each other.

        Args:
            names: what tells the subject of each case found; no name goes further.
            pattern: of what names the subject in such a name, see ``FolderOptions``; without one it is the whole name.

        Returns:
            Which of the cases found each case is.

        Raises:
            SourceError: for a pattern that no name matches.
        """
        found = [re.search(pattern, name) for name in names] if pattern else []
        if pattern and names and not any(found):
            raise SourceError(f"option subject: {pattern!r} matches none of {len(names)} names of files")
        if strangers := sum(match is None for match in found):
            self.notes = [
                *self.notes,
                f"option subject matches {len(names) - strangers} of {len(names)} names of files; "
                "each of the others names a subject of its own",
            ]
        groups: dict[str, list[int]] = {}
        for case, (name, match) in enumerate(zip(names, found or [None] * len(names), strict=True)):
            groups.setdefault(_named(match) if match else name, []).append(case)
        self._subject_names = sorted(groups, key=lambda name: -len(groups[name]))  # stable; alike sizes store briefly
        sizes = [len(groups[name]) for name in self._subject_names]
        self.subjects, self.cases_per_subject = len(sizes), max(sizes, default=1)
        self.sizes = sizes if len(set(sizes)) > 1 else None
        return [case for name in self._subject_names for case in groups[name]]

    def subject_name(self, case: int) -> str:
        """The name that ``by_subject`` told a case's subject by."""
        return self._subject_names[self.subject_of(case)]

    def contents(self, cases: Sequence[int], whole: bool) -> list[bytes]:
        """What tells the content of cases, remembered on this machine: see ``content``."""
        files = [self.case_files(case)[:1] for case in cases]

        def make() -> dict[str, NDArray[Any]]:
            found = [hashlib.sha256(mark).digest() if mark else bytes(32) for mark in map(self._content(whole), cases)]
            return {"contents": np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)}

        marks = "\n".join(f"{file.path} {file.mark}" for first in files for file in first)
        kept = remembered(f"contents {type(self).__qualname__} {whole}\n{marks}", ("contents",), make)["contents"]
        return [mark if any(mark) else b"" for mark in map(bytes, kept)]

    def _content(self, whole: bool) -> Callable[[int], bytes]:
        def content(case: int) -> bytes:
            try:
                return self.content(case, whole)
            except (OSError, BadCase) as error:  # said again, with its reason, when the case is read
                refuse_passing(error)
                return b""

        return content

    def content(self, case: int, whole: bool) -> bytes:
        """What is equal for cases that show the same, however they are stored; empty where nothing can be told.

        Args:
            whole: of all of it. Else it may be of its beginning: only cases that begin alike are looked at whole.

        Raises:
            BadCase: where it cannot be read.
        """
        digest = next(iter(digests(self.case_files(case)[:1])), UNREADABLE)
        return b"" if digest == UNREADABLE else digest

    def person(self, case: int) -> Person:
        """What the case's subject is called wherever it is met, as a patient's id, and the study it was seen in.

        Names of files are no such thing: ``1.png`` of two hospitals is of two patients.
        """
        return Person()


def _named(match: re.Match[str]) -> str:
    """What a pattern finds: its group ``subject``, else its first one, else all of it."""
    groups = match.groupdict()
    found = groups["subject"] if "subject" in groups else match[min(1, len(match.groups()))]
    return found or match[0]
