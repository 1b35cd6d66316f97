"""Which splits of a dataset are exported."""

from __future__ import annotations

from collections.abc import Sequence

from lesionforge.sinks import dataset
from lesionforge.sinks.index import SPLITS
from lesionforge.sinks.store.store import Store


def chosen(store: Store, wanted: Sequence[str] | None) -> list[str]:
    """The dataset's splits, or those of them that are wanted.

    Raises:
        ValueError: where one is not there, or none.
    """
    there = {name.rsplit("-", 1)[0] for name in dataset.committed(store)}
    splits = [split for split in SPLITS if split in there and (wanted is None or split in wanted)]
    if missing := sorted(set(wanted or ()) - set(splits)):
        raise ValueError(f"{store.url()} has no split {', '.join(missing)}; it has {', '.join(sorted(there))}")
    if not splits:
        raise ValueError(f"{store.url()} has no committed samples")
    return splits
