"""Where a frame's vessels are: as its source's mask says, or as they are found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray

from lesionforge.generators.base import Memory
from lesionforge.generators.stenosis.params import SHIPPED, StenosisParams
from lesionforge.generators.stenosis.sites import FOUND
from lesionforge.generators.types import Angiogram
from lesionforge.generators.vessel.finder import finder
from lesionforge.generators.vessel.finder.finder import Finder, FinderError
from lesionforge.generators.vessel.finder.normalise import CELL, STEPS, normalise

HELD = 256  # frames whose found masks a process holds, 33 kB each
WALL = 3  # px about a found catheter that are its wall: masks are drawn wider than it
SIGMAS = (2.0, 3.0, 4.5)  # px, half-widths of the vessels that Sato's filter finds
HIGH, LOW = 1.2, 0.4  # its thresholds with hysteresis, local spreads; best on generated frames
LEAST = 150  # px, area of what is no speck to it
STUB = 0.3  # share of a piece of mask beside a catheter's that, where the catheter took more, goes with it


class VesselMasks:
    """Gives every frame a mask, as ``StenosisParams.vessels``, ``finder`` and ``catheters`` say.

    Args:
        params: of the generator.
        unmasked: whether some frames come without a mask.
    """

    def __init__(self, params: StenosisParams, unmasked: bool) -> None:
        self._params = params
        self._asked = params.catheters or (unmasked and params.vessels == "finder")
        self._found = Memory[NDArray[np.uint8]](HELD)

    def prepare(self) -> None:
        """Load the finder where it will be needed.

        Raises:
            FinderError: without torch or weights; in one line.
        """
        if self._asked:
            self._finder()

    @property
    def shipped(self) -> Mapping[str, str]:
        """``finder`` and what stands for the weights that are shipped, where they decide.

        Raises:
            FinderError: a dataset that other weights made.
        """
        told = self._params.finder
        if not self._asked or (told and not told.startswith(SHIPPED)):
            return {}
        own = SHIPPED + finder.digest_of()
        if told and told != own:
            raise FinderError(
                "generator.params.finder: other weights made this dataset than this version ships; give their folder"
            )
        return {"finder": own}

    @property
    def note(self) -> str:
        """Who tells vessels, where the sources' masks do not; empty where they do."""
        if self._params.vessels == "ridges" and not self._params.catheters:
            return "Sato's filter finds them, and takes catheters for vessels: look at the sheet"
        if not self._asked:
            return ""
        lacking = "" if finder.available() else f"; it needs torch, which is not here: {finder.INSTALL}"
        what = "takes catheters out of the masks" if self._params.catheters else "finds them"
        ridges = ", or vessels: ridges" if lacking and not self._params.catheters else ""
        return f"the vessel finder {what}{lacking}{ridges}"

    def of(self, frame: Angiogram) -> Angiogram:
        """The frame with a mask to draw on; itself where the source's stands."""
        if frame.mask is not None and not self._params.catheters:
            return frame
        if frame.mask is None and self._params.vessels == "ridges":
            return _with(frame, self._kept(frame, "ridges", lambda: ridges(frame.image)))
        own = self._finder()
        given = frame.mask
        if given is None:
            return _with(frame, self._kept(frame, own.digest, lambda: own.find(frame.image).vessel))
        mask = self._kept(frame, own.digest, lambda: without(given, own.find(frame.image).catheter))
        return replace(frame, mask=mask)

    def by(self, frame: Angiogram) -> str:
        """Who told this frame's vessels: ``source``, ``finder`` or ``ridges``."""
        if frame.mask is not None:
            return "source and finder" if self._params.catheters else "source"
        return self._params.vessels

    def _kept(self, frame: Angiogram, by: str, make: Callable[[], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        key = hashlib.sha256(repr((by, frame.image.shape, frame.mask is None)).encode())
        key.update(np.ascontiguousarray(frame.image).data)
        key.update(b"" if frame.mask is None else np.packbits(frame.mask).data)
        bits = self._found.get(key.hexdigest(), lambda: np.packbits(make()))
        flags = np.unpackbits(bits, count=frame.image.size).reshape(frame.image.shape)
        out: NDArray[np.bool_] = flags.astype(bool)
        return out

    def _finder(self) -> Finder:
        told = self._params.finder
        return Finder.load(finder.SHIPPED if not told or told.startswith(SHIPPED) else Path(told))


def _with(frame: Angiogram, mask: NDArray[np.bool_]) -> Angiogram:
    return replace(frame, mask=mask, mask_is_complete=False, notes={**frame.notes, FOUND: True})


def ridges(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What is dark and long in a frame (rows, cols), vessels and catheters alike (Sato et al. 1998)."""
    strength = ridge_strength(image)
    strong = skimage.filters.apply_hysteresis_threshold(strength, LOW, HIGH)
    pieces, count = scipy.ndimage.label(strong, np.ones((3, 3)))
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= LEAST
    large[0] = False
    out: NDArray[np.bool_] = large[pieces]
    return out


def ridge_strength(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sato's filter over the normalised frame, float64 (rows, cols), in local spreads."""
    rows, cols = image.shape
    even = np.pad(image, [(0, -n % CELL) for n in image.shape], mode="symmetric")
    seen = normalise(even).astype(np.float64) / STEPS
    strength = skimage.filters.sato(seen, sigmas=SIGMAS, black_ridges=False)[:rows, :cols]
    out: NDArray[np.float64] = np.round(strength, 6)  # the bits below are the CPU's own
    return out


def without(mask: NDArray[np.bool_], catheter: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask less a found catheter with its walls, and less what stubs of it that leaves."""
    wide = scipy.ndimage.distance_transform_cdt(~catheter, "chessboard") <= WALL if catheter.any() else catheter
    left = mask & ~wide
    pieces, count = scipy.ndimage.label(left, np.ones((3, 3)))
    touching = np.bincount(pieces[scipy.ndimage.binary_dilation(wide)], minlength=count + 1) > 0
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    stub = touching & (sizes < STUB * (mask & wide).sum())
    stub[0] = False
    out: NDArray[np.bool_] = left & ~stub[pieces]
    return out
