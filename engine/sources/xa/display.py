"""From stored values to display grey levels, as DICOM asks of X-ray objects (PS3.3 C.8.7.1 and C.11.2, PS3.4 N.2).

stored -> rescale -> VOI LUT or window -> presentation. The Modality LUT sequence of XA leads back to the intensity of
the beam and is no part of the display: it is not even read. What a header says is obeyed or the run refused; where it
says nothing, 8 bits are shown as they are stored and more are stretched over the frame's own range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
import pydicom
import scipy
from numpy.typing import NDArray

from lesionforge.engine.sources.dicom import components, number, numbers
from lesionforge.generators.types import BadCase

Floats = NDArray[np.float64]
Shown = Callable[[Floats], Floats]  # values after the rescale -> grey 0 ... 255
WHITE = 255.0


@dataclass(frozen=True)
class Display:
    """What a header says of the display.

    Attributes:
        slope, intercept: of the rescale.
        ends: what the smallest and the largest stored value become by it, sorted.
        voi: the VOI transformation; None where the header has none.
        name: of it, for the case's notes.
        as_stored: whether values without one are shown as they are, between ``ends``.
        inverted: whether the smallest value is white.
        padding: first and last stored value that stand for no pixel.
    """

    slope: float
    intercept: float
    ends: tuple[float, float]
    voi: Shown | None
    name: str
    as_stored: bool
    inverted: bool
    padding: tuple[int, int] | None

    @classmethod
    def of(cls, header: pydicom.Dataset, bits: int) -> Display:
        """Read a header.

        Args:
            header: of the run, see ``dicom.XA_RUN``.
            bits: stored of each pixel.

        Raises:
            BadCase: where it contradicts itself, or says what DICOM does not know.
        """
        signed = number(header, "PixelRepresentation", 0) == 1
        first, last = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        slope, intercept = number(header, "RescaleSlope", 1.0), number(header, "RescaleIntercept", 0.0)
        if slope == 0:
            raise BadCase("its RescaleSlope is 0: every pixel would be the same")
        low, high = sorted((first * slope + intercept, last * slope + intercept))
        said = _voi(header)
        voi: Shown | None
        if said.get("VOILUTSequence"):
            voi, name = _lut(said, low < 0, header.file_meta.TransferSyntaxUID.is_little_endian), "VOI LUT"
        else:
            voi, name = _window(said)
        padding = _padding(header, signed)
        return cls(slope, intercept, (low, high), voi, name, bits == 8, _inverted(header), padding)

    def grey(self, stored: NDArray[np.integer]) -> tuple[Floats, str]:
        """Grey levels 0 ... 255 of a frame of stored values, dark vessels whatever the photometry, and how so.

        Raises:
            BadCase: where nothing but padding is in it.
        """
        values = stored.astype(np.float64) * self.slope + self.intercept
        (low, high), how = self.ends, self.name
        if self.voi is not None:
            grey = self.voi(values)
        else:
            if not self.as_stored:
                how = "no window: stretched over the frame's own range"
                first, last = self.padding or (1, 0)
                seen = values[(stored < first) | (stored > last)]
                if not seen.size:
                    raise BadCase("shows nothing: every pixel is padding")
                low, high = float(seen.min()), float(seen.max())
                high = high if high > low else low + 1
            grey = np.clip((values - low) * (WHITE / (high - low)), 0, WHITE)
        return (WHITE - grey, f"{how}, inverted") if self.inverted else (grey, how)

    def of_run(self, frames: Iterable[NDArray[np.integer]]) -> Display:
        """The same, with one range for all stored frames where each would be stretched over its own.

        Raises:
            BadCase: where nothing but padding is in any.
        """
        if self.voi is not None or self.as_stored:
            return self
        first, last = self.padding or (1, 0)
        seen = [part for one in frames if (part := one[(one < first) | (one > last)]).size]
        if not seen:
            raise BadCase("shows nothing: every pixel is padding")
        found = min(int(one.min()) for one in seen), max(int(one.max()) for one in seen)
        low, high = sorted(value * self.slope + self.intercept for value in found)
        name = "no window: stretched over the run's own range"
        return replace(self, ends=(low, high if high > low else low + 1), as_stored=True, name=name)


def _inverted(header: pydicom.Dataset) -> bool:
    """Whether small values are white. MONOCHROME1 with the shape INVERSE says so twice, and is turned once."""
    photometry = str(header.get("PhotometricInterpretation") or "")
    if photometry not in ("MONOCHROME1", "MONOCHROME2"):
        raise BadCase("its PhotometricInterpretation is neither MONOCHROME1 nor MONOCHROME2: an angiogram is grey")
    shape = str(header.get("PresentationLUTShape") or "")
    if shape not in ("", "IDENTITY", "INVERSE"):
        raise BadCase("its PresentationLUTShape is neither IDENTITY nor INVERSE")
    if photometry == "MONOCHROME1" and shape == "IDENTITY":
        raise BadCase("is MONOCHROME1 with the PresentationLUTShape IDENTITY: they contradict each other")
    return photometry == "MONOCHROME1" or shape == "INVERSE"


def _voi(header: pydicom.Dataset) -> pydicom.Dataset:
    """What says the VOI transformation: the header, or the functional groups of an enhanced object."""
    groups = [
        *(header.get("SharedFunctionalGroupsSequence") or ()),
        *(header.get("PerFrameFunctionalGroupsSequence") or ()),
    ]
    found = [frame for group in groups for frame in group.get("FrameVOILUTSequence") or ()]
    if any(frame != found[0] for frame in found):
        raise BadCase("has several windows, for frames or to choose from: one for all frames is read")
    return found[0] if found else header


def _window(header: pydicom.Dataset) -> tuple[Shown | None, str]:
    """The first window that says its centre and its width. 0/0 is how some consoles write that there is none."""
    given = list(zip_longest(*(components(header, key) for key in ("WindowCenter", "WindowWidth"))))
    if not any(centre or width for centre, width in given):
        return None, "as stored"
    pair = next(((c, w) for c, w in given if c is not None and w is not None and (c or w)), None)
    if pair is None:
        raise BadCase("has a WindowCenter without a WindowWidth, or the other way round")
    centre, width = pair
    function = str(header.get("VOILUTFunction") or "LINEAR").strip()
    name = f"window {centre:g}/{width:g}" + (f" {function}" if function != "LINEAR" else "")
    if width < 1 if function == "LINEAR" else width <= 0:
        raise BadCase(f"its WindowWidth is {width:g}: that is no window")
    if function == "LINEAR":
        return lambda x: _ramp(x, centre - 0.5, width - 1), name
    if function == "LINEAR_EXACT":
        return lambda x: _ramp(x, centre, width), name
    if function == "SIGMOID":
        return lambda x: WHITE * np.asarray(scipy.special.expit(4 * (x - centre) / width), np.float64), name
    raise BadCase("its VOILUTFunction is none of LINEAR, LINEAR_EXACT and SIGMOID")


def _ramp(values: Floats, centre: float, width: float) -> Floats:
    """0 up to half a width below the centre, 255 beyond half a width above it."""
    if width == 0:
        return np.where(values > centre, WHITE, 0.0)
    return np.clip(((values - centre) / width + 0.5) * WHITE, 0, WHITE)


def _lut(header: pydicom.Dataset, signed: bool, little_endian: bool) -> Shown:
    """The first VOI LUT; what lies beyond its ends gets its first or last entry.

    Args:
        header: with a ``VOILUTSequence``.
        signed: whether values before it may be negative, as its first one is then.
        little_endian: how words are written.
    """
    item = header.VOILUTSequence[0]
    count, first, bits = (int(v) for v in numbers(item, "LUTDescriptor", 3))
    count = count or 2**16
    first -= 2**16 if signed and first >= 2**15 else 0
    data = item.get("LUTData")
    if isinstance(data, bytes):
        packed = bits == 8 and len(data) in (count, count + count % 2)  # two entries a word
        words = "<u2" if little_endian else ">u2"
        data = np.frombuffer(data[: len(data) // 2 * 2], np.uint8 if packed else words)
    try:
        entries = np.atleast_1d(np.asarray(data, np.float64))[:count]
    except (TypeError, ValueError):
        entries = np.zeros(0)
    if not 8 <= bits <= 16 or len(entries) < count or entries.max() > 2**bits - 1:
        raise BadCase("its VOI LUT cannot be read: its LUTData are not what its LUTDescriptor says")
    entries = entries * (WHITE / (2**bits - 1))
    return lambda x: entries[np.clip(np.rint(x) - first, 0, count - 1).astype(np.int64)]


def _padding(header: pydicom.Dataset, signed: bool) -> tuple[int, int] | None:
    """PixelPaddingValue, to PixelPaddingRangeLimit where there is one; both may be written with the other sign."""
    if header.get("PixelPaddingValue") in (None, ""):
        return None
    first = int(number(header, "PixelPaddingValue", 0))
    ends = first, int(number(header, "PixelPaddingRangeLimit", first))
    turned = [v - 2**16 if signed and v >= 2**15 else v + 2**16 if not signed and v < 0 else v for v in ends]
    return min(turned), max(turned)
