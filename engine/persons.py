"""Whose the cases of sources are: what a patient's id, a study, a series or a frame of reference says (promise P8).

Who anonymises files may blank or renew the ids and leave the UIDs of a study, each of which is one patient's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.base import Source
from lesionforge.engine.sources.cache import remembered
from lesionforge.engine.sources.folder import FolderSource, Person

MAX_NAMES = 5  # patients that may share a UID because ids were mixed up; what more share is a program's constant
UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "frame": "FrameOfReferenceUID"}
Case = tuple[int, int]  # number of a source, number of a case in it
Subject = tuple[int, int]  # number of a source, number of a subject in it
Persons = Mapping[Case, Person]
Member = TypeVar("Member")


def same(sources: Sequence[Source]) -> tuple[list[list[Subject]], list[str]]:
    """Subjects that are one by content, id or study, and what would have made some one and did not, for people."""
    folders = {n: source for n, source in enumerate(sources) if isinstance(source, FolderSource)}
    persons = persons_of(folders)
    studies, doubts = same_studies(persons)
    ids = same_ids(persons) if len(folders) > 1 else ()
    known = [[(n, folders[n].subject_of(case)) for n, case in cases] for cases in (*ids, *studies)]
    return [*_equal(folders), *known], doubts


def _equal(folders: Mapping[int, FolderSource]) -> Iterator[list[Subject]]:
    """Subjects with cases of equal content. Only where files begin alike they are looked at whole."""
    cases = {n: list(range(source.cases)) for n, source in folders.items()}
    for whole in (False, True):
        marks = [
            (mark, (n, case))
            for n, source in folders.items()
            for case, mark in zip(cases[n], source.contents(cases[n], whole), strict=True)
        ]
        alike = [
            members for members in met(marks) if len({(n, folders[n].subject_of(case)) for n, case in members}) > 1
        ]
        cases = {n: sorted({case for members in alike for m, case in members if m == n}) for n in folders}
    yield from ([(n, folders[n].subject_of(case)) for n, case in members] for members in alike)


def persons_of(folders: Mapping[int, FolderSource]) -> Persons:
    """Whose each case is, in numbers that are equal where hashes are: they alone are remembered on this machine."""
    folders = {n: one for n, one in folders.items() if type(one).person is not FolderSource.person}  # pictures say none
    cases = [(n, case) for n, source in folders.items() for case in range(source.cases)]

    def make() -> dict[str, NDArray[Any]]:
        found = np.zeros((len(cases), len(Person._fields)), np.int64)
        numbers: dict[bytes, int] = {b"": 0}
        for row, (n, case) in zip(found, cases, strict=True):
            row[:] = [numbers.setdefault(mark, len(numbers)) for mark in folders[n].person(case)]
        return {"persons": found}

    marks = "\n".join(
        line
        for n, source in folders.items()
        for line in (
            f"{n} {type(source).__qualname__} {source.options}",
            *(f"{f.path} {f.mark}" for f in source.files()),
        )
    )
    rows = remembered(f"persons and studies\n{marks}", ("persons",), make)["persons"].tolist()
    return {
        case: Person(*(b"%d" % mark if mark else b"" for mark in row)) for case, row in zip(cases, rows, strict=True)
    }


def same_ids(persons: Persons) -> Iterator[list[Case]]:
    """Cases of equal ids; where all of them say who issued it, of equal issuers."""
    for members in met((who.id, case) for case, who in persons.items()):
        if all(persons[case].issuer for case in members):
            yield from met((persons[case].issuer, case) for case in members)
        else:
            yield members


def same_studies(persons: Persons) -> tuple[list[list[Case]], list[str]]:
    """Cases that share a UID which is one person's, and notes on UIDs that so many share that they are nobody's."""
    found, notes = [], []
    for key, name in UIDS.items():
        constant = 0
        for cases in met((getattr(who, key), case) for case, who in persons.items()):
            said = [persons[case] for case in cases]
            if len({(who.id, who.issuer) if who.id else (b"", who.study) for who in said}) > MAX_NAMES:
                constant += 1
            elif key == "series" and all(who.id and who.frame for who in said):  # two people's have two frames
                found += met((persons[case].frame, case) for case in cases)
            else:
                found.append(cases)
        if constant:
            notes.append(
                f"{constant} {name} {'stand' if constant > 1 else 'stands'} in files of more than {MAX_NAMES} "
                "patients: a constant of the program that wrote them, it makes nobody one subject"
            )
    return found, notes


def met(marks: Iterable[tuple[bytes, Member]]) -> list[list[Member]]:
    """Who have a mark in common; nobody has the empty mark."""
    found: dict[bytes, list[Member]] = {}
    for mark, member in marks:
        if mark:
            found.setdefault(mark, []).append(member)
    return [members for members in found.values() if len(members) > 1]
