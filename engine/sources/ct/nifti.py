"""CT volumes and label maps from NIfTI files, slice by slice straight into the patient's axes.

One slice is unpacked at a time and written where it belongs, so a volume costs what it is (2 bytes a voxel of HU,
1 of labels) whatever numbers its file holds; slices outside a region are unpacked and let go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources import nifti
from lesionforge.engine.sources.ct.grid import MAX_VOXELS, Axes, Box
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.nifti import Header, planes
from lesionforge.generators.types import BadCase

MIN_SPREAD_HU = 150  # between the smallest and the largest value of any CT: air and water are 1000 apart


@contextmanager
def opened(file: File) -> Iterator[tuple[Header, BinaryIO]]:
    """See ``nifti.opened``.

    Raises:
        BadCase: also for volumes that are too large, or lie nowhere.
    """
    with nifti.opened(file.fs, file.path) as (header, stream):
        if math.prod(header.shape) > MAX_VOXELS:
            raise BadCase(f"has shape {header.shape}; at most {MAX_VOXELS} voxels are read")
        if not header.placed:
            raise BadCase("does not say how it lies in the patient: its sform_code and qform_code are 0")
        yield header, stream


def read_hu(file: File, axes: Axes, box: Box | None = None) -> NDArray[np.int16]:
    """HU of a volume.

    Args:
        axes: what turns the array along LPS.
        box: the part of the turned array that is wanted.

    Raises:
        BadCase: also for values that are no HU.
    """
    with opened(file) as (header, stream):
        out, low, high = _empty(header, axes, box, np.int16), np.inf, -np.inf
        inside = axes.stored(out)
        plain = header.dtype.str[1:] == "i2" and not header.scaled
        whole = (slice(0, header.shape[0]), slice(0, header.shape[1]), slice(0, header.shape[2]))
        rows, cols, kept = axes.stored_box(box, header.shape) if box else whole
        for k, plane in enumerate(planes(header, stream)):
            values = plane if plain else plane.astype(np.float64) * header.slope + header.intercept
            if not plain and not np.isfinite(values).all():
                raise BadCase(f"holds values that are no numbers, in slice {k}")
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            if kept.start <= k < kept.stop:
                part = values[rows, cols]
                inside[:, :, k - kept.start] = part if plain else np.clip(np.rint(part), -32768, 32767)
    if high - low < MIN_SPREAD_HU or low > 1000:
        raise BadCase(f"holds values from {low:g} to {high:g}, which are no Hounsfield units: was it normalised?")
    return out


def read_labels(file: File, axes: Axes) -> NDArray[np.uint8]:
    """A label map, 0 ... 255.

    Raises:
        BadCase: also for values that are no such whole numbers.
    """
    with opened(file) as (header, stream):
        out = _empty(header, axes, None, np.uint8)
        inside = axes.stored(out)
        for k, plane in enumerate(planes(header, stream)):
            values = plane * header.slope + header.intercept if header.scaled else plane
            with np.errstate(invalid="ignore"):
                whole = values.astype(np.uint8)
            if not np.array_equal(whole, values):
                wrong = float(values[whole != values][0])
                raise BadCase(f"holds {wrong:g}; labels are whole numbers from 0 to 255")
            inside[:, :, k] = whole
    return out


def header_of(file: File) -> Header:
    """A file's header alone."""
    with opened(file) as (header, _):
        return header


def _empty(header: Header, axes: Axes, box: Box | None, dtype: Any) -> NDArray[Any]:
    shape = tuple(header.shape[a] for a in axes.order)
    return np.zeros(shape if box is None else tuple(s.stop - s.start for s in box), dtype)
