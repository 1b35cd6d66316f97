"""Which pictures, masks and labels belong together: by their names, and never by a guess."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lesionforge.engine.sources.files import File
from lesionforge.generators.types import BadCase

ENDINGS = ("png", "bmp", "jpg", "jpeg", "tif", "tiff", "pgm")
Named = Mapping[str, Sequence[File]]


def by_name(files: Iterable[File], name: Callable[[str], str]) -> Named:
    """Files by their names without what the kind of file adds; more than one where ``1.jpg`` lies beside ``1.png``."""
    found: dict[str, list[File]] = {}
    for file in files:
        found.setdefault(name(file.name), []).append(file)
    return found


def pictures(files: Iterable[File]) -> list[File]:
    """Those that are called as pictures are."""
    return [file for file in files if file.name.rsplit(".", 1)[-1].lower() in ENDINGS]


def only(files: Sequence[File], what: str) -> File | None:
    """The one file of a name, None where there is none.

    Raises:
        BadCase: where several have that name: nobody knows which one is meant.
    """
    if len(files) > 1:
        raise BadCase(f"{len(files)} {what} have its name, but for the ending: keep one")
    return files[0] if files else None


def alone(named: Named, partners: Iterable[str]) -> list[str]:
    """The paths of files whose name is none of their partners', for ``Source.left_over``."""
    known = set(partners)
    return [file.path for name, files in named.items() if name not in known for file in files]
