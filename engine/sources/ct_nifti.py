"""CT volumes and label maps from NIfTI files, slice by slice straight into the patient's axes.

One slice is unpacked at a time and written where it belongs, so a volume costs what it is (2 bytes a voxel of HU,
1 of labels) whatever numbers its file holds; slices outside a region are unpacked and let go.
"""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from engine.sources.ct_grid import MAX_VOXELS, Axes, Box
from engine.sources.files import File, why
from engine.sources.nifti import LPS_FROM_RAS, MAX_EDGE, MAX_MM, MAX_OFFSET, SPACING_MM
from generators.types import BadCase

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it quotes what broken headers hold
MIN_SPREAD_HU = 150  # between the smallest and the largest value of any CT: air and water are 1000 apart


@dataclass(frozen=True)
class Header:
    """What a NIfTI file says of its voxels; ``affine`` from index to LPS mm."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    affine: NDArray[np.float64]
    offset: int


@contextmanager
def opened(file: File) -> Iterator[tuple[Header, BinaryIO]]:
    """A file's header, and its bytes from the first voxel on, unpacked.

    Raises:
        BadCase: for what is no three-dimensional NIfTI-1 volume with plain numbers and a usable affine.
    """
    try:
        with file.fs.open(file.path, "rb") as raw:
            head = raw.read(2)
            raw.seek(0)
            packed = head == b"\x1f\x8b"
            stream = io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=raw)), 2**20) if packed else raw
            header = _header(stream)
            stream.read(max(0, header.offset - stream.tell()))
            yield header, cast(BinaryIO, stream)
    except FileNotFoundError:
        raise BadCase("the file is missing") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadCase(f"its gzip stream is broken ({type(error).__name__})") from None
    except OSError as error:
        raise BadCase(f"cannot be read: {why(error)}") from None


def _header(stream: Any) -> Header:
    try:
        found = nib.Nifti1Header.from_fileobj(stream)
        shape, dtype = found.get_data_shape(), found.get_data_dtype()
        slope, intercept = found.get_slope_inter()
        affine = LPS_FROM_RAS[:, None] * np.asarray(found.get_best_affine(), np.float64)
        offset, placed = int(found.get_data_offset()), int(found["sform_code"]) > 0 or int(found["qform_code"]) > 0
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OverflowError) as error:
        raise BadCase(f"is no NIfTI file ({type(error).__name__})") from None
    if len(shape) > 3 and set(shape[3:]) == {1}:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1 or max(shape) > MAX_EDGE or np.prod(shape, dtype=np.int64) > MAX_VOXELS:
        raise BadCase(f"has shape {shape}; at most {MAX_EDGE} voxels an edge and {MAX_VOXELS} in all are read")
    if dtype.kind not in "uif":
        raise BadCase(f"holds {dtype} voxels; plain numbers are read")
    if not placed:
        raise BadCase("does not say how it lies in the patient: its sform_code and qform_code are 0")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadCase("its affine is singular or not finite, so the voxels have no place in the patient")
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(0))
    if spacing.min() < SPACING_MM[0] or spacing.max() > SPACING_MM[1] or np.abs(affine[:3, 3]).max() > MAX_MM:
        raise BadCase(
            f"its voxels are {' x '.join(f'{mm:.3g}' for mm in spacing)} mm, the first of them "
            f"{np.abs(affine[:3, 3]).max():.3g} mm away; {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm are read"
        )
    if not 348 <= offset <= MAX_OFFSET:
        raise BadCase(f"its voxels begin at byte {offset}; 352 is usual, at most {MAX_OFFSET} is read")
    scale = (1.0, 0.0) if slope is None or not np.isfinite(slope) else (float(slope), float(intercept))
    return Header((shape[0], shape[1], shape[2]), dtype, *scale, affine, offset)


def planes(header: Header, stream: BinaryIO) -> Iterator[NDArray[Any]]:
    """The file's slices (n0, n1), one after the other."""
    size = header.shape[0] * header.shape[1] * header.dtype.itemsize
    for k in range(header.shape[2]):
        raw = stream.read(size)
        if len(raw) < size:
            raise BadCase(f"ends in slice {k} of {header.shape[2]}")
        yield np.frombuffer(raw, header.dtype).reshape(header.shape[:2], order="F")


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
        plain = header.dtype.str[1:] == "i2" and (header.slope, header.intercept) == (1.0, 0.0)
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
            values = (
                plane if header.slope == 1.0 and header.intercept == 0.0 else plane * header.slope + header.intercept
            )
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
