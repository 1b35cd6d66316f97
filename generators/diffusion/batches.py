"""Batches that are always full, as tensors; and where the crops they are made of start.

The number of crops in a batch changes the last bits of a convolution, and a sample must not depend on who shares its
batch: the last batch is filled up with copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, ``size`` at a time, the rest at the end."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def filled(items: Sequence[T], size: int) -> list[T]:
    """One item at least and ``size`` at most, filled up with copies of the last."""
    return [*items, *[items[-1]] * (size - len(items))]


def stacked(rows: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """One batch of crops: arrays and numbers as tensors (n, ...) on a device, texts as lists."""
    import torch

    out: dict[str, Any] = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        out[name] = values if isinstance(first, str) else torch.from_numpy(np.stack(values)).to(device)
    return out


def fixed_kernels(device: str) -> None:
    """On a GPU, the same kernels in every run: the fastest ones change from run to run (promise P1, level L2)."""
    import torch

    if device.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def placed(start: int, side: int, length: int) -> int:
    """The first pixel of a side, moved into an axis; about its middle where that is shorter than the side."""
    return (length - side) // 2 if side >= length else min(max(start, 0), length - side)
