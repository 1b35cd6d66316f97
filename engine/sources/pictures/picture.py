"""Pictures as grey levels: what a PNG, BMP, JPEG or TIFF stores, unchanged, and whether somebody wrote on it."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any, overload

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import ExifTags, Image

from lesionforge.engine.sources.base import BURNED_IN
from lesionforge.generators.types import Angiogram, BadCase, Given, Scene

FORMATS = ("PNG", "BMP", "JPEG", "TIFF", "PPM")  # no other reader of Pillow's is asked: some start other programs
MIN_EDGE, MAX_EDGE = 32, 8192
MAX_PIXELS = 2**24  # 4096 x 4096: no angiogram has more, and no more is unpacked
OPAQUE = 255
DEEP = ("I", "I;16", "I;16B")  # modes of more than 8 bits
MAX_TINT = 4  # a grey JPEG saved as colour comes back with channels this far apart
BRIGHT, PALE = 235, 150  # grey levels of 255: overlays are written at the end of the scale, with paler edges
CONTRAST = 60  # levels above what lies around the stroke
STROKE_WIDTH = 9  # pixels of 512: no stroke is wider
LETTER_HEIGHT = (6, 40)  # of a letter, pixels of 512
MIN_LETTERS = 4  # letters of one height side by side


@overload
def decode(data: bytes) -> NDArray[np.uint8]: ...
@overload
def decode(data: bytes, deep: bool) -> NDArray[np.integer]: ...
def decode(data: bytes, deep: bool = False) -> NDArray[Any]:
    """Grey levels (rows, cols) of an 8-bit picture, grey or with three equal channels; if ``deep``, of 16 bits, too.

    Raises:
        BadCase: for what is no such picture, one that its EXIF turns, and one that is transparent anywhere.
    """

    def grey(picture: Image.Image) -> NDArray[Any]:
        if deep and picture.mode in DEEP:
            return np.asarray(picture)
        if picture.mode not in ("1", "L", "P", "LA", "RGB", "RGBA"):
            raise BadCase(f"stores {picture.mode} pixels; 8-bit grey or RGB with equal channels is read")
        return np.asarray(picture.convert({"1": "L", "LA": "L", "L": "L"}.get(picture.mode, "RGB")))

    return _one_channel(_opened(data, grey))


def numbers(data: bytes) -> NDArray[np.int64]:
    """What a picture (rows, cols) of class numbers stores: grey levels of up to 16 bits, or the numbers of its palette.

    Raises:
        BadCase: as for ``decode``, and for a JPEG, which does not keep numbers.
    """

    def stored(picture: Image.Image) -> NDArray[Any]:
        if picture.format in ("JPEG", "MPO"):
            raise BadCase("is a JPEG, which does not keep class numbers: store it as PNG")
        if picture.mode not in ("1", "L", "P", "LA", "RGB", "RGBA", *DEEP):
            raise BadCase(f"stores {picture.mode} pixels; whole numbers of up to 16 bits are read")
        return np.asarray(picture.convert({"1": "L", "LA": "L", "RGBA": "RGB"}.get(picture.mode, picture.mode)))

    return _one_channel(_opened(data, stored)).astype(np.int64)


def _opened(data: bytes, values: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    """The values of a picture; whatever the decoder meets becomes a reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            cols, rows = picture.size
            if not (MIN_EDGE <= cols <= MAX_EDGE and MIN_EDGE <= rows <= MAX_EDGE):
                raise BadCase(f"has {cols} x {rows} pixels; {MIN_EDGE} to {MAX_EDGE} an edge are read")
            if cols * rows > MAX_PIXELS:
                raise BadCase(f"has {cols} x {rows} pixels; at most {MAX_PIXELS} in all are read")
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                raise BadCase("holds several pages: store each as a picture of its own")
            if picture.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
                raise BadCase("is to be turned, says its EXIF, and its labels perhaps not: store both as they are seen")
            if picture.has_transparency_data and np.asarray(picture.convert("RGBA"))[..., 3].min() < OPAQUE:
                raise BadCase("is transparent in places: store it without an alpha channel")
            return values(picture)
    except (
        *(OSError, ValueError, TypeError, SyntaxError, EOFError, LookupError, AssertionError),
        *(struct.error, zlib.error),
    ) as error:
        raise BadCase(f"is no readable picture: {_words(error)}") from None
    except ImportError:  # Ultralytics, once imported, answers an unknown format by asking Pillow for a HEIF reader
        raise BadCase("is no readable picture: of no known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadCase("claims more pixels than any angiogram has") from None


def _one_channel(values: NDArray[Any]) -> NDArray[Any]:
    """The values themselves, or the green of three channels that are alike."""
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


def letters(image: NDArray[np.uint8]) -> int:
    """How many marks of a frame (rows, cols) stand in rows as letters do; 0 for a frame without writing.

    A heuristic that raises a flag, and removes nothing. Consoles write names, dates and numbers into the pixels as
    small, thin, saturated strokes in rows of equal height; nothing in an X-ray of a chest looks like that. Handwriting,
    large logos, grey letters and single letters such as side markers are not seen: what must hold no writing has to be
    looked at.
    """
    if np.count_nonzero(image >= BRIGHT) < MIN_LETTERS * LETTER_HEIGHT[0]:
        return 0
    scale = max(1.0, min(image.shape) / 512)
    wide = 2 * round(STROKE_WIDTH * scale / 2) + 1
    opened = _extreme(_extreme(image, wide, np.minimum), wide, np.maximum)
    strokes = (image >= PALE) & (image - opened >= CONTRAST)  # the white top-hat
    marks, _ = scipy.ndimage.label(strokes, structure=np.ones((3, 3)))
    bright = set(np.unique(marks[image >= BRIGHT]))
    found = []
    for mark, (rows, cols) in enumerate(scipy.ndimage.find_objects(marks), 1):
        high, broad = rows.stop - rows.start, cols.stop - cols.start
        if mark in bright and LETTER_HEIGHT[0] * scale <= high <= LETTER_HEIGHT[1] * scale and broad <= 3 * high:
            found.append((cols.start, cols.stop, rows.start, rows.stop))
    return _in_rows(sorted(found))


def _extreme(image: NDArray[np.uint8], size: int, of: np.ufunc) -> NDArray[np.uint8]:
    """Least or greatest level within ``size`` x ``size`` pixels (odd), the borders mirrored: scipy's is slow."""
    for _ in range(2):  # along the columns, then, turned, along the rows
        image = np.pad(image, ((size // 2, size // 2), (0, 0)), mode="symmetric")
        seen = 1
        while seen < size:  # windows twice as wide with every step
            step = min(seen, size - seen)
            image, seen = of(image[:-step], image[step:]), seen + step
        image = image.T
    return image


def _words(error: Exception) -> str:
    """What went wrong, in our words: Pillow's quote the file, whose header may hold a name (promise P8)."""
    known = {"cannot identify": "of no known format", "truncated": "it ends too early"}
    return next((words for quoted, words in known.items() if quoted in str(error)), type(error).__name__)


def _in_rows(boxes: list[tuple[int, int, int, int]]) -> int:
    """Boxes (left, right, top, bottom), sorted, that belong to a row of ``MIN_LETTERS`` or more of one height."""
    row_of = list(range(len(boxes)))
    for i, (_, right, top, bottom) in enumerate(boxes):
        high = bottom - top
        for j in range(i + 1, len(boxes)):
            left, _, other_top, other_bottom = boxes[j]
            if left - right > 1.5 * high:
                break
            if left >= right - 1 and max(abs(other_top - top), abs(other_bottom - bottom)) <= 0.3 * high:
                row_of[j] = row_of[i]
                break
    sizes = np.bincount(row_of, minlength=1)
    return int(sizes[sizes >= MIN_LETTERS].sum())


def flags(case: Given) -> dict[str, float]:
    """``burned_in_text`` of an angiogram: letters seen in its pixels; at least 1 where its DICOM file declares any.

    The pixels themselves are what the dataset is made of: they are flagged, not changed. The recipe may refuse such
    samples: ``quality: {limits: {burned_in_text: {max: 0}}}``. The engine asks it of every case, whoever read it, so
    that no source of somebody else's can forget to.
    """
    frames = (case.case, case.background) if isinstance(case, Scene) else (case,)
    found = [
        max(letters(frame.image), 1 if frame.notes.get("burned_in_annotation") else 0)
        for frame in frames
        if isinstance(frame, Angiogram)
    ]
    return {BURNED_IN: float(max(found))} if found else {}
