"""NIfTI-1 volumes, ``.nii`` and ``.nii.gz``: what their headers say, and their slices one at a time."""

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

from lesionforge.engine.sources.files import why
from lesionforge.generators.types import BadCase

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it quotes what broken headers hold
MAX_EDGE = 4096
SPACING_MM = (0.01, 20.0)
MAX_OFFSET = 2**20  # bytes before the voxels: header extensions
MAX_MM = 1e5  # of the affine's offset: further away is no patient
LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Header:
    """What a NIfTI file says of its voxels; ``affine`` from index to LPS mm, ``placed``: it is more than a default."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    affine: NDArray[np.float64]
    placed: bool
    offset: int

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are others than those meant."""
        return (self.slope, self.intercept) != (1.0, 0.0)


@contextmanager
def opened(fs: Any, path: str) -> Iterator[tuple[Header, BinaryIO]]:
    """A file's header, and its bytes from the first voxel on, unpacked.

    Args:
        fs, path: an fsspec file system, and the file in it.

    Raises:
        BadCase: for what is no three-dimensional NIfTI-1 volume with plain numbers and a usable affine.
    """
    try:
        with fs.open(path, "rb") as raw:
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
    if len(shape) != 3 or min(shape) < 1 or max(shape) > MAX_EDGE:
        raise BadCase(f"has shape {shape}; volumes of at most {MAX_EDGE} voxels an edge are read")
    if dtype.kind not in "uif":
        raise BadCase(f"holds {dtype} voxels; plain numbers are read")
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
    return Header((shape[0], shape[1], shape[2]), dtype, *scale, affine, placed, offset)


def planes(header: Header, stream: BinaryIO) -> Iterator[NDArray[Any]]:
    """The file's slices (n0, n1) as they are stored, the first index running fastest, one after the other."""
    size = header.shape[0] * header.shape[1] * header.dtype.itemsize
    for k in range(header.shape[2]):
        raw = stream.read(size)
        if len(raw) < size:
            raise BadCase(f"ends in slice {k} of {header.shape[2]}")
        yield np.frombuffer(raw, header.dtype).reshape(header.shape[:2], order="F")
