"""What the finder learns from: generated frames, cut, moved, and spoiled as real ones are.

Crop number n is a pure function of (seed, n), so that fitting resumes exactly.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from lesionforge.generators.types import stream
from lesionforge.generators.vessel.finder.networks.segmenter import EDGE
from lesionforge.generators.vessel.finder.normalise import normalise
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.intruders import intruded
from lesionforge.jobs.studies.places import chosen
from lesionforge.sinks.dataset import splits
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]  # 0 background, 1 vessel, 2 catheter, 3 a twig without a name
VESSEL, CATHETER, TWIG = 1, 2, 3
# Names in ``mask_values``; all others are segments.
KINDS = {"catheter": CATHETER, "device": 0, "vessel": TWIG}
WIDE_FROM = 0.6  # share of the steps after which nearly whole frames are shown, so that vessels stay vessels
MEMBERS = ("image.png", "mask.png", "json")


class LabelledFrames(Protocol):
    """Frames with what every pixel shows."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], Labels]: ...


class Stills:
    """Frames of datasets that the ``cine`` generator made with ``masks: true``.

    Raises:
        UsageError: no sample of that split, or one whose mask does not tell what its values mean.
    """

    def __init__(self, places: Sequence[str], split: str) -> None:
        for place in places:
            chosen(place, None)
        held = [place for place in places if split in splits(Store(place), None)]
        if not held:
            chosen(places[0], split)  # says which there are
        try:
            self._data = [Samples(place, split=split, members=MEMBERS) for place in held]
        except ValueError as error:
            raise UsageError(
                f"{error}: give stills of the cine generator, made with frames: 1 and masks: true"
            ) from None
        self._numbers = [(d, n) for d, samples in enumerate(self._data) for n in range(len(samples))]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], Labels]:
        dataset, n = self._numbers[number]
        sample = self._data[dataset][n]
        values = sample["json"].get("mask_values")
        if not values:
            raise UsageError("a sample's mask_values are missing: give stills of the cine generator")
        table = np.zeros(256, np.uint8)
        for value, name in values.items():
            table[int(value)] = KINDS.get(name, VESSEL)
        return sample["image.png"], table[sample["mask.png"]]


class Crops:
    """Normalised crops float32 (1, side, side) and their labels int64 (side, side), by number.

    Args:
        frames: to cut from.
        seed: of all that is drawn.
        steps, batch: of the fit; later steps see more of a frame at once.
        sides: of crops before and after ``WIDE_FROM`` of the steps, multiples of ``EDGE``.
        plain: as the frames are, from their middle.
    """

    def __init__(
        self, frames: LabelledFrames, seed: int, steps: int, batch: int, sides: tuple[int, int], plain: bool = False
    ) -> None:
        self._frames, self._plain, self._sides = frames, plain, sides
        self._key = hashlib.blake2b(f"fit/finder/{seed}".encode(), digest_size=32).digest()
        self._wide = round(WIDE_FROM * steps) * batch

    def __getitem__(self, number: int) -> dict[str, Any]:
        side = self._sides[self._plain or number >= self._wide]
        rng = stream(self._key, f"crop/{number}")
        image, labels = self._frames[
            number % len(self._frames) if self._plain else int(rng.integers(len(self._frames)))
        ]
        labels = np.where(labels == TWIG, np.uint8(VESSEL), labels)
        grey, labels = _cut(rng, image, labels, side, self._plain)
        if not self._plain:
            grey, labels = intruded(rng, grey, labels, VESSEL, CATHETER)
            grey, labels = _spoilt(rng, grey, labels)
        shown = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        if not self._plain and rng.random() < 0.3:
            shown = _packed(shown, int(rng.integers(40, 95)))
        return {
            "x": normalise(shown)[None].astype(np.float32),
            "y": labels.astype(np.int64),
        }


