"""The DICOM files below a folder, whatever they are called, and whose they are: of XA runs and CT series alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder
from lesionforge.engine.sources.places import told
from lesionforge.generators.types import BadCase

NAME = re.compile(r".*\.(dcm|dicom|ima)(\.gz)?", re.IGNORECASE)  # what cannot be read is a case that says so
PREAMBLE = 128, 132  # bytes between which a DICOM file says DICM
BARE = re.compile(rb"[\x02\x08]\0.\0[A-Z]{2}|\x08\0[\0\x05\x08\x12\x16]\0", re.DOTALL)  # begins one that lost these


def dicom_files(folder: Folder) -> list[File]:
    """What is called as DICOM files are, and what begins as they do under any other name.

    Archives write ``XA.1.2.840...``, ``E100S7I.10`` or no ending at all; a name tells nothing. Which files those are is
    remembered on this machine.

    Raises:
        SourceError: where a file cannot be looked into: to leave it out might lose a case silently.
    """
    files = [f for f in folder.walk() if _base(f).upper() != "DICOMDIR"]
    unknown = [f for f in files if not NAME.fullmatch(_base(f)) and f.size >= PREAMBLE[1] and f.fs is folder.fs]

    def make() -> dict[str, Any]:
        paths = [f.path for f in unknown]
        starts, ends = ([at] * len(paths) for at in (0, PREAMBLE[1]))
        heads = folder.fs.cat_ranges(paths, starts, ends, on_error="return") if paths else []
        for error in heads:
            if isinstance(error, Exception) and not isinstance(error, PermissionError):
                raise SourceError(f"a file in it cannot be looked into: {told(error)}")
        # What must not be read may be a run: its case says why.
        return {"dicom": np.array([isinstance(h, PermissionError) or _begins(h) for h in heads], np.bool_)}

    kept = remembered(f"dicom beginnings\n{_marks(unknown)}", ("dicom",), make)["dicom"]
    found = {f.path for f, so in zip(unknown, kept, strict=True) if so}
    return [f for f in files if f.path in found or NAME.fullmatch(_base(f))]


def patients(files: Sequence[File]) -> tuple[list[int], list[bool]]:
    """A number for each file's patient, and whether the issuer of the id is part of who that is.

    Equal ids are one patient, unless every file with that id says who issued it: then each issuer has its own. A file
    that says no id is a patient of its own. Only the numbers are remembered on this machine.
    """

    def make() -> dict[str, Any]:
        ids = []
        for file in files:
            try:
                with file.open() as stream:
                    ids.append(dicom.patient(stream))
            except (BadCase, OSError):  # said again, with its reason, when the case is read
                ids.append(dicom.NOBODY)
        names = dicom.told_apart(ids)
        numbers: dict[str, int] = {}
        order = [numbers.setdefault(name or f"file {n}\0", len(numbers)) for n, name in enumerate(names)]
        by_issuer = [name != one.id for name, one in zip(names, ids, strict=True)]
        return {"patients": np.array(order, np.int64), "by_issuer": np.array(by_issuer, np.bool_)}

    known = remembered(f"patients and issuers\n{_marks(files)}", ("patients", "by_issuer"), make)
    return known["patients"].tolist(), known["by_issuer"].tolist()


def _begins(head: bytes) -> bool:
    return head[slice(*PREAMBLE)] == b"DICM" or BARE.match(head) is not None


def _base(file: File) -> str:
    return file.name.rsplit("/", 1)[-1]


def _marks(files: Sequence[File]) -> str:
    return "\n".join(f"{f.path} {f.mark}" for f in files)
