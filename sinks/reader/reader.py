"""The stream of samples that a training job reads."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks.card import counted
from lesionforge.sinks.reader.errors import ReaderError, integer, shown
from lesionforge.sinks.reader.order import Indices, Split, epoch_order, quotas
from lesionforge.sinks.reader.prefetch import ahead
from lesionforge.sinks.reader.samples import Sample, Samples
from lesionforge.sinks.reader.strata import strata

Transform = Callable[[Sample, np.random.Generator], Any]

PIECE = 16, 1 << 20  # samples and bytes that a thread reads at a time, at most
LOOKAHEAD = 64, 8 << 20  # the same of what the system is told to fetch where no thread reads
REMOTE_THREADS = 16  # waiting for answers, not working
MOST = 2**62  # of any count


class Reader:
    """Samples of one or several datasets, shuffled anew in every epoch, split over ranks, resumable at any batch.

    Iterating goes through what is left of the current epoch and then turns to the next one. The order is a pure
    function of the datasets, these arguments and the epoch; not of threads, workers or interruptions. A sample has
    ``__dataset__``, the number of the dataset it comes from, beside what `Samples` tells.

    Args:
        datasets: what to read; several are mixed.
        batch: samples of a batch, which is a list; None yields single samples.
        shares: weights of the datasets: every stretch of the order holds them in this proportion. An epoch then has
            every sample of each weighted dataset at least once, those of the others again and again, unless `length`
            says otherwise. None keeps the proportion of their sizes.
        stratify: `Samples.column` by whose values every stretch is stratified as well, e.g. ``target``.
        balance: weights of those values; None keeps the proportion they have in each dataset.
        length: samples of an epoch, over all ranks.
        shuffle: False reads in the order of the shards.
        seed: of the order.
        rank, ranks: this process and how many share the epoch. All ranks together read every sample of it once.
        drop_last: every rank gets equally many batches, all full; the rest of the epoch is left out.
        transform: called with every sample where it is read, in a thread, and with a random generator that belongs to
            its place in the epoch: the same whatever the number of threads, workers or ranks.
        threads: that read and decode ahead. Default: 16 for a network, one a core for local files, and none where
            nothing is decoded: the system then fetches ahead what is read when asked.
        ahead: encoded bytes that may be under way at once.

    Raises:
        ReaderError: for an argument that makes no sense; which, and what to give.
    """

    def __init__(
        self,
        datasets: Samples | Sequence[Samples],
        *,
        batch: int | None = None,
        shares: Sequence[float] | None = None,
        stratify: str | None = None,
        balance: Mapping[Any, float] | None = None,
        length: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool = False,
        transform: Transform | None = None,
        threads: int | None = None,
        ahead: int = 64 << 20,
    ) -> None:
        self.datasets = _opened(datasets)
        self.batch = None if batch is None else integer("batch", batch, 1, MOST)
        self.ranks = integer("ranks", ranks, 1, MOST)
        self.rank = integer("rank", rank, 0, self.ranks)
        self.seed = integer("seed", seed, 0, 2**64)
        length = None if length is None else integer("length", length, 1, MOST)
        if not shuffle and (shares or stratify or length):
            raise ReaderError("shares, stratify and length need shuffle=True: reading in order takes all samples once")
        if transform is not None and not callable(transform):
            raise ReaderError(f"transform is {shown(transform)}: give a function of a sample and a random generator")
        self.drop_last, self._shuffle, self._transform = drop_last, shuffle, transform
        self._ahead = integer("ahead", ahead, 1, MOST)
        default = max(map(_threads, self.datasets))
        self._threads = default if threads is None else integer("threads", threads, 0, MOST)
        self._starts = np.cumsum([0, *map(len, self.datasets)])
        self._bytes = np.concatenate([samples.sizes(np.arange(len(samples))) for samples in self.datasets])
        self._groups, weights = strata(self.datasets, shares, stratify, balance)
        self._counts = quotas([len(group) for group in self._groups], weights, length)
        if drop_last and not len(self):
            raise ReaderError(
                f"drop_last leaves nothing of {self.length} samples for {ranks} ranks of batch {batch or 1}"
            )
        self.epoch = 0
        self.position = 0  # samples of the epoch consumed, over all ranks

    @property
    def length(self) -> int:
        """Samples of an epoch, over all ranks."""
        return sum(self._counts)

    def __len__(self) -> int:
        """Batches, or single samples, of this rank in a whole epoch."""
        return len(self.split(0))

    def __repr__(self) -> str:
        batch = f" in batches of {self.batch}" if self.batch else ""
        return (
            f"<Reader of {counted(self.length, 'sample')} an epoch{batch}, rank {self.rank} of {self.ranks}, at epoch "
            f"{self.epoch}, position {self.position}, from {', '.join(map(repr, self.datasets))}>"
        )

    def __iter__(self) -> Iterator[Any]:
        split = self.split()
        worker, workers = _torch_worker()
        with closing(self._stream(split.positions(worker, workers))) as flow:
            for done in range(worker, len(split), workers):
                samples = list(islice(flow, self.batch or 1))
                self.position = split.position(done + 1)
                yield samples if self.batch else samples[0]
        self.turn()

    def state(self) -> dict[str, int]:
        """Where the stream stands: after the batch that was yielded last, on every rank alike."""
        at_end = self.split().position(0) >= self.length
        epoch, position = (self.epoch + 1, 0) if at_end else (self.epoch, self.position)
        return {"seed": self.seed, "epoch": epoch, "position": position, "data": self._fingerprint}

    def resume(self, state: Mapping[str, int]) -> None:
        """Go on where a state was taken; the numbers of ranks, batch, threads and workers may have changed.

        Raises:
            ReaderError: where datasets or options are others, so that the order would be another, or it is no state.
        """
        if not isinstance(state, Mapping) or set(state) != set(self.state()):
            raise ReaderError(f"state is {shown(state)}: give what Reader.state() returned, {', '.join(self.state())}")
        if state["data"] != self._fingerprint:
            raise ReaderError(
                "the state belongs to other samples, shares or strata: open the datasets as they were, or start anew"
            )
        seed, epoch = (integer(f"state[{name!r}]", state[name], 0, 2**64) for name in ("seed", "epoch"))
        self.position = integer("state['position']", state["position"], 0, self.length)
        self.seed, self.epoch = seed, epoch

    def turn(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch, self.position = self.epoch + 1, 0

    def split(self, position: int | None = None) -> Split:
        """This rank's part of the epoch from a position on, where the stream stands by default."""
        start = self.position if position is None else position
        return Split(self.length, start, self.batch or 1, self.rank, self.ranks, self.drop_last)

    def order(self) -> Indices:
        """Sample numbers of the current epoch, of all ranks; datasets are numbered through."""
        if not self._shuffle:
            return np.arange(self._starts[-1])
        return epoch_order(self._groups, self._counts, self.seed, self.epoch)

    def _stream(self, places: Indices) -> Generator[Any, None, None]:
        numbers = self.order()[places]
        pieces = _pieces(self._bytes[numbers], PIECE if self._threads else LOOKAHEAD)
        tasks = (((places[piece], numbers[piece]), cost) for piece, cost in pieces)
        if self._threads:
            with closing(ahead(lambda task: list(self._read(*task)), tasks, self._threads, self._ahead)) as done:
                for samples in done:
                    yield from samples
            return
        task = next(tasks, None)
        while task is not None:
            after = next(tasks, None)
            if after is not None:
                self._expect(after[0][1])
            yield from self._read(*task[0])
            task = after

    def _read(self, places: Indices, numbers: Indices) -> Iterator[Any]:
        which, flows = self._by_dataset(numbers)
        reads = {d: self.datasets[d].read(found) for d, found in flows.items()}
        for place, d in zip(places.tolist(), which, strict=True):
            sample = next(reads[d])
            sample["__dataset__"] = d
            yield sample if self._transform is None else self._transform(sample, self._rng(place))

    def _expect(self, numbers: Indices) -> None:
        for d, found in self._by_dataset(numbers)[1].items():
            self.datasets[d].expect(found)

    def _by_dataset(self, numbers: Indices) -> tuple[list[int], dict[int, Indices]]:
        """The dataset of every sample, and by dataset the samples' numbers in it."""
        which = np.searchsorted(self._starts, numbers, side="right") - 1
        each = which.tolist()
        return each, {d: numbers[which == d] - self._starts[d] for d in set(each)}

    def _rng(self, place: int) -> np.random.Generator:
        key, counter = np.array([self.seed, self.epoch], np.uint64), np.array([0, 2, 0, place], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    @cached_property
    def _fingerprint(self) -> int:
        digest = hashlib.blake2b(digest_size=6)
        for samples in self.datasets:
            digest.update(samples.fingerprint)
        for group, count in zip(self._groups, self._counts, strict=True):
            digest.update(np.asarray(group, "<i8").tobytes() + count.to_bytes(8, "little"))
        digest.update(bytes([self._shuffle]))
        return int.from_bytes(digest.digest(), "big")


def _opened(datasets: Any) -> list[Samples]:
    """One dataset or several as a list; a place is none."""
    several = isinstance(datasets, Iterable) and not isinstance(datasets, str)
    found = list(datasets) if several else [datasets]
    for one in found:
        if not isinstance(one, Samples):
            raise ReaderError(f"datasets is {shown(one)}: open the place first, as Samples(PLACE), or a list of such")
    if not found:
        raise ReaderError("datasets is an empty list: give Samples(PLACE), or several of them")
    return found


def _pieces(sizes: NDArray[np.int64], most: tuple[int, int]) -> Iterator[tuple[slice, int]]:
    """Runs of samples, of at most so many samples and bytes, and their bytes."""
    ends = np.cumsum(sizes)
    at, (count, room) = 0, most
    while at < len(sizes):
        before = ends[at] - sizes[at]
        end = min(at + count, max(at + 1, int(np.searchsorted(ends, before + room, side="right"))), len(sizes))
        yield slice(at, end), int(ends[end - 1] - before)
        at = end


def _threads(samples: Samples) -> int:
    """How many threads pay: of a network they wait, decoding keeps a core busy, the system fetches local bytes."""
    if samples.remote:
        return REMOTE_THREADS
    return len(os.sched_getaffinity(0)) if samples.decoded else 0


def _torch_worker() -> tuple[int, int]:
    """This process among the workers of a torch `DataLoader`, without importing torch: elsewhere there are none."""
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data else None
    return (info.id, info.num_workers) if info else (0, 1)
