"""The frames of an XA run as display grey levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pydicom
import scipy
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from lesionforge.engine.sources.xa.codestream import claim
from lesionforge.engine.sources.xa.display import Display
from lesionforge.generators.types import BadCase

MODALITIES = ("CT", "MR", "US", "NM", "PT", "CR", "DX", "MG", "OT", "SC", "XC", "ES", "IVUS", "SR", "PR")  # to name
MIN_EDGE, MAX_EDGE = 64, 4096
MAX_FRAMES = 2000
MAX_BYTES = 2**30  # of all frames unpacked; 500 frames of 1024 x 1024 in 16 bits
SMALL, MAX_RATIO = 2**24, 300  # above so many bytes, pixels packed closer than this are a bomb
PILLOW = (JPEGBaseline8Bit, JPEG2000, JPEG2000Lossless)  # GDCM, pydicom's first choice, ends the process on damage
COARSE = 128  # edge of the pictures that frames are compared in
TOPHAT = 9  # their pixels: wider than any vessel, 36 of 512
NOISE = 3  # times the median top-hat: what noise alone makes, and what does not count
T = TypeVar("T")


class XaRun:
    """One file's frames, decoded one at a time."""

    def __init__(self, header: pydicom.Dataset) -> None:
        """Checks what the header claims before anything is decoded.

        Raises:
            BadCase: for what is no grey XA run of a believable size.
        """
        self.header = header
        modality = str(header.get("Modality", ""))
        if modality not in ("XA", "RF", ""):
            which = f"modality {modality}" if modality in MODALITIES else "an unknown modality"
            raise BadCase(f"has {which}; angiograms are XA")
        if "PixelData" not in header:
            raise BadCase("has no pixels")
        self.rows, self.cols = self._number("Rows"), self._number("Columns")
        self.frames = self._number("NumberOfFrames", 1)
        bits = self._number("BitsAllocated"), self._number("BitsStored")
        if not (MIN_EDGE <= self.rows <= MAX_EDGE and MIN_EDGE <= self.cols <= MAX_EDGE):
            raise BadCase(f"claims {self.cols} x {self.rows} pixels; {MIN_EDGE} to {MAX_EDGE} an edge are read")
        if not 1 <= self.frames <= MAX_FRAMES:
            raise BadCase(f"claims {self.frames} frames; 1 to {MAX_FRAMES} are read")
        if self._number("SamplesPerPixel", 1) != 1:
            raise BadCase("is in colour; an angiogram has one sample a pixel")
        if bits[0] not in (8, 16) or not 1 <= bits[1] <= bits[0]:
            raise BadCase(f"has {bits[1]} bits stored in {bits[0]}; 8 or 16 are read")
        self.bits = bits[1]
        self._high = self._number("HighBit", bits[1] - 1)
        if not bits[1] <= self._high + 1 <= bits[0]:
            raise BadCase(f"has its HighBit at {self._high} with {bits[1]} bits stored in {bits[0]}: that cannot be")
        syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is None or syntax.is_private or not syntax.is_transfer_syntax:
            raise BadCase("does not say a transfer syntax that DICOM knows, so its pixels cannot be decoded")
        self._syntax = str(syntax.name)
        length, need = len(header.PixelData), self.rows * self.cols * self.frames * bits[0] // 8
        if not syntax.is_compressed and length < need:
            raise BadCase(f"has {length} bytes of pixels; {self.frames} frames need {need}")
        if need > MAX_BYTES or (need > SMALL and need > MAX_RATIO * length):
            raise BadCase(f"claims {need} bytes in {length} of its pixel data; no run unpacks to so much")
        if syntax.is_compressed and bits[0] == 8 and bits[1] != 8 and syntax != RLELossless:
            raise BadCase(f"has {bits[1]} bits stored in {bits[0]}, which no decoder takes in {self._syntax}")
        self._coded = bool(syntax.is_compressed and syntax not in (RLELossless, DeflatedExplicitVRLittleEndian))
        self._plugin = "pillow" if syntax in PILLOW else ""
        self._allocated = bits[0]
        self._display = Display.of(header, self.bits)
        if self._high + 1 != self.bits:  # as ACR-NEMA left them: no decoder looks there, so all bits are taken
            if self._coded:
                raise BadCase(f"has its HighBit at {self._high} with {self.bits} bits, which no decoder takes")
            header.BitsStored, header.HighBit = bits[0], bits[0] - 1

    def best(self) -> int:
        """Number from 1 of the frame that shows most contrast agent.

        The measure: contrast of structures narrower than 36 of 512 pixels (black top-hat of the frame averaged down to
        about 128 x 128 pixels and smoothed), as far as it stands out from noise, summed, in shares of the frame's own
        level: a brighter frame does not show more. Bones and catheter are in every frame alike; filled vessels are not.
        """
        if self.frames == 1:
            return 1
        filling = [_filling(self._display.grey(stored)[0]) for stored in self._decode()]
        return int(np.argmax(filling)) + 1

    def grey(self, number: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """A frame (rows, cols) by its number from 1, as it is displayed, and notes on how it came about."""
        if not 1 <= number <= self.frames:
            raise BadCase(f"has {self.frames} frames, so there is no frame {number}")
        (stored,) = self._decode(number - 1)
        shown, how = self._display.grey(stored)
        image = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
        if image.min() == image.max():
            raise BadCase(f"shows nothing: every pixel of frame {number} is {image.min()}")
        return image, {"transfer_syntax": self._syntax, "display": how}

    def film(self) -> tuple[list[NDArray[np.uint8]], dict[str, Any]]:
        """All frames, uint8 (rows, cols) each, as they are displayed one after the other; and notes as ``grey``'s.

        Raises:
            BadCase: where no frame shows anything; a blank one among others stays.
        """
        stored = list(self._decode())
        display = self._display.of_run(stored)
        shown = [display.grey(one) for one in stored]
        frames = [np.clip(np.rint(one), 0, 255).astype(np.uint8) for one, _ in shown]
        if all(frame.min() == frame.max() for frame in frames):
            raise BadCase("shows nothing: every frame is of one grey level")
        return frames, {"transfer_syntax": self._syntax, "display": shown[0][1]}

    def _decode(self, index: int | None = None) -> Iterator[NDArray[Any]]:
        """Stored values of one frame, or of all in turn."""
        indices = None if index is None else [index]
        if self._coded:
            self._attempt("pixels", lambda: self._check_streams(index))
        frames = self._attempt(
            "pixels",
            lambda: iter(iter_pixels(self.header, indices=indices, raw=True, decoding_plugin=self._plugin)),
        )
        done = object()
        while (frame := self._attempt("pixels", lambda: next(frames, done))) is not done:
            yield self._aligned(np.asarray(frame))

    def _aligned(self, frame: NDArray[Any]) -> NDArray[Any]:
        """The bits below ``HighBit`` alone, with their sign."""
        if self._high + 1 == self.bits:
            return frame
        return (frame << (self._allocated - 1 - self._high)) >> (self._allocated - self.bits)

    def _check_streams(self, index: int | None) -> None:
        """Whether the frames are of the size that the header says: see ``codestream``."""
        for n, data in enumerate(generate_frames(self.header.PixelData, number_of_frames=self.frames)):
            if index in (None, n):
                own = claim(data)
                if own[:3] != (self.rows, self.cols, 1) or not self.bits <= own.bits <= self._allocated:
                    raise BadCase(
                        f"a frame of its pixels is {own.cols} x {own.rows} of {own.components} x {own.bits} bits; "
                        f"its header says {self.cols} x {self.rows} of {self.bits} bits"
                    )

    def _number(self, key: str, default: int | None = None) -> int:
        value = self.header.get(key)
        try:
            return int(default if value is None and default is not None else value)
        except (TypeError, ValueError):
            raise BadCase(f"its {key} is missing or no number") from None

    def _attempt(self, what: str, call: Callable[[], T]) -> T:
        """``call()``; what pydicom and its plugins raise becomes a reason, without their text: it may hold values."""
        try:
            return call()
        except BadCase:
            raise
        except Exception as error:
            kind = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
            raise BadCase(f"its {what} ({self._syntax}) cannot be read: {kind}") from None


def _filling(grey: NDArray[np.float64]) -> float:
    step = max(1, min(grey.shape) // COARSE)
    rows, cols = (n // step for n in grey.shape)
    coarse = grey[: rows * step, : cols * step].reshape(rows, step, cols, step).mean((1, 3))
    dark = scipy.ndimage.black_tophat(scipy.ndimage.gaussian_filter(coarse, 1), size=TOPHAT)
    return float(np.maximum(dark - NOISE * np.median(dark), 0).sum() / max(float(np.median(coarse)), 1.0))
