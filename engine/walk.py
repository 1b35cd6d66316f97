"""Which cases of each source stand in which split, and in what order: every subject whole, each case once a variant.

Where all subjects of a source have equally many cases, everything is computed from a number alone, for 10 subjects or
10^9. Where they differ, or some of them are one subject (``engine.links``), one table per source and split is held,
whose walk through subjects of one size is computed in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np

from lesionforge.engine.links import MAX_TABLE, Links
from lesionforge.engine.permutation import Permutation
from lesionforge.generators.types import SPLITS, Split

Shuffle = Callable[[str, int], Permutation]  # name, size -> the seeded order of that name


class Sized(Protocol):
    """What the plan needs to know of a source: ``engine.sources.Source`` has it."""

    @property
    def subjects(self) -> int: ...
    @property
    def cases_per_subject(self) -> int: ...
    @property
    def sizes(self) -> Sequence[int] | None: ...


class Walk(Protocol):
    """The cases of one source in one split."""

    @property
    def subjects(self) -> int: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
    def case(self, variant: int, position: int) -> int:
        """The case at a position of a variant's walk. A subject's cases stand side by side: a file is read once."""


@dataclass(frozen=True)
class EvenWalk:
    """Subjects of ``width`` cases each: those whose rank in the seeded order ``split`` lies in ``ranks``."""

    name: str
    ranks: range
    width: int
    split: Permutation
    shuffle: Shuffle

    @property
    def subjects(self) -> int:
        """How many of them are in this split."""
        return len(self.ranks)

    def __len__(self) -> int:
        return len(self.ranks) * self.width

    def __iter__(self) -> Iterator[int]:
        return (self.split(rank) * self.width + part for rank in self.ranks for part in range(self.width))

    def case(self, variant: int, position: int) -> int:
        """See ``Walk``."""
        rank, part = divmod(position, self.width)
        rank = self.shuffle(self.name.format(variant), len(self.ranks))(rank)
        return self.split(self.ranks[rank]) * self.width + part


class TableWalk:
    """Subjects with their own numbers of cases.

    The sizes stand in one seeded order in every variant; which subject of a size comes when is the variant's own.
    """

    def __init__(self, name: str, subjects: Sequence[Sequence[int]], shuffle: Shuffle) -> None:
        """``subjects``: the cases of each, in the seeded order of the split."""
        self.subjects = len(subjects)
        self._name, self._shuffle = name, shuffle
        self._by_size: dict[int, list[Sequence[int]]] = {}
        for cases in subjects:
            self._by_size.setdefault(len(cases), []).append(cases)
        slots = shuffle(f"sizes/{name}", len(subjects)) if subjects else None
        sizes = [len(subjects[slots(n)]) for n in range(len(subjects))] if slots else []
        self._ends = np.cumsum(np.array(sizes, np.int64))
        seen = dict.fromkeys(self._by_size, -1)
        self._slots: list[tuple[int, int]] = []  # size, and which subject of that size
        for size in sizes:
            seen[size] += 1
            self._slots.append((size, seen[size]))

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.subjects else 0

    def __iter__(self) -> Iterator[int]:
        return (case for alike in self._by_size.values() for cases in alike for case in cases)

    def case(self, variant: int, position: int) -> int:
        """See ``Walk``."""
        slot = int(np.searchsorted(self._ends, position, side="right"))
        size, number = self._slots[slot]
        alike = self._by_size[size]
        cases = alike[self._shuffle(f"{self._name.format(variant)}/{size}", len(alike))(number)]
        return cases[position - int(self._ends[slot]) + size]


def deal(
    sources: Sequence[Sized], shares: Sequence[Mapping[Split, float]], links: Links, shuffle: Shuffle
) -> list[dict[Split, Walk]]:
    """The walk of every source in every split.

    Subjects that are one go where the first of them goes, by its source's shares; the shares of a source are those of
    its other subjects.

    Args:
        shares: of the subjects of each source.
    """
    out: list[dict[Split, Walk]] = []
    chosen: dict[int, Split] = {}  # of linked subjects
    linked = {source for group in links.groups for source, _ in group}
    for n, (source, share) in enumerate(zip(sources, shares, strict=True)):
        if source.sizes is None and n not in linked:
            order = shuffle(f"split/{links.home(n)}", source.subjects)
            ranks = _ranges(source.subjects, share)
            out.append(
                {
                    split: EvenWalk(_name(split, n), ranks[split], source.cases_per_subject, order, shuffle)
                    for split in SPLITS
                }
            )
            continue
        if (whole := sum(source.sizes) if source.sizes else source.subjects * source.cases_per_subject) > MAX_TABLE:
            raise ValueError(f"sources.{n} has {whole} cases of subjects told one by one; at most {MAX_TABLE} are held")
        people: dict[int, list[int]] = {}  # the cases of each, by its group's or, below 0, its own number
        for subject, cases in enumerate(_cases(source)):
            group = links.group(n, subject)
            people.setdefault(-1 - subject if group is None else group, []).extend(cases)
        free = [who for who in people if who not in chosen]
        ranks = _ranges(len(free), share)
        mixed = [free[shuffle(f"split/{n}", len(free))(rank)] for rank in range(len(free))]
        found = {split: [mixed[rank] for rank in ranks[split]] for split in SPLITS}
        for who in people:
            if who in chosen:
                found[chosen[who]].append(who)
        chosen |= {who: split for split, members in found.items() for who in members if who >= 0}
        out.append(
            {split: TableWalk(_name(split, n), [people[who] for who in found[split]], shuffle) for split in SPLITS}
        )
    return out


def _name(split: Split, source: int) -> str:
    return f"walk/{split}/{{}}/{source}"  # {}: the variant


def _cases(source: Sized) -> Iterator[range]:
    """The cases of each subject."""
    sizes = source.sizes or [source.cases_per_subject] * source.subjects
    return (range(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True))


def _ranges(subjects: int, shares: Mapping[Split, float]) -> dict[Split, range]:
    """Ranks of a seeded subject order that belong to each split; cumulative rounding keeps the shares."""
    ends = [round(subjects * x) for x in accumulate(shares.get(split, 0.0) for split in SPLITS)]
    ends[-1] = subjects
    return {split: range(start, end) for split, start, end in zip(SPLITS, [0, *ends[:-1]], ends, strict=True)}
