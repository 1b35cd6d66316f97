"""A reader's stream through torch's worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lesionforge.sinks.reader.reader import Reader


def loader(reader: Reader, workers: int = 2, **options: Any) -> Iterator[Any]:
    """What is left of the reader's epoch, read by worker processes; the batches are those of ``iter(reader)``.

    Worth it where a transform is slow Python; reading and decoding PNG alone scale with the reader's threads. The
    reader's state follows what has been yielded here, however far the workers are ahead.

    Args:
        reader: what to read; torch's workers get copies of it.
        workers: how many; 0 reads in this process.
        options: of `torch.utils.data.DataLoader`, e.g. ``collate_fn`` (default: batches stay lists), ``pin_memory``,
            ``prefetch_factor``. Not ``batch_size``, ``sampler`` or ``persistent_workers``: those are the reader's.
    """
    from torch.utils.data import DataLoader, IterableDataset

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


def _same(batch: Any) -> Any:
    return batch