def _cut(
    rng: np.random.Generator, image: NDArray[np.uint8], labels: Labels, side: int, plain: bool
) -> tuple[Floats, Labels]:
    """A crop, mirrored, turned and stretched; where it needs no resampling its grain stays as it is."""
    room = max(image.shape[0], side), max(image.shape[1], side)
    grow = [(0, r - n) for r, n in zip(room, image.shape, strict=True)]
    grey = np.pad(image, grow, mode="symmetric").astype(np.float32)
    labels = np.pad(labels, grow, mode="symmetric")
    if plain:
        top, left = ((r - side) // 2 for r in room)
        return grey[top : top + side, left : left + side], labels[top : top + side, left : left + side]
    if rng.random() < 0.5:
        grey, labels = grey[:, ::-1], labels[:, ::-1]
    if rng.random() < 0.1:
        grey, labels = grey[::-1], labels[::-1]
    moved = rng.random() < 0.6
    turn = np.deg2rad(rng.normal(0, 10)) if moved else 0.0
    scale = np.exp(rng.uniform(-0.4, 0.35)) if moved else 1.0  # of a crop's pixel in the frame's
    free = np.maximum(np.asarray(room) - side * scale, 0)
    middle = (np.asarray(room) - free) / 2 + rng.uniform(0, 1, 2) * free
    if not moved:
        top, left = (int(m - side / 2) for m in middle)
        return grey[top : top + side, left : left + side], labels[top : top + side, left : left + side]
    shear = scale * np.exp(rng.normal(0, 0.06, 2))
    way = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * shear
    offset = middle - way @ np.full(2, (side - 1) / 2)
    common = {"offset": offset, "output_shape": (side, side), "mode": "mirror"}
    grey = scipy.ndimage.affine_transform(grey, way, order=1, **common)
    return grey, scipy.ndimage.affine_transform(labels, way, order=0, **common)


def _spoilt(rng: np.random.Generator, grey: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """Another display, dose and focus, and a collimator."""
    share = np.clip(grey / 255, 1e-3, 1) ** np.float32(np.exp(rng.normal(0, 0.25)))
    middle = float(share.mean())
    grey = 255 * (middle + (share - middle) * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.06))
    if rng.random() < 0.4:
        grey = scipy.ndimage.gaussian_filter(grey, rng.uniform(0.3, 1.1))
    if rng.random() < 0.4:
        grey = grey + rng.uniform(0, 1.5) * (grey - scipy.ndimage.gaussian_filter(grey, rng.uniform(1, 3)))
    if rng.random() < 0.6:
        noise = rng.standard_normal(grey.shape, np.float32)
        width = rng.uniform(0, 0.9)
        noise = scipy.ndimage.gaussian_filter(noise, width) * (1 + 3 * width)
        grey = grey + rng.uniform(0, 6) * noise
    if rng.random() < 0.25:
        grey, labels = _collimated(rng, grey, labels)
    return grey.astype(np.float32), labels


def _collimated(rng: np.random.Generator, grey: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """Straight blades from some sides, and rounded corners; their shadow lets little or nothing through."""
    side = grey.shape[0]
    rows, cols = np.ogrid[:side, :side]
    inside = np.full(grey.shape, np.inf, np.float32)
    for distance in (rows, side - 1 - rows, cols, side - 1 - cols):
        if rng.random() < 0.6:
            lean = rng.normal(0, 0.03) * (cols if distance.shape[1] == 1 else rows)
            inside = np.minimum(inside, distance - rng.uniform(0, 0.15) * side + lean)
    open_ = np.clip(inside / rng.uniform(1, 6) + 0.5, 0, 1)
    left = rng.uniform(0, 0.4)
    level = float(grey.mean())
    grey = grey * open_ + (1 - open_) * left * (grey if rng.random() < 0.5 else level)
    return grey, np.where((open_ < 0.5) & (left < 0.15), np.uint8(0), labels)


def _packed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """As JPEG leaves it."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, "JPEG", quality=quality)
    with Image.open(held, formats=["JPEG"]) as opened:
        return np.asarray(opened)


def whole(frames: LabelledFrames, number: int) -> tuple[NDArray[np.uint8], Labels]:
    """A frame cut to whole multiples of ``EDGE``, and its labels."""
    image, labels = frames[number]
    rows, cols = (n // EDGE * EDGE for n in image.shape)
    return image[:rows, :cols], labels[:rows, :cols]
