"""Which subjects of a recipe's sources are one: by equal content, a patient's id that both know, or one study.

Public sets hold each other's scans under other names (MSD's Task03 is LiTS), exports hold a picture many times, and one
folder may be given as two sources. The plan keeps what is linked here in one split and names it alike. What is not
seen here, such as a scan resampled, is seen by ``sinks.apart`` where its samples hash alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lesionforge.engine.sources.base import Source, SourceError
from lesionforge.generators.types import Split

MAX_TABLE = 2**22  # cases of a source whose subjects are held one by one; others are computed
Member = tuple[int, int]  # number of a source, number of a subject in it


@dataclass(frozen=True)
class Links:
    """Groups of subjects that are one; ``alike``: for a source the first one whose subjects, by number, are its own.

    ``doubts``: what would have linked subjects, and did not, for people.
    """

    groups: tuple[tuple[Member, ...], ...] = ()
    alike: tuple[tuple[int, int], ...] = ()
    doubts: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def _numbers(self) -> dict[Member, int]:
        return {member: n for n, group in enumerate(self.groups) for member in group}

    def group(self, source: int, subject: int) -> int | None:
        """Number of the group that a subject is in."""
        return self._numbers.get((source, subject))

    def home(self, source: int) -> int:
        """The first source that has this one's subjects under the same numbers: the source itself, as a rule."""
        return dict(self.alike).get(source, source)

    def mark(self, sizes: Iterable[Sequence[int] | None]) -> str:
        """Stands in a dataset's identity for what its plan is made of beside the recipe; empty where that is nothing.

        Args:
            sizes: of each source's subjects.
        """
        told = [None if each is None else list(each) for each in sizes]
        known = json.dumps([told, self.groups, self.alike])
        return hashlib.sha256(known.encode()).hexdigest() if self != NO_LINKS or any(told) else ""

    def notes(self, named: Callable[[int], str]) -> list[str]:
        """For people. ``named``: where a source stands in the recipe."""
        if not self.groups:
            return list(self.doubts)
        members = [member for group in self.groups for member in group]
        names = ", ".join(named(n) for n in sorted({source for source, _ in members}))
        return [
            f"{len(members)} subjects of {names} are {len(self.groups)} (equal pixels, one patient's id, study, "
            "series, frame of reference or phantom); each is whole in the split that the first source which has it "
            "gives it",
            *self.doubts,
        ]


NO_LINKS = Links()


def find(sources: Sequence[Source], shares: Sequence[Mapping[Split, float]], named: Callable[[int], str]) -> Links:
    """The links among the subjects of sources. Costs a look at every file, remembered on this machine.

    Args:
        shares: of the splits in each source: procedural subjects of equal shares need no table.
        named: where a source stands in the recipe, for errors.

    Raises:
        SourceError: for two procedural sources that share more subjects than can be held.
    """
    groups, doubts, alike = _Groups(), list[str](), list[tuple[int, int]]()
    if any(source.case_files(0) for source in sources):
        from lesionforge.engine import persons  # brings what reads folders, a tenth of what a plan of phantoms takes

        same, doubts = persons.same(sources)
        for members in same:
            groups.join(members)
    for kin in dict.fromkeys(source.kin for source in sources if source.kin):
        first, *others = [n for n, source in enumerate(sources) if source.kin == kin]
        if all(sources[n].subjects == sources[first].subjects and shares[n] == shares[first] for n in others):
            alike += [(n, first) for n in others]
            continue
        for n in others:
            common = min(sources[n].subjects, sources[first].subjects)
            if common > MAX_TABLE:
                raise SourceError(
                    f"{named(n)} and {named(first)} have {common} subjects in common and other counts or splits: "
                    "give both the same, or subjects of their own (option series)"
                )
            for subject in range(common):
                groups.join([(first, subject), (n, subject)])
    return Links(groups.found(), tuple(alike), tuple(doubts))


class _Groups:
    """Union-find."""

    def __init__(self) -> None:
        self._parent: dict[Member, Member] = {}

    def _root(self, member: Member) -> Member:
        while (parent := self._parent.setdefault(member, member)) != member:
            self._parent[member] = member = self._parent[parent]
        return member

    def join(self, members: Sequence[Member]) -> None:
        for member in members[1:]:
            one, other = sorted((self._root(members[0]), self._root(member)))
            self._parent[other] = one

    def found(self) -> tuple[tuple[Member, ...], ...]:
        groups: dict[Member, list[Member]] = {}
        for member in sorted(self._parent):
            groups.setdefault(self._root(member), []).append(member)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)
