"""Which pictures, masks and labels belong together: by their names, and never by a guess."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder
from lesionforge.generators.types import BadCase

ENDINGS = ("png", "bmp", "jpg", "jpeg", "tif", "tiff", "pgm")
Named = Mapping[str, Sequence[File]]


def unended(name: str) -> str:
    """A name without its ending."""
    return name.rsplit(".", 1)[0]


def by_name(files: Iterable[File], name: Callable[[str], str]) -> Named:
    """Files by their names without what the kind of file adds; more than one where ``1.jpg`` lies beside ``1.png``."""
    found: dict[str, list[File]] = {}
    for file in files:
        found.setdefault(name(file.name), []).append(file)
    return found


def in_folders(
    folder: Folder, subs: Sequence[str], endings: Sequence[str] = ENDINGS, name: Callable[[str], str] = unended
) -> Named:
    """Files of a kind in the first of these subfolders that holds one, by their names (without the ending).

    In folders below it they are called ``site/NAME``: what belongs together lies in folders of one name.
    """
    inside = ((sub, of_kind(folder.walk(sub), endings)) for sub in subs)
    sub, files = next((found for found in inside if found[1]), ("", []))
    return by_name(files, lambda path: name(path.removeprefix(f"{sub}/")))


def beside(folder: Folder, endings: Sequence[str] = ENDINGS) -> Named:
    """Files of a kind by their names without the ending, in the folder itself."""
    return by_name(of_kind(folder.files().values(), endings), unended)


def of_kind(files: Iterable[File], endings: Sequence[str] = ENDINGS) -> list[File]:
    """Those with one of these endings."""
    return [file for file in files if file.name.rsplit(".", 1)[-1].lower() in endings]


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


def doubled(*kinds: Named) -> dict[str, list[str]]:
    """For ``Source.left_over``: files that share a name, of which `only` takes none; empty where none do."""
    paths = [file.path for named in kinds for files in named.values() if len(files) > 1 for file in files]
    return {"files that have one name, but for the ending": paths} if paths else {}
