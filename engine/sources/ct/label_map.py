"""Label maps, a slice at a time as they lie in memory: how often a value occurs, other values, and where some are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.ct.axes import Box
from lesionforge.generators.types import BadCase

Labels = NDArray[np.uint8]


def counted(labels: Labels) -> NDArray[np.int64]:
    """Voxels of each value but 0, int64 (256,)."""
    out = np.zeros(256, np.int64)
    for _, part in _marked(labels):
        out += np.bincount(part[part != 0], minlength=256)
    return out


def rename(labels: Labels, table: Labels) -> None:
    """Put ``table`` (256,) of each value in its place; 0 stays 0."""
    changes = bytes(table)
    for _, part in _marked(labels):  # two thirds of the time that table[part] takes
        part[:] = np.frombuffer(part.tobytes().translate(changes), np.uint8).reshape(part.shape)


def box_of(labels: Labels, wanted: Collection[int], margin_mm: float, spacing_mm: tuple[float, ...]) -> Box:
    """The box around some values other than 0, and a margin.

    Raises:
        BadCase: where none of them is there.
    """
    order = _slowest_first(labels)
    there = [np.zeros(labels.shape[axis], bool) for axis in order]
    for k, part in _marked(labels) if wanted else ():
        mask = np.logical_or.reduce([part == value for value in wanted])
        there[1] |= (rows := mask.any(axis=1))
        there[2] |= mask.any(axis=0)
        there[0][k] = rows.any()
    out = [slice(0)] * 3
    for axis, found in zip(order, there, strict=True):
        at = np.flatnonzero(found)
        if not len(at):
            raise BadCase("has no voxel of the region it is to be cropped to")
        grow = math.ceil(margin_mm / spacing_mm[axis])
        out[axis] = slice(max(0, int(at[0]) - grow), min(len(found), int(at[-1]) + grow + 1))
    return out[0], out[1], out[2]


def _slowest_first(labels: Labels) -> tuple[int, int, int]:
    a, b, c = sorted(range(3), key=lambda axis: -abs(labels.strides[axis]))
    return a, b, c


def _marked(labels: Labels) -> Iterator[tuple[int, Labels]]:
    """Number and view (a, b) of each slice that holds something; most hold nothing, which is seen at once."""
    for k, part in enumerate(labels.transpose(_slowest_first(labels))):
        if part.any():
            yield k, part
