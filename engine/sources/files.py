"""Files of a source: listed once, read when their case is wanted, from a disk or any fsspec place."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec

from lesionforge.engine.sources.base import SourceError
from lesionforge.generators.types import BadCase

MAX_BYTES = 2**30  # of a file that is read whole
HEAD = 2**16  # bytes of the first file that key a source's hashes


@dataclass(frozen=True)
class File:
    """One file: its name inside the source, and what tells whether it changed."""

    name: str
    path: str
    size: int
    mark: str  # size and what the file system knows of the last change
    fs: Any = field(repr=False, compare=False)

    def read(self) -> bytes:
        """All of it.

        Raises:
            BadCase: where it cannot be read.
        """
        if self.size > MAX_BYTES:
            raise BadCase(f"has {self.size} bytes; at most {MAX_BYTES} are read")
        try:
            return bytes(self.fs.cat_file(self.path))
        except FileNotFoundError:
            raise BadCase("the file is missing") from None
        except OSError as error:
            raise BadCase(f"cannot be read: {why(error)}") from None


def texts(files: Iterable[File]) -> list[bytes]:
    """Label files whole, for a fingerprint.

    Raises:
        SourceError: where one cannot be read: without it nobody knows which data these are.
    """
    out = []
    for number, file in enumerate(files, 1):
        try:
            out.append(file.read())
        except BadCase as error:
            raise SourceError(f"label file {number}: {error}") from None
    return out


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
            raise SourceError("no such folder")

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


def listed(fs: Any, info: Mapping[str, Any], sub: str = "") -> File:
    """A file of a file system's listing; one that is named by itself, not by its folder, may lie behind a link."""
    base = str(info["name"]).rsplit("/", 1)[-1]
    known = (info.get(key) for key in ("size", "ETag", "etag", "LastModified", "mtime", "created"))
    mark = " ".join(str(value) for value in known if value is not None)
    return File(f"{sub}/{base}" if sub else base, str(info["name"]), int(info["size"] or 0), mark, fs)


class _Elsewhere:
    """The file system of links that lead out of a folder or nowhere: nothing is read through them, and they say so."""

    def open(self, *_: Any, **__: Any) -> Any:
        raise BadCase("is a link out of the source's folder or to nowhere: put the file itself there")

    cat_file = open


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorting key that puts 2.png before 10.png."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]", name)]


def stem(name: str) -> str:
    """A file's name without folder and ending."""
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def secret(files: Iterable[File]) -> bytes:
    """What only those know who have the files: all names and sizes, and how the first file begins.

    It keys every hash of a name that leaves a source. A recipe's seed would not do: it is published with the dataset,
    and with it a list of patients' names could be tried one by one.

    Raises:
        SourceError: where the first file is there and cannot be read, so that no two workers find different keys.
    """
    files = list(files)
    digest = hashlib.sha256("\n".join(f"{f.name} {f.size}" for f in files).encode(errors="surrogateescape"))
    for file in files:
        try:
            digest.update(bytes(file.fs.cat_file(file.path, start=0, end=HEAD)))
            break
        except (FileNotFoundError, PermissionError, BadCase):
            continue  # the same for every worker; the case says so when it is read
        except OSError as error:
            raise SourceError(f"a file in it cannot be read: {why(error)}") from None
    return digest.digest()


def fingerprint(files: Iterable[File], *texts: bytes) -> str:
    """Hash of the files' names and sizes, keyed by ``secret``, and of texts read whole."""
    listing = hashlib.sha256(b"fingerprint" + secret(files))
    for text in texts:
        listing.update(hashlib.sha256(text).digest())
    return listing.hexdigest()


def located(place: str) -> tuple[Any, str]:
    """The fsspec file system of a place, and the path in it.

    Raises:
        SourceError: for a URL that no file system can be made of.
    """
    try:
        fs, path = fsspec.core.url_to_fs(place)
    except ImportError as error:
        raise SourceError(f"its kind of URL needs a package that is not installed: {error.name or 'unknown'}") from None
    except Exception as error:  # every file system reads its URLs in its own way
        raise SourceError(f"is no path and no URL that can be opened: {why(error)}") from None
    return fs, str(path)


def why(error: Exception) -> str:
    """What the system says, without the path."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else type(error).__name__
