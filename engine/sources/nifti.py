"""NIfTI-1 volumes, ``.nii`` and ``.nii.gz``: HU, label maps and lists of voxels, read slice by slice.

One slice is unpacked at a time and written where it belongs, so a volume costs what it is (2 bytes a voxel of HU,
1 of labels) whatever numbers its file holds; slices outside a region are unpacked and let go.
"""

from __future__ import annotations

import hashlib
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources.ct.axes import Axes, Box, Order
from lesionforge.engine.sources.ct.hounsfield import ValueCounts
from lesionforge.engine.sources.ct.scan import MAX_VOXELS
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.nifti_header import HEADER_BYTES, NiftiHeader
from lesionforge.generators.types import BadCase

NEARLY = 1e-3  # off a whole number: a label that was stored as a float or scaled
PIECE = 2**18  # bytes, packed or unpacked, that are in work
MAX_RATIO = 1100  # of bytes unpacked and packed: deflate's is 1032 at most
MAX_TREE_BYTES = 2**30  # of all voxels; a coronary CT of 512 x 512 x 300 has 8e7 to 6e8, by the type of its numbers
MAX_LABELLED = 2**22  # voxels of a binary label; two trees have about 2e5
MAX_SPREAD = 2**27  # voxels of the box around them, which is searched for components


@contextmanager
def opened(file: File) -> Iterator[tuple[NiftiHeader, BinaryIO]]:
    """A file's header, and its bytes from the first voxel on, unpacked.

    Raises:
        BadCase: for what is no three-dimensional NIfTI-1 volume with plain numbers and a usable affine.
    """
    try:
        with file.open() as raw:
            head = raw.read(2)
            raw.seek(0)
            stream = io.BufferedReader(_Gunzip(raw), PIECE) if head == b"\x1f\x8b" else raw
            header = NiftiHeader.read(stream)
            stream.read(header.offset - HEADER_BYTES)
            yield header, stream
    except (EOFError, zlib.error) as error:
        raise BadCase(f"its gzip stream is broken ({type(error).__name__})") from None


class _Gunzip(io.RawIOBase):
    """What a gzip stream holds: for a label map in a fourth of the time that ``gzip`` takes, for HU in four fifths."""

    def __init__(self, packed: BinaryIO) -> None:
        self._pieces, self._left = _unpacked(packed), memoryview(b"")

    def readable(self) -> bool:
        """It is; a buffer around it asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes more; none at the end. Raises as ``_unpacked``."""
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        n = min(len(buffer), len(self._left))
        buffer[:n], self._left = self._left[:n], self._left[n:]
        return n


def _unpacked(packed: BinaryIO) -> Iterator[bytes]:
    """The bytes of all members of a gzip stream, none of which is empty.

    Raises:
        EOFError: where it ends within a member.
        zlib.error: where a member is broken, or has another checksum.
    """
    member, left, inside = zlib.decompressobj(31), b"", False
    while left := left or packed.read(PIECE):
        if not inside:
            left = left.lstrip(b"\0")  # padding, as gzip reads it
        if not left:
            continue
        inside = True
        if piece := member.decompress(left, PIECE):
            yield piece
        left = member.unconsumed_tail
        if member.eof:
            member, left, inside = zlib.decompressobj(31), member.unused_data, False
    if inside:
        raise EOFError


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Labels as they were meant: numbers within ``NEARLY`` of whole ones made whole, others as they are."""
    if values.dtype.kind != "f":
        return values
    near = np.rint(values)
    return np.where(np.abs(values - near) <= NEARLY, near, values)


def planes(header: NiftiHeader, stream: BinaryIO) -> Iterator[NDArray[Any]]:
    """The file's slices (n0, n1) as they are stored, the first index running fastest, one after the other."""
    size = header.shape[0] * header.shape[1] * header.dtype.itemsize
    for k in range(header.shape[2]):
        raw = stream.read(size)
        if len(raw) < size:
            raise BadCase(f"ends in slice {k} of {header.shape[2]}")
        yield np.frombuffer(raw, header.dtype).reshape(header.shape[:2], order="F")
    stream.read(1)  # the checksum lies behind


