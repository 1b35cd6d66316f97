"""A reader's stream through torch's worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lesionforge.generators.types import UserError
from lesionforge.sinks.reader.reader import Reader
from lesionforge.sinks.reader.samples import Sample


def loader(reader: Reader, workers: int = 2, **options: Any) -> Iterator[Any]:
    """What is left of the reader's epoch, read by worker processes; the batches are those of ``iter(reader)``.

    Worth it where a transform is slow Python; reading and decoding PNG alone scale with the reader's threads. The
    reader's state follows what has been yielded here, however far the workers are ahead.

    Args:
        reader: what to read; torch's workers get copies of it.
        workers: how many; 0 reads in this process.
        options: of `torch.utils.data.DataLoader`, e.g. ``collate_fn`` (default: batches stay lists; `collate` stacks
            their arrays), ``pin_memory``, ``prefetch_factor``. Not ``batch_size``, ``sampler`` or
            ``persistent_workers``: those are the reader's.

    Raises:
        UserError: where torch is not installed.
    """
    try:
        from torch.utils.data import DataLoader, IterableDataset
    except ModuleNotFoundError as error:
        raise _without(error, "iterate the Reader itself, which needs threads only") from None
    IterableDataset.register(Reader)
    stream = DataLoader(reader, batch_size=None, num_workers=workers, **{"collate_fn": _same, **options})
    if not workers:
        yield from stream
        return
    split = reader.split()
    for done, batch in enumerate(stream, 1):
        reader.position = split.position(done)
        yield batch
    reader.turn()


def collate(batch: Sequence[Sample]) -> dict[str, Any]:
    """A batch as one dict: arrays of one shape stacked into a torch tensor (batch, ...), anything else as a list.

    For `loader` and for torch's `DataLoader` over `Samples`, whose own ``default_collate`` cannot take a ``json``: its
    values may be None, and its lists are of different lengths. A member that not every sample has is a list with None.

    Raises:
        UserError: where torch is not installed.
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


def _without(error: ModuleNotFoundError, instead: str) -> UserError:
    return UserError(f"{error.name} is not installed: {instead}, or pip install 'lesionforge[train]'")


def _same(batch: Any) -> Any:
    return batch
