"""What the diffusion model of stenoses learns from: crops of a made dataset, each with its vessel mask and a box.

Lesions drawn by the ``attenuation`` backend teach what a narrowed mask looks like, and boxes anywhere on the untouched
vessels what real pixels look like. The source's own lesions are passed over: outlines drawn by hand say nothing
about severity.

Crop number n is a pure function of (seed, n): its frame, box, prompt, noise and noise level. So fitting resumes
exactly, and no process needs to know what another one drew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.stenosis.diffusion.crop import PixelBox, Window, views
from lesionforge.generators.stenosis.diffusion.prompt import EMPTY, prompt
from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import chosen
from lesionforge.sinks.reader import Samples

MEMBERS = ("image.png", "mask.png", "json")
HEALTHY = 0.3  # share of boxes on vessel where nothing was drawn
GROW_PX = 8  # a lesion's edit box is grown by up to this on each side
HEALTHY_PX = (24, 64)  # sides of the other boxes, smaller where the crop is
MARGIN = 8  # px of surroundings that a crop shows at least
PLACES = 20  # healthy places tried in a frame

Item = dict[str, Any]


class Pairs:
    """Crops as a map from number to arrays and prompt; safe to send to loading processes.

    Args:
        places: datasets made by the ``stenosis`` generator.
        split: which of their splits.
        seed: of everything drawn.
        crop: side of the crops, px.
        shape: of the noise, that is of the model's latents.
        levels: number of noise levels.
        empty: share of prompts left empty, for classifier-free guidance.

    Raises:
        UsageError: no sample of that split, or one that lacks a member.
    """

    def __init__(
        self,
        places: Sequence[str],
        split: str,
        seed: int,
        crop: int,
        shape: tuple[int, int, int],
        levels: int,
        empty: float,
    ) -> None:
        for place in places:
            chosen(place, split)
        try:
            self._data = [Samples(place, split=split, members=MEMBERS) for place in places]
        except ValueError as error:
            raise UsageError(f"{error}: give datasets of the stenosis generator") from None
        self._numbers = [(d, n) for d, samples in enumerate(self._data) for n in range(len(samples))]
        self._key = hashlib.blake2b(f"fit/{split}/{seed}".encode(), digest_size=32).digest()
        self._crop, self._shape, self._levels, self._empty = crop, shape, levels, empty

    def __getitem__(self, number: int) -> Item:
        rng = stream(self._key, f"pair/{number}")
        dataset, n = self._numbers[rng.integers(len(self._numbers))]
        sample = self._data[dataset][n]
        image, mask, labels = sample["image.png"], sample["mask.png"] > 0, sample["json"]
        box, lesion = self._choose(rng, mask, labels["lesions"])
        text = prompt(lesion.get("severity_class"), labels.get("side"), lesion.get("segment"), labels.get("view_deg"))
        window = self._window(rng, box, mask.shape)
        return {
            **views(window.cut(image), window.cut(mask), window.inside()),
            "prompt": EMPTY if rng.random() < self._empty else text,
            **noised(rng, self._shape, self._levels),
        }

    def _choose(
        self, rng: np.random.Generator, mask: NDArray[np.bool_], lesions: Sequence[Mapping[str, Any]]
    ) -> tuple[PixelBox, Mapping[str, Any]]:
        """A box to hide, and the lesion in it ({} for none)."""
        drawn = [one for one in lesions if one["synthetic"] and one["edit_box"] and self._fits(one["edit_box"])]
        if drawn and rng.random() >= HEALTHY:
            one = drawn[rng.integers(len(drawn))]
            x0, y0, x1, y1 = (int(v) for v in one["edit_box"])
            room = min(GROW_PX, (self._crop - 2 * MARGIN - max(x1 - x0, y1 - y0)) // 2)
            low, high = rng.integers(0, room + 1, (2, 2))
            return _clipped((x0 - low[0], y0 - low[1], x1 + high[0], y1 + high[1]), mask.shape), one
        rows, cols = np.nonzero(mask)
        least, most = (min(side, self._crop - 2 * MARGIN) for side in HEALTHY_PX)
        for _ in range(PLACES):
            half = int(rng.integers(least, most + 1)) // 2
            at = rng.integers(len(rows)) if len(rows) else None
            x, y = (int(cols[at]), int(rows[at])) if at is not None else (mask.shape[1] // 2, mask.shape[0] // 2)
            box = _clipped((x - half, y - half, x + half, y + half), mask.shape)
            if not any(_touch(box, one["box"]) for one in lesions):
                break
        return box, {}

    def _fits(self, box: Sequence[float]) -> bool:
        return max(box[2] - box[0], box[3] - box[1]) <= self._crop - 2 * MARGIN

    def _window(self, rng: np.random.Generator, box: PixelBox, shape: tuple[int, ...]) -> Window:
        """The crop of a box, which stands anywhere in it: at the frame's borders boxes are off the centre."""
        window = Window.around(box, (shape[0], shape[1]), self._crop, self._crop, MARGIN)
        x0, y0, x1, y1 = window.box
        room = (x0 - MARGIN, self._crop - MARGIN - x1), (y0 - MARGIN, self._crop - MARGIN - y1)
        right, down = (int(rng.integers(min(0, -b), max(0, a) + 1)) if min(a, b) >= 0 else 0 for a, b in room)
        return window.moved(right, down, (shape[0], shape[1]))


def noised(rng: np.random.Generator, shape: tuple[int, int, int], levels: int) -> Item:
    """Noise and noise level of one crop."""
    return {"noise": rng.standard_normal(shape, np.float32), "time": np.int64(rng.integers(levels))}


def _clipped(box: Sequence[int], shape: tuple[int, ...]) -> PixelBox:
    x0, y0, x1, y1 = (int(v) for v in box)
    return max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])


def _touch(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