@contextmanager
def _placed(file: File) -> Iterator[tuple[NiftiHeader, BinaryIO]]:
    """A volume that is read whole: not too large, and somewhere in the patient."""
    with opened(file) as (header, stream):
        if math.prod(header.shape) > MAX_VOXELS:
            raise BadCase(f"has shape {header.shape}; at most {MAX_VOXELS} voxels are read")
        if 0 < file.size * MAX_RATIO < math.prod(header.shape) * header.dtype.itemsize:
            raise BadCase(f"has shape {header.shape}, which {file.size} bytes cannot hold: it ends early")
        _require_place(header)
        yield header, stream


def _require_place(header: NiftiHeader) -> None:
    if not header.placed:
        raise BadCase("does not say how it lies in the patient: its sform_code and qform_code are 0")


def read_hu(file: File, axes: Axes, box: Box | None = None, order: Order = "C") -> NDArray[np.int16]:
    """HU of a volume.

    Args:
        axes: what turns the array along LPS.
        box: the part of the turned array that is wanted.
        order: in memory.

    Raises:
        BadCase: also for values that are no HU.
    """
    with _placed(file) as (header, stream):
        shape = _turned_shape(header, axes)
        out = np.empty([s.stop - s.start for s in box] if box else shape, np.int16, order)
        counts = ValueCounts()
        inside = axes.stored(out)
        plain = header.dtype.str[1:] == "i2" and not header.scaled
        whole = (slice(0, header.shape[0]), slice(0, header.shape[1]), slice(0, header.shape[2]))
        rows, cols, kept = axes.stored_box(box, header.shape) if box else whole
        for k, plane in enumerate(planes(header, stream)):
            values = plane if plain else plane.astype(np.float64) * header.slope + header.intercept
            if not plain and not np.isfinite(values).all():
                raise BadCase(f"holds values that are no numbers, in slice {k}")
            counts.add(values)
            if kept.start <= k < kept.stop:
                part = values[rows, cols]
                inside[:, :, k - kept.start] = part if plain else np.clip(np.rint(part), -32768, 32767)
    counts.require_hu()
    return out


def read_labels(file: File, axes: Axes) -> NDArray[np.uint8]:
    """A label map, 0 ... 255; in memory the first index runs fastest.

    Raises:
        BadCase: also for values that are no such whole numbers.
    """
    with _placed(file) as (header, stream):
        out = np.zeros(_turned_shape(header, axes), np.uint8, "F")
        inside = axes.stored(out)
        for k, plane in enumerate(planes(header, stream)):
            values = plane * header.slope + header.intercept if header.scaled else plane
            if not values.any():
                continue
            with np.errstate(invalid="ignore"):
                whole = values.astype(np.uint8)
                if not np.array_equal(whole, values):
                    values = _whole(values)
                    whole = values.astype(np.uint8)
            if not np.array_equal(whole, values):
                other = float(values[whole != values][0])
                raise BadCase(f"holds {other:g}; labels are whole numbers from 0 to 255")
            inside[:, :, k] = whole
    return out


@contextmanager
def volume(file: File) -> Iterator[tuple[NiftiHeader, Iterator[NDArray[Any]]]]:
    """A volume that ``read_labels`` might take: its header, and its slices (n0, n1) in the numbers that are meant.

    Raises:
        BadCase: for what cannot be read.
    """
    with _placed(file) as (header, stream):
        slices = planes(header, stream)
        yield header, (plane * header.slope + header.intercept for plane in slices) if header.scaled else slices


def header_of(file: File) -> NiftiHeader:
    """The header alone of a volume that ``read_hu`` or ``read_labels`` would take."""
    with _placed(file) as (header, _):
        return header


