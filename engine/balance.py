"""Which class each sample of a split is asked for: quotas met exactly, computed from the sample's number alone.

Four kinds (``recipe.balance``): shares by class; ``balanced``, equal shares (DiGDA's rule); ``natural``, the shares
of the lesions graded in the sources; ``fill``, real and synthetic together equal: the rarest class first until it has
caught up with the next, then both, and so on. In every kind a dataset that grows only appends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import lcm

from lesionforge.engine.permutation import Permutation

MAX_BLOCK = 1000  # shares are met exactly in every block of at most this many samples

Shuffle = Callable[[str, int], Permutation]  # name, size -> the seeded order of that name


class BalanceError(ValueError):
    """A balance that cannot be met; the message says why and what to change."""


@dataclass(frozen=True)
class Phase:
    """From sample ``start`` on: blocks in which class ``names[j]`` has ``counts[j]`` places, in a shuffled order."""

    start: int
    names: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def block(self) -> int:
        """Samples in one block."""
        return sum(self.counts)


class Quota:
    """The classes of one split's samples."""

    def __init__(self, phases: Sequence[Phase], shuffle: Shuffle) -> None:
        """``phases`` in order; the last has no end."""
        self.phases = tuple(phases)
        self._shuffle = shuffle

    def target(self, index: int) -> str:
        """The class of a sample by its number in the split, over all variants."""
        phase = next(p for p in reversed(self.phases) if p.start <= index)
        block, slot = divmod(index - phase.start, phase.block)
        slot = self._shuffle(f"{phase.start}/{block}" if phase.start else f"{block}", phase.block)(slot)
        return next(name for name, end in zip(phase.names, accumulate(phase.counts), strict=True) if slot < end)

    def counts(self, n: int) -> dict[str, int]:
        """Samples of each class among the first ``n``; whole blocks are counted, not walked."""
        out = dict.fromkeys((name for phase in self.phases for name in phase.names), 0)
        for phase, after in zip(self.phases, (*self.phases[1:], None), strict=True):
            end = min(n, after.start) if after else n
            blocks, rest = divmod(max(0, end - phase.start), phase.block)
            for name, count in zip(phase.names, phase.counts, strict=True):
                out[name] += blocks * count
            for index in range(end - rest, end):
                out[self.target(index)] += 1
        return out


def shares(weights: Mapping[str, float]) -> list[Phase]:
    """Shares as the recipe gives them.

    Raises:
        BalanceError: where they come out even only in larger blocks than ``MAX_BLOCK``.
    """
    ordered = dict(sorted(weights.items()))  # the order in the file shall not matter
    parts = [Fraction(w).limit_denominator(10**6) for w in ordered.values()]
    parts = [p / sum(parts) for p in parts]
    block = lcm(*(p.denominator for p in parts))
    if block > MAX_BLOCK:
        raise BalanceError(
            f"balance {ordered}: these shares come out even only in blocks of {block} samples; "
            f"round them so that {MAX_BLOCK} or fewer do (e.g. whole percents)"
        )
    return [Phase(0, tuple(ordered), tuple(int(p * block) for p in parts))]


def natural(real: Mapping[str, int]) -> list[Phase]:
    """The shares of ``real``: exact up to a total of ``MAX_BLOCK``, beyond it by largest remainder in such blocks."""
    total = sum(real.values())
    block = min(total, MAX_BLOCK)
    exact = {name: Fraction(count * block, total) for name, count in sorted(real.items()) if count}
    counts = {name: int(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda n: (counts[n] - exact[n], n))[: block - sum(counts.values())]:
        counts[name] += 1
    kept = {name: count for name, count in counts.items() if count}
    return [Phase(0, tuple(kept), tuple(kept.values()))]


def fill(real: Mapping[str, int]) -> list[Phase]:
    """Level the classes of ``real``, rarest first, then keep them level. One targeted lesion per sample."""
    ordered = sorted(real.items(), key=lambda item: (item[1], item[0]))
    phases, start = [], 0
    for k, (_, count) in enumerate(ordered, 1):
        length = k * (ordered[k][1] - count) if k < len(ordered) else 1
        if length:
            phases.append(Phase(start, tuple(name for name, _ in ordered[:k]), (1,) * k))
            start += length
    return phases
