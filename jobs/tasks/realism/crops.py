"""Crops of a stenosis dataset: generated lesions, the same places before, real lesions, healthy vessel.

All are of frames that show a real lesion: of ARCADE's, those that do and those that do not are told apart by their
texture alone with AUC .89, and a judge that sees real lesions of the one and drawn ones of both learns no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import stream

EDGE = 64  # px of a crop
JITTER = 6.0  # px; a real box's centre is not exactly the MLD, so no kind may be centred better than another
PER_FRAME = 4  # crops of a kind from one frame at most
CLEAR = 40.0  # px of a healthy place from every lesion's box
_Frame = dict[str, list[tuple[NDArray[np.uint8], float]]]  # crops of one frame by kind
MEMBERS = ("image.png", "source.png", "source_mask.png", "json")


@dataclass(frozen=True)
class Crops:
    """``pixels`` uint8 (n, 64, 64), the frame each comes from, as a number, and the %DS measured on it (or NaN)."""

    pixels: NDArray[np.uint8]
    frames: NDArray[np.int64]
    percent_ds: NDArray[np.float64]


def collect(samples: Iterable[Mapping[str, Any]], seed: int = 0) -> dict[str, Crops]:
    """All crops of samples (with ``MEMBERS``) by kind: ``generated``, ``before``, ``lesion``, ``healthy``."""
    found: dict[str, _Frame] = defaultdict(lambda: defaultdict(list))
    for number, sample in enumerate(samples):
        rng = stream(b"realism", f"{seed}/{number}")
        meta, source = sample["json"], sample["source.png"]
        if all(lesion["synthetic"] for lesion in meta["lesions"]):
            continue
        frame = found[meta["source_id"]]
        for lesion in meta["lesions"]:
            if lesion["synthetic"]:
                at = _near(lesion["mld_xy"], rng)
                _add(frame, "generated", sample["image.png"], at, lesion["measured_ds"])
                _add(frame, "before", source, at)
        if "lesion" not in frame:  # the first sample of a frame gives its real crops
            frame["lesion"] = []
            for lesion in meta["lesions"]:
                if not lesion["synthetic"]:
                    x0, y0, x1, y1 = lesion["box"]
                    _add(frame, "lesion", source, _near(((x0 + x1) / 2, (y0 + y1) / 2), rng))
            for at in _healthy(sample["source_mask.png"], [entry["box"] for entry in meta["lesions"]], rng):
                _add(frame, "healthy", source, at)
    return {kind: _stack(found, kind) for kind in ("generated", "before", "lesion", "healthy")}


def _near(xy: Sequence[float], rng: np.random.Generator) -> tuple[float, float]:
    dx, dy = rng.uniform(-JITTER, JITTER, 2)
    return xy[0] + dx, xy[1] + dy


def _healthy(mask: NDArray[np.uint8], boxes: Sequence[Sequence[float]], rng: np.random.Generator) -> list[Any]:
    rows, cols = np.nonzero(mask)
    far = np.ones(len(rows), bool)
    for x0, y0, x1, y1 in boxes:
        away = np.maximum(np.maximum(x0 - cols, cols - x1), np.maximum(y0 - rows, rows - y1))
        far &= away > CLEAR
    places = np.flatnonzero(far)
    if not len(places):
        return []
    return [_near((cols[i] + 0.5, rows[i] + 0.5), rng) for i in rng.choice(places, 2)]


def _add(frame: _Frame, kind: str, image: NDArray[np.uint8], xy: Any, percent_ds: float = np.nan) -> None:
    """Cut a crop, where it lies inside the frame."""
    x, y = (round(v - EDGE / 2) for v in xy)
    if 0 <= x <= image.shape[1] - EDGE and 0 <= y <= image.shape[0] - EDGE and len(frame[kind]) < PER_FRAME:
        frame[kind].append((image[y : y + EDGE, x : x + EDGE], percent_ds))


def _stack(found: Mapping[str, _Frame], kind: str) -> Crops:
    cut = [(*crop, n) for n, name in enumerate(sorted(found)) for crop in found[name].get(kind, ())]
    pixels = np.array([pixels for pixels, _, _ in cut], np.uint8).reshape(-1, EDGE, EDGE)
    return Crops(pixels, np.array([n for _, _, n in cut], np.int64), np.array([ds for _, ds, _ in cut], float))
