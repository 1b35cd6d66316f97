"""Files of a source: listed once, read when their case is wanted, from a disk or any fsspec place."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec

from lesionforge.engine.faults import find
from lesionforge.engine.faults import why as why
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
            BadCase: where it is too large.
            Exception: what its place raises where it cannot be read, which is no fault of the case (``engine.faults``).
        """
        if self.size > MAX_BYTES:
            raise BadCase(f"has {self.size} bytes; at most {MAX_BYTES} are read")
        return bytes(self.fs.cat_file(self.path))


def texts(files: Iterable[File]) -> list[bytes]:
    """Label files whole, for a fingerprint.

    Raises:
        SourceError: where one cannot be read: without it nobody knows which data these are.
    """
    out = []
    for number, file in enumerate(files, 1):
        try:
            out.append(file.read())
        except Exception as error:  # a place raises what it likes
            said = str(error) if isinstance(error, BadCase) else f"cannot be read: {find(error) or why(error)}"
            raise SourceError(f"label file {number}: {said}") from None
    return out


def listed(fs: Any, info: Mapping[str, Any], sub: str = "") -> File:
    """A file of a file system's listing; one that is named by itself, not by its folder, may lie behind a link."""
    base = str(info["name"]).rsplit("/", 1)[-1]
    known = (info.get(key) for key in ("size", "ETag", "etag", "LastModified", "mtime", "created"))
    mark = " ".join(str(value) for value in known if value is not None)
    return File(f"{sub}/{base}" if sub else base, str(info["name"]), int(info["size"] or 0), mark, fs)


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


def sizes_fingerprint(files: Iterable[File]) -> str:
    """Hash of the files' sizes in order, where names may be a patient's and may be changed."""
    listing = "\n".join(f"{n} {f.size}" for n, f in enumerate(files))
    return hashlib.sha256(listing.encode()).hexdigest()


def fingerprint(files: Iterable[File], *texts: bytes) -> str:
    """Hash of the files' names and sizes, keyed by ``secret``, and of texts read whole."""
    listing = hashlib.sha256(b"fingerprint" + secret(files))
    for text in texts:
        listing.update(hashlib.sha256(text).digest())
    return listing.hexdigest()


def beside(place: str, where: str) -> str:
    """A folder that a source's option names: relative to the source's own place, or a place of its own."""
    return where if "://" in where or os.path.isabs(where) else f"{place.rstrip('/')}/{where}"


def missing(place: str, what: str) -> SourceError:
    """The error for a place that is not there; where a path starts from is said to a terminal alone."""
    if "://" in place or os.path.isabs(place):
        return SourceError(f"no such {what}")
    error = SourceError(f"no such {what}; the path is relative, so it starts from the current folder")
    error.place = os.path.abspath(place)
    return error


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
