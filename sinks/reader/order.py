"""In which order an epoch's samples come, and which of them a rank and a worker get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def permutation(n: int, seed: int, epoch: int, group: int = 0, lap: int = 0) -> Indices:
    """A permutation of ``range(n)``: the ranks of n raw words of Philox.

    Raw words, since numpy promises those to stay the same over its versions, unlike `Generator.permutation`: a
    checkpoint must find its place again after an upgrade.
    """
    words = np.random.Philox(key=_words(seed, epoch), counter=_words(0, 0, lap, group))
    return np.argsort(words.random_raw(n), kind="stable").astype(np.int64)


def epoch_order(groups: Sequence[Indices], counts: Sequence[int], seed: int, epoch: int) -> Indices:
    """The samples of one epoch in order, every stretch of it holding the groups in their proportion.

    Each group's samples come shuffled, and again, shuffled anew, where more are asked for than there are. The groups
    are merged by evenly spaced times, each with an offset of its own that changes from epoch to epoch.

    Args:
        groups: sample numbers by group.
        counts: how many samples of each group make up the epoch.
        seed, epoch: which order.
    """
    numbers, times = [np.empty(0, np.int64)], [np.empty(0)]
    for g, (members, count) in enumerate(zip(groups, counts, strict=True)):
        laps = -(-count // max(1, len(members)))
        drawn = [members[permutation(len(members), seed, epoch, g, lap)] for lap in range(laps)]
        numbers += [lap[: count - at * len(members)] for at, lap in enumerate(drawn)]
        offset = np.random.Philox(key=_words(seed, epoch), counter=_words(0, 1, 0, g)).random_raw() / 2**64
        times.append((np.arange(count) + offset) / max(1, count))
    return np.concatenate(numbers)[np.argsort(np.concatenate(times), kind="stable")]


def quotas(sizes: Sequence[int], weights: Sequence[Fraction], length: int | None) -> list[int]:
    """How many samples of each group an epoch has.

    Args:
        sizes: samples there are.
        weights: of the groups, relative.
        length: samples of the epoch; None takes as many as it needs to see every sample of a weighted group once.

    Returns:
        Counts that sum to the length, the remainder given to the largest fractions (the first of equals).

    Raises:
        ValueError: for weights that are negative or all 0.
    """
    if min(weights, default=Fraction()) < 0 or not sum(weights):
        raise ValueError(f"weights {[float(weight) for weight in weights]} must be at least 0, and not all 0")
    parts = [weight / sum(weights) for weight in weights]
    if length is None:
        length = max(-(-size // part) for size, part in zip(sizes, parts, strict=True) if part)
    exact = [length * part for part in parts]
    counts = [int(value) for value in exact]
    by_rest = sorted(range(len(exact)), key=lambda g: (counts[g] - exact[g], g))
    for g in by_rest[: length - sum(counts)]:
        counts[g] += 1
    return counts


@dataclass(frozen=True)
class Split:
    """The part of an epoch that is left, dealt out to ranks and workers after shuffling.

    A step is one batch on every rank: ``ranks * batch`` samples that follow each other in the epoch's order, whatever
    their division, so that a run may go on with other numbers of ranks. Workers take whole steps in turn, as torch's
    `DataLoader` asks them, so that their number changes nothing in the order of a rank's batches.

    ``drop_last`` leaves out the last, incomplete step: every rank then has equally many full batches. Else its
    samples are dealt one by one, and ranks differ by at most one.
    """

    total: int  # samples of the epoch
    start: int  # of them consumed before
    batch: int
    rank: int = 0
    ranks: int = 1
    drop_last: bool = False

    def __len__(self) -> int:
        """Batches of this rank that are left."""
        whole, rest = divmod(max(0, self.total - self.start), self.batch * self.ranks)
        return whole + (not self.drop_last and rest > self.rank)

    def positions(self, worker: int = 0, workers: int = 1) -> Indices:
        """Positions in the epoch's order of one worker's samples: batch after batch, only the last may be short."""
        step = self.batch * self.ranks
        whole = max(0, self.total - self.start) // step
        first = self.start + np.arange(worker, whole, workers) * step + self.rank * self.batch
        full = (first[:, None] + np.arange(self.batch)).ravel()
        if self.drop_last or whole % workers != worker:
            return full
        return np.concatenate([full, np.arange(self.start + whole * step + self.rank, self.total, self.ranks)])

    def position(self, batches: int) -> int:
        """Samples of the epoch that all ranks have consumed after so many batches of each."""
        if batches >= len(self):
            return self.total
        return self.start + batches * self.batch * self.ranks


def _words(*words: int) -> NDArray[np.uint64]:
    return np.array(words, np.uint64)
