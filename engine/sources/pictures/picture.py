"""Pictures as grey levels: what a PNG, BMP, JPEG or TIFF stores, unchanged, or the reason why it is no angiogram."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.generators.types import BadCase

FORMATS = ("PNG", "BMP", "JPEG", "TIFF", "PPM")  # no other reader of Pillow's is asked: some start other programs
ENDINGS = ("png", "bmp", "jpg", "jpeg", "tif", "tiff", "pgm")
MIN_EDGE, MAX_EDGE = 32, 8192
MAX_PIXELS = 2**24  # 4096 x 4096: no angiogram has more, and no more is unpacked
MAX_TINT = 4  # a grey JPEG saved as colour comes back with channels this far apart


def decode(data: bytes) -> NDArray[np.uint8]:
    """Grey levels (rows, cols) of an 8-bit picture, grey or with three equal channels.

    Raises:
        BadCase: for what is no such picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            cols, rows = picture.size
            if not (MIN_EDGE <= cols <= MAX_EDGE and MIN_EDGE <= rows <= MAX_EDGE):
                raise BadCase(f"has {cols} x {rows} pixels; {MIN_EDGE} to {MAX_EDGE} an edge are read")
            if cols * rows > MAX_PIXELS:
                raise BadCase(f"has {cols} x {rows} pixels; at most {MAX_PIXELS} in all are read")
            if picture.mode in ("1", "L", "P", "LA", "RGB", "RGBA"):
                values = np.asarray(picture.convert({"1": "L", "LA": "L", "L": "L"}.get(picture.mode, "RGB")))
            else:
                raise BadCase(f"stores {picture.mode} pixels; 8-bit grey or RGB with equal channels is read")
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error) as error:
        raise BadCase(f"is no readable picture: {_words(error)}") from None
    except ImportError:  # Ultralytics, once imported, answers an unknown format by asking Pillow for a HEIF reader
        raise BadCase("is no readable picture: of no known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadCase("claims more pixels than any angiogram has") from None
    if values.ndim == 2:
        return np.ascontiguousarray(values)
    red, green, blue = (np.ascontiguousarray(values[..., channel]) for channel in range(3))
    if not (np.array_equal(red, green) and np.array_equal(green, blue)):
        tint = int(np.ptp(values, axis=2).max())
        if tint > MAX_TINT:
            raise BadCase(f"is in colour: its channels differ by up to {tint} levels; an angiogram is grey")
    return green


def pixel_hash(image: NDArray[np.uint8]) -> str:
    """Stands for a picture's pixels, whatever file they came from."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:32]


def _words(error: Exception) -> str:
    """What went wrong, in our words: Pillow's quote the file, whose header may hold a name (promise P8)."""
    known = {"cannot identify": "of no known format", "truncated": "it ends too early"}
    return next((ours for theirs, ours in known.items() if theirs in str(error)), type(error).__name__)