def look(file: File, whole: bool) -> bytes:
    """Hash of the numbers that a volume holds, as they are stored: the same for every container and type of number.

    Args:
        whole: of all; else of the first slice, for which little is unpacked.

    Raises:
        BadCase: for what ``read_hu`` would not take, before any of it is unpacked.
    """
    with _placed(file) as (header, stream):
        digest = hashlib.sha256(repr(header.shape).encode())
        for plane in planes(header, stream):
            values = plane.astype(np.float64) * header.slope + header.intercept if header.scaled else plane
            digest.update(values.astype("<f4").tobytes(order="F"))
            if not whole:
                break
    return digest.digest()


def _turned_shape(header: NiftiHeader, axes: Axes) -> tuple[int, ...]:
    return tuple(header.shape[a] for a in axes.order)


def read_voxels(file: File) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """A binary label as a list of its voxels: a few megabytes at a time, whatever its size.

    Returns:
        Indices (n, 3) of the labelled voxels, and the affine (4, 4) from index to LPS mm.

    Raises:
        BadCase: for what is no three-dimensional, binary NIfTI-1 volume with a usable affine.
    """
    voxels, _, affine = _listed(file, several=False)
    return voxels, affine


def read_marks(file: File) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.float64]]:
    """As ``read_voxels``, of a label map with several values: the voxels, the value of each, and the affine."""
    return _listed(file, several=True)


def _listed(file: File, several: bool) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.float64]]:
    with opened(file) as (header, stream):
        shape, dtype = header.shape, header.dtype
        if (nbytes := math.prod(shape) * dtype.itemsize) > MAX_TREE_BYTES:
            raise BadCase(f"claims {shape} voxels of {dtype}, {nbytes} bytes; at most {MAX_TREE_BYTES} are read")
        _require_place(header)
        if header.scaled:
            raise BadCase(f"scales its voxels by {header.slope} and {header.intercept}; a label holds plain 0 and 1")
        voxels, marks = _voxels(header, stream, several)
    if len(voxels) and (box := np.ptp(voxels, axis=0) + 1).prod(dtype=np.int64) > MAX_SPREAD:
        raise BadCase(f"its label spreads over {' x '.join(map(str, box))} voxels, more than any two trees do")
    return voxels, marks, header.affine


def _voxels(header: NiftiHeader, stream: BinaryIO, several: bool) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    found, kept, values, count = [], [], set[float](), 0
    for k, slab in enumerate(planes(header, stream)):
        plane = slab.ravel(order="F")
        at = np.flatnonzero(plane != 0)  # of booleans it takes a fifth of the time
        marks = _whole(plane[at])
        at, marks = at[marks != 0], marks[marks != 0]
        count += len(at)
        if count > MAX_LABELLED:
            raise BadCase(f"labels more than {MAX_LABELLED} voxels; two coronary trees have about 2e5")
        if not np.array_equal(marks, np.rint(marks)):
            raise BadCase(f"holds {marks[marks != np.rint(marks)][0]:g}; a label holds whole numbers")
        values.update(np.unique(marks).tolist())
        if several and values and not 0 < min(values) <= max(values) <= 255:
            raise BadCase(f"holds {min(values):g} to {max(values):g}; labels are whole numbers from 0 to 255")
        if len(values) > 1 and not several:
            raise BadCase(
                "is not binary, as a CT image or a map of several structures is not: give labels of the coronary tree "
                f"alone, or read images by ct: (beside 0 it holds {', '.join(f'{v:g}' for v in sorted(values)[:4])})"
            )
        rows = header.shape[0]
        kept.append(marks.astype(np.uint8) if several else np.ones(len(at), np.uint8))
        found.append(np.stack([at % rows, at // rows, np.full(at.shape, k)], axis=1).astype(np.int32))
    return np.concatenate(found), np.concatenate(kept)
