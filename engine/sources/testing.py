"""A public conformance test: what the engine relies on in every source, tried on one.

def test_my_source(tmp_path):
    check_source(lambda: MySource(str(tmp_path), MyOptions()))
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lesionforge.engine.faults import find
from lesionforge.engine.sources.base import Source
from lesionforge.generators.types import Angiogram, BadCase, CoronaryTree, Volume

KINDS = (Angiogram, CoronaryTree, Volume)
ARRAYS = {"image": (np.uint8, 2), "mask": (np.bool_, 2), "points": (np.float32, 2), "hu": (np.int16, 3),
          "labels": (np.uint8, 3)}  # fmt: skip


class NonConforming(AssertionError):
    """What a source does that the engine does not expect; the message says it and where it would hurt."""


def check_source(open_it: Callable[[], Source], cases: int = 4, words: Sequence[str] = ()) -> None:
    """Try a source.

    Args:
        open_it: opens it anew, as each worker does.
        cases: how many of its cases are read, spread over all.
        words: what must not be seen outside: file names, folders, patients. None of them may stand in a reason, a
            note, a ``source_id`` or the fingerprint.

    Raises:
        NonConforming: with the first thing that is wrong.
    """
    first, second = open_it(), open_it()
    _check_shape(first)
    if (first.subjects, first.cases_per_subject, first.sizes) != (
        second.subjects,
        second.cases_per_subject,
        second.sizes,
    ):
        raise NonConforming("two openings count other subjects or cases: a plan of one means others in a worker")
    _check_marks(first, second, words)
    total = first.cases
    numbers = sorted({round(n * (total - 1) / max(1, cases - 1)) for n in range(min(cases, total))})
    read = {number: _read(first, number, words) for number in numbers}
    if all(isinstance(case, str) for case in read.values()):
        raise NonConforming(f"none of {len(read)} cases can be read: {next(iter(read.values()))}")
    before = _global_state()
    for number in reversed(numbers):  # in another order, by another opening
        if difference := _difference(read[number], _read(second, number, words)):
            raise NonConforming(
                f"case {number} differs when it is read again ({difference}): a sample could not be made twice"
            )
    if _global_state() != before:
        raise NonConforming("reading draws from the global random numbers: another source would read other cases")
    _check_subjects(first, read)


def _global_state() -> object:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002  what a source must leave alone
    return random.getstate(), np.asarray(keys).tobytes(), position


def _check_shape(source: Source) -> None:
    if not isinstance(source, Source):
        raise NonConforming(f"a {type(source).__name__} is no subclass of {Source.__module__}.Source")
    for name in ("subjects", "cases_per_subject"):
        value = getattr(source, name, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise NonConforming(f"{name} is {value!r}: the plan needs a whole number from 1 on")
    if source.sizes is not None and (
        len(source.sizes) != source.subjects or not all(type(size) is int and size >= 1 for size in source.sizes)
    ):
        raise NonConforming(f"sizes does not say how many cases, from 1 on, each of the {source.subjects} subjects has")
    if not all(isinstance(paths, Sequence) and not isinstance(paths, str) for paths in source.left_over.values()):
        raise NonConforming("left_over is no mapping of reasons to lists of paths")
    if not isinstance(source.licence, str) or not source.licence:
        raise NonConforming("licence is empty: say 'unknown' where it is")
    if not isinstance(source.options, source.Options):
        raise NonConforming(f"options is a {type(source.options).__name__}, not its Options: a worker makes those anew")


def _check_marks(first: Source, second: Source, words: Sequence[str]) -> None:
    for name in ("fingerprint", "secret"):
        one, again, other = getattr(first, name)(), getattr(first, name)(), getattr(second, name)()
        if not one or not one == again == other:
            raise NonConforming(f"{name}() is empty or changes: a run could not be continued")
    if not isinstance(first.fingerprint(), str) or not isinstance(first.secret(), bytes):
        raise NonConforming("fingerprint() is no str, or secret() no bytes")
    if not isinstance(first.locate(0), str):
        raise NonConforming("locate() is no str")
    _keep_silent("fingerprint()", first.fingerprint(), words)
    _keep_silent("a note, or a reason of left_over", "\n".join([*first.notes, *first.left_over]), words)


def _read(source: Source, number: int, words: Sequence[str]) -> Any:
    """The case, or its reason as text."""
    try:
        case = source.read(number)
    except BadCase as error:
        if not str(error):
            raise NonConforming(f"case {number} is refused without a reason") from None
        _keep_silent(f"the reason of case {number}", str(error), words)
        return str(error)
    except Exception as error:
        if fault := find(error):
            raise fault.at(f"case {number}") from None
        raise NonConforming(
            f"case {number} raises {type(error).__name__}: raise BadCase, whose reason goes into the quarantine"
        ) from error
    if not isinstance(case, KINDS):
        raise NonConforming(f"case {number} is a {type(case).__name__}, none of Angiogram, CoronaryTree and Volume")
    for name in ("subject", "source_id", "licence"):
        if not isinstance(getattr(case, name), str) or not getattr(case, name):
            raise NonConforming(f"case {number} has no {name}")
    for name, (dtype, ndim) in ARRAYS.items():
        value = getattr(case, name, None)
        if value is not None and (not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != ndim):
            raise NonConforming(f"{name} of case {number} is no array of {ndim} axes of {np.dtype(dtype)}")
    for name, value in (("source_id", case.source_id), ("notes", case.notes), ("licence", case.licence)):
        _keep_silent(f"{name} of case {number}", repr(value), words)
    return case


def _keep_silent(what: str, text: str, words: Sequence[str]) -> None:
    for word in words:
        if word and word in text:
            raise NonConforming(f"{what} says what the files are called or whose they are (promise P8)")


def _check_subjects(source: Source, read: Mapping[int, Any]) -> None:
    """No subject is in two of the plan's: a split would part it."""
    homes: dict[str, int] = {}
    for number, case in read.items():
        if isinstance(case, str):
            continue
        if homes.setdefault(case.subject, source.subject_of(number)) != source.subject_of(number):
            raise NonConforming(
                f"case {number} is of a subject that another one's cases are of: cases are numbered subject by subject "
                f"(subjects, cases_per_subject, sizes), and a split is by subject"
            )


def _difference(one: Any, other: Any) -> str:
    """The first field that differs, empty for equal cases."""
    return next(_differences(one, other, "the case"), "")


def _differences(one: Any, other: Any, name: str) -> Iterator[str]:
    if type(one) is not type(other):
        yield f"{name} is a {type(one).__name__}, then a {type(other).__name__}"
    elif isinstance(one, np.ndarray):
        if one.dtype != other.dtype or not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            yield name
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            yield from _differences(getattr(one, field.name), getattr(other, field.name), field.name)
    elif isinstance(one, Mapping):
        if list(one) != list(other):
            yield name
        else:
            for key in one:
                yield from _differences(one[key], other[key], f"{name}[{key!r}]")
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            yield name
        for a, b in zip(one, other, strict=False):
            yield from _differences(a, b, name)
    elif one != other:
        yield name
