"""A reader's stream through torch's worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lesionforge.sinks.reader.errors import ReaderError, integer, shown
from lesionforge.sinks.reader.reader import Reader
from lesionforge.sinks.reader.samples import Sample

OWN = {"batch_size", "batch_sampler", "sampler", "shuffle", "drop_last", "persistent_workers", "num_workers"}
OWN_FIX = "give Reader its batch, shuffle, seed and drop_last, and loader its workers"
MOST_WORKERS = 4096


def loader(reader: Reader, workers: int = 2, **options: Any) -> Loader:
    """What is left of the reader's epoch, read by worker processes; the batches are those of ``iter(reader)``.

    Worth it where a transform is slow Python; reading and decoding PNG alone scale with the reader's threads. The
    reader's state follows what has been yielded here, however far the workers are ahead. To go through it again is to
    read the next epoch.

    Args:
        reader: what to read; torch's workers get copies of it.
        workers: how many; 0 reads in this process.
        options: of `torch.utils.data.DataLoader`, e.g. ``collate_fn`` (default: batches stay lists; `collate` stacks
            their arrays), ``pin_memory``, ``prefetch_factor``. Not ``batch_size``, ``sampler`` or
            ``persistent_workers``: those are the reader's.

    Raises:
        ReaderError: where torch is not installed, or does not take the options.
    """
    if not isinstance(reader, Reader):
        raise ReaderError(f"reader is {shown(reader)}: give a Reader, such as Reader(samples, batch=8)")
    if own := sorted(OWN & set(options)):
        raise ReaderError(f"{own[0]}={shown(options[own[0]])}: that is the Reader's; {OWN_FIX}")
    workers = integer("workers", workers, 0, MOST_WORKERS)
    try:
        from torch.utils.data import DataLoader, IterableDataset
    except ModuleNotFoundError as error:
        raise _without(error, "iterate the Reader itself, which needs threads only") from None
    IterableDataset.register(Reader)
    try:
        stream = DataLoader(reader, batch_size=None, num_workers=workers, **{"collate_fn": _same, **options})
    except (TypeError, ValueError) as error:
        raise ReaderError(f"torch's DataLoader does not take {', '.join(options)}: {error}") from None
    return Loader(reader, workers, stream)


class Loader:
    """What `loader` gives: the batches, and with ``len`` how many are left."""

    def __init__(self, reader: Reader, workers: int, stream: Iterable[Any]) -> None:
        self._reader, self._workers, self._stream = reader, workers, stream

    def __len__(self) -> int:
        return len(self._reader.split())

    def __iter__(self) -> Iterator[Any]:
        if not self._workers:
            yield from self._stream
            return
        split = self._reader.split()
        for done, batch in enumerate(self._stream, 1):
            self._reader.position = split.position(done)
            yield batch
        self._reader.turn()


def collate(batch: Sequence[Sample]) -> dict[str, Any]:
    """A batch as one dict: arrays of one shape stacked into a torch tensor (batch, ...), anything else as a list.

    For `loader` and for torch's `DataLoader` over `Samples`, whose own ``default_collate`` cannot take a ``json``: its
    values may be None, and its lists are of different lengths. A member that not every sample has is a list with None.

    Raises:
        ReaderError: where torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise _without(error, "take the batches as lists") from None
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for sample in batch for name in sample):
        values = [sample.get(name) for sample in batch]
        arrays = [value for value in values if isinstance(value, np.ndarray)]
        same = len(arrays) == len(values) and len({(array.shape, array.dtype) for array in arrays}) == 1
        out[name] = torch.from_numpy(np.stack(arrays)) if same else values
    return out


def _without(error: ModuleNotFoundError, instead: str) -> ReaderError:
    return ReaderError(f"{error.name} is not installed: {instead}, or pip install 'lesionforge[train]'")


def _same(batch: Any) -> Any:
    return batch
