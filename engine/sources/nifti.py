"""Reading a binary NIfTI label as a list of voxels, slice by slice: a few megabytes at a time, whatever its size."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from engine.sources.files import why
from engine.sources.trees import Label
from generators.types import BadCase

MAX_EDGE = 4096
MAX_BYTES = 2**30  # of all voxels; a coronary CT of 512 x 512 x 300 has 8e7 to 6e8, by the type of its numbers
MAX_LABELLED = 2**22  # voxels of the label; two trees have about 2e5
MAX_BOX = 2**27  # voxels of the box around them, which is searched for components
SPACING_MM = (0.01, 20.0)
MAX_OFFSET = 2**20  # bytes before the voxels: header extensions
MAX_MM = 1e5  # of the affine's offset: further away is no patient
LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0, 1.0])


def read_label(fs: Any, path: str) -> Label:
    """Read ``.nii`` or ``.nii.gz`` from an fsspec file system.

    Raises:
        BadCase: for what is no readable, three-dimensional, binary NIfTI-1 volume with a usable affine.
    """
    try:
        with fs.open(path, "rb") as file:
            head = file.read(2)
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if head == b"\x1f\x8b" else file
            return _read(io.BufferedReader(stream, 2**20) if head == b"\x1f\x8b" else stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadCase(f"its gzip stream is broken ({type(error).__name__})") from None
    except OSError as error:
        raise BadCase(f"cannot be read: {why(error)}") from None


def _read(stream: Any) -> Label:
    try:
        header = nib.Nifti1Header.from_fileobj(stream)
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
        affine = LPS_FROM_RAS[:, None] * np.asarray(header.get_best_affine(), np.float64)
        offset = int(header.get_data_offset())
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OverflowError) as error:
        raise BadCase(f"is no NIfTI file ({type(error).__name__})") from None
    if shape[3:] and set(shape[3:]) == {1}:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1 or max(shape) > MAX_EDGE:
        raise BadCase(f"has shape {shape}; a label is a volume of at most {MAX_EDGE} voxels an edge")
    if dtype.kind not in "uif":
        raise BadCase(f"holds {dtype} voxels; a label holds plain numbers")
    if (nbytes := int(np.prod(shape, dtype=np.int64)) * dtype.itemsize) > MAX_BYTES:
        raise BadCase(f"claims {shape} voxels of {dtype}, {nbytes} bytes; at most {MAX_BYTES} are read")
    if slope is not None and (slope, intercept) != (1.0, 0.0):
        raise BadCase(f"scales its voxels by {slope} and {intercept}; a label holds plain 0 and 1")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadCase("its affine is singular or not finite, so the voxels have no place in the patient")
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(0))
    if spacing.min() < SPACING_MM[0] or spacing.max() > SPACING_MM[1] or np.abs(affine[:3, 3]).max() > MAX_MM:
        raise BadCase(
            f"its voxels are {' x '.join(f'{mm:.3g}' for mm in spacing)} mm, the first of them "
            f"{np.abs(affine[:3, 3]).max():.3g} mm away; a label has {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm"
        )
    if not 348 <= offset <= MAX_OFFSET:
        raise BadCase(f"its voxels begin at byte {offset}; 352 is usual, at most {MAX_OFFSET} is read")
    stream.read(max(0, offset - stream.tell()))
    voxels = _voxels(stream, shape, dtype)
    if len(voxels) and (box := np.ptp(voxels, axis=0) + 1).prod(dtype=np.int64) > MAX_BOX:
        raise BadCase(f"its label spreads over {' x '.join(map(str, box))} voxels, more than any two trees do")
    return Label(voxels, affine)


def _voxels(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[np.int32]]:
    area = shape[0] * shape[1]
    found, values, count = [], set[float](), 0
    for k in range(shape[2]):
        raw = stream.read(area * dtype.itemsize)
        if len(raw) < area * dtype.itemsize:
            raise BadCase(f"ends in slice {k} of {shape[2]}")
        plane = np.frombuffer(raw, dtype)
        at = np.flatnonzero(plane)
        count += len(at)
        if count > MAX_LABELLED:
            raise BadCase(f"labels more than {MAX_LABELLED} voxels; two coronary trees have about 2e5")
        values.update(np.unique(plane[at]).tolist())
        if len(values) > 1:
            raise BadCase(f"is not binary: beside 0 it holds {', '.join(f'{v:g}' for v in sorted(values)[:4])}")
        found.append(np.stack([at % shape[0], at // shape[0], np.full(at.shape, k)], axis=1).astype(np.int32))
    return np.concatenate(found)
