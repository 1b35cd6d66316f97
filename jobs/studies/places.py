"""Where a task's items come from, and the one loop that reads them: what cannot be read is counted, never dropped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic

from lesionforge.engine import dataset
from lesionforge.engine.privacy import subject_key, unnamed
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import Source, open_source
from lesionforge.generators.types import BadCase, array_member
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.progress import steps
from lesionforge.jobs.studies.task import I, Task
from lesionforge.sinks.dataset import splits
from lesionforge.sinks.quarantine import Reasons
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store


@dataclass(frozen=True)
class DataPlace:
    """A source of real cases (``arcade:FOLDER``, with its own options), or a split of a generated dataset.

    ``option`` of a command named it; messages say so.
    """

    uri: str
    split: str = "train"
    options: Mapping[str, Any] = field(default_factory=dict)
    option: str = "source"

    @property
    def is_source(self) -> bool:
        """A scheme without slashes: ``ct:FOLDER``; ``s3://bucket/name`` is a dataset."""
        return ":" in self.uri and "://" not in self.uri

    @cached_property
    def source(self) -> Source:
        """The source, opened once.

        Raises:
            SourceError: where it is not there or not understood.
        """
        return open_source(SourceRecipe(uri=self.uri, options=dict(self.options)), self.option)

    @cached_property
    def content(self) -> str:
        """Stands for what lies there: a dataset's identity, or a source's fingerprint. No path (promise P8)."""
        if self.is_source:
            record = json.dumps([self.source.fingerprint(), self.options], sort_keys=True)
            return hashlib.sha256(record.encode()).hexdigest()
        return f"{dataset.read(Store(self.uri)).identity}/{self.split}"

    def amount(self) -> str:
        """How much there is to read, in words.

        Raises:
            UsageError, SourceError: see ``read``.
        """
        if self.is_source:
            return f"{self.source.cases:,} cases"
        return f"{len(chosen(self.uri, self.split, self.option)):,} samples"

    def __reduce__(self) -> tuple[Any, ...]:
        return DataPlace, (self.uri, self.split, self.options, self.option)  # another process opens its own


@dataclass(frozen=True)
class Reading(Generic[I]):
    """The items of a place, and what was lost of it.

    Attributes:
        items: that could be read.
        unreadable: why cases could not: reasons, alike but for numbers, with their counts.
        left_over: files in no case, see ``Source``: counts by reason.
    """

    items: list[I]
    unreadable: Mapping[str, int] = field(default_factory=dict)
    left_over: Mapping[str, int] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "read": len(self.items),
            "unreadable": sum(self.unreadable.values()),
            "reasons": dict(self.unreadable),
            "left_over": dict(self.left_over),
        }


def losses(bodies: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for what a place has and could not be used, by the option that named the place."""
    for option, body in bodies.items():
        if body["unreadable"]:
            whole = body["read"] + body["unreadable"]
            reasons = "; ".join(f"{count} x {reason}" for reason, count in body["reasons"].items())
            yield f"{option}: {body['unreadable']} of {whole} cases cannot be read and are left out: {reasons}"
        if left := body.get("left_over"):
            yield f"{option}: files in no case: {', '.join(f'{count} {reason}' for reason, count in left.items())}"


def tell(bodies: Mapping[str, Mapping[str, Any]]) -> None:
    """Say on standard error what could not be used."""
    for line in losses(bodies):
        console.note(line)


def common_key(places: Iterable[DataPlace]) -> bytes:
    """The key that subjects of several sources are hashed with, so that one person in two of them is seen."""
    return subject_key(0, [place.source for place in places if place.is_source])


def read(task: Task[I, Any], place: DataPlace, key: bytes | None = None) -> Reading[I]:
    """Every item of a place, all held in memory but for what a task reads as it is used.

    Args:
        task: makes items.
        place: where from.
        key: of the subjects' hashes, see ``common_key``; the place's own where None.

    Raises:
        UsageError: where no sample is there, one lacks a member, or a dataset is given options.
        SourceError: where the source's folder is not there or not understood.
    """
    console.err.print(f"reading {place.option}: {place.amount()}", markup=False)
    if place.is_source:
        return _of_source(task, place, key)
    if place.options:
        given = ", ".join(place.options)
        raise UsageError(
            f"{place.option}: options {given} are for a source such as ct:FOLDER; {place.uri} is a dataset"
        )
    there = chosen(place.uri, place.split, place.option)
    try:
        if (stored := task.items_of_dataset(there)) is not None:
            return Reading(list(stored))
    except UsageError as error:
        raise UsageError(f"{place.option}: {place.uri}: {error}") from None
    found = samples(place.uri, place.split, task.members, task.welcome, task.dataset, place.option)
    return Reading([task.item_of_sample(sample) for sample in found])


def chosen(uri: str, split: str | None, option: str = "") -> Samples:
    """The samples of a dataset's split; None takes all.

    Raises:
        UsageError: that says what is missing: the dataset, the split or samples in it.
    """
    named, or_source = (
        (f"{option}: ", ", or give a source of real cases with its scheme, as ct:FOLDER") if option else ("", "")
    )
    try:
        there = splits(Store(uri), None)
    except ValueError:
        raise UsageError(f"{named}{uri} holds no dataset with samples: correct the place{or_source}") from None
    if split not in (None, *there):
        raise UsageError(f"{named}{uri} has no split {split}; it has {', '.join(there)}")
    try:
        return Samples(uri, split=split)
    except ValueError as error:  # no sample but quarantined ones, or a damaged index
        raise UsageError(f"{named}{error}") from None


def samples(
    uri: str, split: str | None, needed: Sequence[str], welcome: Sequence[str], advice: str, option: str = ""
) -> Iterator[dict[str, Any]]:
    """The samples of a dataset, decoded, in its order.

    Args:
        uri: the dataset.
        split: of it; None takes all.
        needed, welcome: members that each sample must have, and those that are taken where they are there; a name
            stands for its packed forms as well (``ct.npy`` for ``ct.delta.npy.zst``), which come under the plain name.
        advice: end of the message where a member is missing.
        option: that named the dataset, for messages.

    Raises:
        UsageError: where no sample is there or one lacks a member.
    """
    there = chosen(uri, split, option).members
    stored = {name: array_member(name.removesuffix(".npy"), there) or name for name in needed}
    stored |= {name: name for name in welcome if name in there}
    try:
        found = Samples(uri, split=split, members=list(stored.values()))
    except ValueError as error:
        raise UsageError(f"{error}: {advice}") from None
    for sample in found.read(range(len(found))):
        yield {name: sample[member] for name, member in stored.items()}


def _of_source(task: Task[I, Any], place: DataPlace, key: bytes | None) -> Reading[I]:
    source = place.source
    key = subject_key(0, [source]) if key is None else key
    items, reasons = [], Reasons()
    with steps(f"reading {place.option}") as advance:
        for number in range(source.cases):
            advance(number, source.cases, "")
            try:
                case = source.read(number)
            except BadCase as error:
                reasons.add(str(error))
                continue
            items.append(task.item_of_case(unnamed(case, key)))
    return Reading(items, dict(reasons), {why: len(files) for why, files in source.left_over.items() if files})
