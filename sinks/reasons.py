"""Reasons of quarantined samples, grouped: those that differ in numbers only are one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass
class _Kind:
    words: list[str]
    numbers: list[str]  # between the words; an ellipsis where they differ among samples
    count: int = 0

    def __str__(self) -> str:
        return "".join(part for pair in zip(self.words, [*self.numbers, ""], strict=True) for part in pair)


class Reasons:
    """Counts of reasons: a thousand samples that miss a limit by a thousand values are one line."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def add(self, reason: str) -> None:
        """Count one."""
        words, numbers = NUMBER.split(reason), NUMBER.findall(reason)
        kind = self._kinds.setdefault("…".join(words), _Kind(words, numbers))
        kind.count += 1
        kind.numbers = [old if old == new else "…" for old, new in zip(kind.numbers, numbers, strict=True)]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Reason and count, the most frequent first."""
        counted = ((str(kind), kind.count) for kind in self._kinds.values())
        return iter(sorted(counted, key=lambda item: (-item[1], item[0])))
