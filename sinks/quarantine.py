"""Why a sample is missing: one type for the reason, its kinds, and the grouping of many.

An index stores the reason as text, and its readers group such texts; so this lives in ``sinks``, which may not look up
into ``engine``, where reasons are given. Text and type are each other's inverse (``str``, ``Quarantined.read``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lesionforge.sinks.text import one_line

Kind = Literal["source", "error", "output", "quality", "encode", "memory", "time", "killed", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
MAX_TEXT = 300  # characters of a reason that quotes an exception


@dataclass(frozen=True)
class Quarantined:
    """Why a sample could not be made.

    ``kind``: ``source``, its case cannot be read; ``error``, the generator failed; ``output``, it broke its contract;
    ``quality``, it missed the recipe's limits in every draw; ``encode``, it cannot be written; ``memory``, it found
    none left; ``time``, it took too long; ``killed``, it ended its worker again and again; ``other``, of an index that
    was rebuilt or made by another version. ``text``: the rest of the reason, one line.
    """

    kind: Kind
    text: str

    def __str__(self) -> str:
        """As an index stores it."""
        if self.kind == "other":
            return self.text
        return f"{self.kind} {self.text}" if self.kind == "killed" else f"{self.kind}: {self.text}"

    @classmethod
    def read(cls, reason: str) -> Quarantined:
        """The inverse of ``str``; kind ``other`` for a text that is none of ours."""
        if reason.startswith("killed its worker"):
            return cls("killed", reason.removeprefix("killed "))
        start, colon, text = reason.partition(":")
        kind = next((k for k in KINDS if colon and k == start and k not in ("killed", "other")), None)
        return cls(kind, text.removeprefix(" ")) if kind else cls("other", reason)

    @property
    def group(self) -> str:
        """What reasons that differ in numbers only have in common."""
        return "…".join(NUMBER.split(str(self)))


@dataclass
class _Group:
    words: list[str]
    numbers: list[str]  # between the words; an ellipsis where they differ among samples
    count: int = 0

    def __str__(self) -> str:
        return "".join(part for pair in zip(self.words, [*self.numbers, ""], strict=True) for part in pair)


class Reasons:
    """Counts of reasons: a thousand samples that miss a limit by a thousand values are one line."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, reason: str) -> None:
        """Count one."""
        self._include(NUMBER.split(reason), NUMBER.findall(reason), 1)

    def merge(self, others: Reasons) -> None:
        """Count those that were counted elsewhere."""
        for group in others._groups.values():
            self._include(group.words, group.numbers, group.count)

    def to_json(self) -> list[Any]:
        """As a shard's summary keeps them."""
        return [[group.words, group.numbers, group.count] for _, group in sorted(self._groups.items())]

    @classmethod
    def read(cls, stored: Any) -> Reasons:
        """The inverse of ``to_json``.

        Raises:
            ValueError, TypeError: for what is no such list.
        """
        out = cls()
        for words, numbers, count in stored:
            if not all(isinstance(text, str) for text in (*words, *numbers)) or len(words) != len(numbers) + 1:
                raise ValueError("a reason of its summary is none")
            if type(count) is not int or not 0 < count < 2**62:
                raise ValueError("a count of its summary is none")
            out._include(words, numbers, count)
        return out

    def _include(self, words: list[str], numbers: list[str], count: int) -> None:
        group = self._groups.setdefault("…".join(words), _Group(words, numbers))
        if len(group.numbers) != len(numbers):
            raise ValueError("two reasons of one name differ in their numbers")
        group.count += count
        group.numbers = [old if old == new else "…" for old, new in zip(group.numbers, numbers, strict=True)]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Reason and count, the most frequent first."""
        counted = ((one_line(str(group)), group.count) for group in self._groups.values())
        return iter(sorted(counted, key=lambda item: (-item[1], item[0])))
