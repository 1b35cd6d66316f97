"""Where the members of a dataset's samples lie in its shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks import spans
from lesionforge.sinks.reader.errors import ReaderError
from lesionforge.sinks.spans import Spans


@dataclass(frozen=True)
class Shard:
    """The chosen samples of a shard, and the checksum of its tar.

    ``begin``: where the data of their members begin; None where these are all of the tar, one after the other.
    """

    sha256: str
    spans: Spans
    begin: list[int] | None = None


def places(
    shards: Sequence[Shard], requested: Sequence[str] | None, keys: Sequence[str], url: str
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Names, and by sample and name where the data begin in the tar (-1: no such member) and how long they are."""
    present = sorted({name for one in shards for shape in one.spans.shapes for name in shape})
    names = present if requested is None else list(requested)
    code = {name: number for number, name in enumerate(names)}
    column = _flat(_numbers(one.spans, code) for one in shards)
    owner = np.repeat(np.arange(len(keys)), _flat(one.spans.counts() for one in shards))
    size, members = _flat(one.spans.sizes for one in shards), [len(one.spans.sizes) for one in shards]
    offset = spans.offsets(size, members)
    for one, end in zip(shards, np.cumsum(members).tolist(), strict=True):
        if one.begin is not None:
            offset[end - len(one.begin) : end] = one.begin
    offsets, sizes = np.full((len(keys), len(names)), -1, np.int64), np.zeros((len(keys), len(names)), np.int64)
    hit = column >= 0
    offsets[owner[hit], column[hit]] = offset[hit]
    sizes[owner[hit], column[hit]] = size[hit]
    if requested is not None and (lacking := np.argwhere(offsets.T < 0)).size:
        member, number = lacking[0]
        raise ReaderError(
            f"sample {keys[number]} of {url} has no member {names[member]!r}; the dataset's members are "
            f"{', '.join(present)}"
        )
    return names, offsets, sizes


def _flat(parts: Iterable[Iterable[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(parts), np.int64)


def _numbers(spans: Spans, code: Mapping[str, int]) -> Iterable[int]:
    """The column of every member, -1 for those that were not asked for."""
    columns = [[code.get(name, -1) for name in shape] for shape in spans.shapes]
    return chain.from_iterable(map(columns.__getitem__, spans.shape))
