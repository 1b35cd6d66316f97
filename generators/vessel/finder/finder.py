"""The vessel finder: vessels and catheter of one frame, by weights that are shipped or fitted.

Shipped weights are beside this file; ``lesionforge fit finder`` makes a folder of such. What is found has the same
bits on every CPU: see ``networks.segmenter``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.types import UserError
from lesionforge.generators.vessel.finder.components import Found, told_apart
from lesionforge.generators.vessel.finder.normalise import normalise

SHIPPED = Path(__file__).parent
WEIGHTS, CARD = "finder.safetensors", "finder.json"
EDGE = 32  # frames are padded to whole multiples of it
LONGEST = 768  # px: larger frames are halved until they are not, so that vessels have known widths; small ones are cuts
ALONG = 17  # px over which what is seen is told a catheter or a vessel
INSTALL = "pip install 'lesionforge[train]'"


class FinderError(UserError):
    """The finder cannot be used here; the message says why and what to do."""


@dataclass(frozen=True)
class Thresholds:
    """In logits: how much more than background a pixel must look like a vessel, or like a catheter, to be one."""

    vessel: float = 0.0
    catheter: float = 0.0

    def read(self, logits: NDArray[np.float32], image: NDArray[np.uint8]) -> Found:
        """What is found in logits (3, rows, cols) of a frame."""
        background, vessel, catheter = logits
        sure = vessel - background > self.vessel
        seen = sure | (catheter - background > self.catheter)
        # A catheter is one over some length: what a pixel looks like is a mean along it.
        more = scipy.ndimage.uniform_filter(np.where(seen, catheter - vessel, 0), ALONG, mode="nearest") > 0
        return told_apart(seen & (sure | more), more, image)


class Finder:
    """Finds vessels and catheter.

    Attributes:
        digest: SHA-256 of the weights and thresholds; a dataset that was made with them holds it.
    """

    _loaded: ClassVar[dict[str, Finder]] = {}

    def __init__(self, network: Any, thresholds: Thresholds, digest: str) -> None:
        self._network, self._thresholds, self.digest = network, thresholds, digest

    @classmethod
    def of(cls, weights: Mapping[str, Any], thresholds: Thresholds | None = None, digest: str = "") -> Finder:
        """Of a network in whole numbers, see ``networks.segmenter.Learning.rewritten``."""
        from lesionforge.generators.vessel.finder.networks.segmenter import Finding

        return cls(Finding(weights), thresholds or Thresholds(), digest)

    @classmethod
    def load(cls, place: Path = SHIPPED) -> Finder:
        """From a folder that ``write`` wrote; no pickle is read.

        Raises:
            FinderError: without torch, or where the folder holds no finder.
        """
        digest = digest_of(place)
        if digest in cls._loaded:
            return cls._loaded[digest]
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load
        except ImportError:
            raise FinderError(f"the vessel finder needs torch: {INSTALL}") from None
        try:
            told = json.loads((place / CARD).read_text())["thresholds"]
            thresholds = Thresholds(float(told["vessel"]), float(told["catheter"]))
            found = cls.of(load((place / WEIGHTS).read_bytes()), thresholds, digest)
        except (SafetensorError, LookupError, TypeError, ValueError) as error:
            raise FinderError(f"the finder's folder holds no finder of this version ({error}): {_REMEDY}") from None
        cls._loaded = {digest: found}
        return found

    def logits(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Float32 (3, rows, cols): background, vessel, catheter, of a frame (rows, cols)."""
        import torch

        rows, cols = image.shape
        step = 0
        while max(image.shape) > LONGEST:
            image, step = _halved(image), step + 1
        small = image.shape
        image = np.pad(image, [(0, -n % EDGE) for n in small], mode="symmetric")
        x = torch.from_numpy(normalise(image)[None, None].astype(np.float32))
        out = self._network(x)[0, :, : small[0], : small[1]].numpy()
        for _ in range(step):
            out = out.repeat(2, axis=1).repeat(2, axis=2)
        if step > 0:  # so that walls are no stairs
            out = scipy.ndimage.uniform_filter(out, (1, 2**step, 2**step), mode="nearest")
        found: NDArray[np.float32] = out[:, :rows, :cols]
        return found

    def find(self, image: NDArray[np.uint8]) -> Found:
        """Vessels and catheter of a frame (rows, cols)."""
        return self._thresholds.read(self.logits(image), image)


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    even = np.pad(image, [(0, n % 2) for n in image.shape], mode="edge").astype(np.uint16)
    sums = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)


_REMEDY = "give the folder `model` that `lesionforge fit finder` wrote"


def write(folder: Path, weights: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Write a finder: tensors as safetensors, and ``card``, which holds ``thresholds`` and says what made them."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(save({name: value.contiguous() for name, value in weights.items()}))
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def available() -> bool:
    """Whether torch is there."""
    return find_spec("torch") is not None


def digest_of(place: Path = SHIPPED) -> str:
    """SHA-256 of a finder's weights and thresholds, without loading them.

    Raises:
        FinderError: where there is none.
    """
    try:
        weights, card = (place / WEIGHTS).read_bytes(), json.loads((place / CARD).read_text())
        told = json.dumps(card["thresholds"], sort_keys=True).encode()
    except (OSError, LookupError, TypeError, ValueError):
        raise FinderError(f"the finder's folder holds no {WEIGHTS} and {CARD}: {_REMEDY}") from None
    return hashlib.sha256(weights + told).hexdigest()
