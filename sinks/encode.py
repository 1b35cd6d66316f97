"""Turning a sample's fields into the bytes of tar members that any WebDataset reader decodes."""

from __future__ import annotations

import gzip
import io
import json
import math
import struct
import tokenize
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from lesionforge.generators.types import DELTA, check_field
from lesionforge.sinks import limits
from lesionforge.sinks.png import png

# What the decoders raise for damaged bytes; a size out of all bounds ends in the last two.
_DAMAGE = (
    ValueError,
    OverflowError,
    struct.error,
    OSError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    zlib.error,
    MemoryError,
    RecursionError,
)
ZSTD = pa.Codec("zstd", compression_level=1)  # of one frame that says its size: zstandard.decompress takes it, too
_PIECE = 2**20
_HEAD = 2**12  # bytes that hold the header of any array written here


def encode(name: str, value: Any) -> bytes:
    """Encode one field by the last extension of its name.

    Args:
        name: member name after the sample's key, e.g. ``view0.png``, ``mask.npy.zst``, ``ct.delta.npy.zst``, ``json``.
        value: uint8 or uint16 (H, W) or uint8 (H, W, 3) array for png, any numeric array for npy, plain data
            for json.

    Raises:
        ValueError: for a name or value that has no encoding here, non-finite numbers included.
    """
    kind = name.rsplit(".", 1)[-1]
    if kind == "gz":
        return gzip.compress(_packable(name, encode(name.removesuffix(".gz"), value)), compresslevel=3, mtime=0)
    if kind == "json":
        return json_bytes(value)
    check_field(name, value)
    if kind == "zst":
        packed: bytes = ZSTD.compress(
            _packable(name, _npy(_steps(value) if name.endswith(DELTA) else value)), asbytes=True
        )
        return packed
    return png(value) if kind == "png" else _npy(value)


def decode(name: str, data: bytes) -> Any:
    """Read one member back.

    Raises:
        ValueError: where the bytes are not what the name says.
    """
    try:
        return _decoded(name, data)
    except _DAMAGE as error:
        message = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{name}: {message or type(error).__name__}") from None


def _decoded(name: str, data: bytes | bytearray | memoryview) -> Any:
    kind = name.rsplit(".", 1)[-1]
    if kind == "png":
        return np.array(open_png(data))  # a copy: Pillow's own memory is read-only, of which torch warns
    if kind == "npy":
        return _array(data)
    if kind == "gz":
        inner = name.removesuffix(".gz")
        if inner.endswith(".gz"):
            raise ValueError("is packed twice, which nothing here is")
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return _decoded(inner, _unpacked(file, inner.endswith("npy")))
    if kind == "zst":
        if not name.endswith(".npy.zst"):
            raise ValueError("zstd holds arrays only")
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as file:
            array = _array(_unpacked(file, True))
        return _summed(array) if name.endswith(DELTA) else array
    if kind == "json":
        return limits.parsed(bytes(data) if isinstance(data, memoryview) else data)
    raise ValueError(f"no decoding for .{kind}")


def _array(data: bytes | bytearray | memoryview) -> NDArray[Any]:
    """What ``np.load`` reads, but nothing is made room for that the bytes do not hold."""
    shape, fortran, dtype, start = _header(data)
    count = math.prod(shape)
    if dtype.itemsize * count != len(data) - start:
        raise ValueError(f"an array of {dtype} {shape} does not have {len(data) - start} bytes")
    array = np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    return array if array.flags.writeable else array.copy(order="K")


def _header(data: bytes | bytearray | memoryview) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran's order, kind, and where the numbers begin."""
    stream = io.BytesIO(data[:_HEAD])
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy of version {version}; 1.0 is written and read")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError("an array of objects would need pickle, which is never read")
    if dtype.kind not in "biufc" or min(shape, default=0) < 0:
        raise ValueError(f"an array of {str(dtype)[:50]} {shape}; numbers are written and read")
    return shape, fortran, dtype, stream.tell()


def _packable(name: str, data: bytes) -> bytes:
    if len(data) > limits.UNPACKED:
        raise ValueError(f"field {name!r}: {len(data)} bytes; at most {limits.UNPACKED} are packed")
    return data


def _unpacked(file: gzip.GzipFile | pa.NativeFile, array: bool) -> memoryview:
    """What a packed file holds; of an array, its own header says first how much that is."""
    head, most = file.read(_HEAD), limits.UNPACKED
    if array:
        shape, _, dtype, start = _header(head)
        most = start + dtype.itemsize * math.prod(shape)
    if most > limits.UNPACKED:
        raise ValueError(f"unpacks to {most} bytes; at most {limits.UNPACKED} are read")
    out, got = np.empty(most, np.uint8), min(len(head), most)  # pages are taken as they are written
    out[:got] = np.frombuffer(head, np.uint8, got)
    while got < most and (more := file.readinto(out[got : got + _PIECE].data)):
        got += more
    if len(head) > most or file.read(1):
        raise ValueError(f"unpacks to more than {most} bytes")
    return out[:got].data


def _steps(value: NDArray[np.int16]) -> NDArray[np.uint8]:
    """(2, *shape): low and high bytes of the differences along the last axis, modulo 2^16: CT's noise is in the low."""
    steps = value.astype("<i2", order="C")
    steps[..., 1:] -= value[..., :-1]
    pairs = steps.view(np.uint8).reshape(*value.shape, 2)
    out = np.empty((2, *value.shape), np.uint8)
    out[0], out[1] = pairs[..., 0], pairs[..., 1]
    return out


def _summed(steps: NDArray[Any]) -> NDArray[np.int16]:
    """The volume whose ``_steps`` these are."""
    if steps.dtype != np.uint8 or steps.ndim < 2 or len(steps) != 2:
        raise ValueError(f"an array of {steps.dtype} {steps.shape}; uint8 (2, ...) holds differences")
    out = steps[1].astype(np.int16)
    out <<= 8
    out |= steps[0]
    return np.cumsum(out, axis=-1, dtype=np.int16, out=out)


def open_png(data: bytes | bytearray | memoryview) -> PngImageFile:
    """A PNG whose header is read, its pixels not yet.

    Not through `Image.open`: Ultralytics, once imported, has put one of its own in that place, which installs packages
    when it meets bytes that it cannot read.

    Raises:
        SyntaxError: where it is none.
        ValueError: where it says to be larger than anything that is written here.
    """
    image = PngImageFile(io.BytesIO(data))
    if image.width * image.height > limits.PIXELS:
        raise ValueError(f"a PNG of {image.width} x {image.height} pixels is damaged, or none of ours")
    return image


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON: keys sorted, no spaces, NaN refused (it is not JSON)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(f"{type(value).__name__} cannot stand in JSON")


def _npy(value: NDArray[Any]) -> bytes:
    array, out = np.asarray(value, order="C"), io.BytesIO()
    np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
    return b"".join((out.getvalue(), array.reshape(-1).view(np.uint8).data))  # np.save would copy it three times
