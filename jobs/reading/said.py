"""What is said of a run, part by part; each names who said it, or why nothing can be said. Frames count from 0 here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Contrast:
    """When the vessels are full.

    ``ends``: first and last frame of full contrast, inclusive; None where that cannot be told (``why``). ``best``: the
    frame with most contrast among them. ``amount`` float64 (frames,): of contrast, in no unit.
    """

    by: str
    ends: tuple[int, int] | None
    best: int
    amount: NDArray[np.float64]
    why: str

    @property
    def full(self) -> range:
        """Numbers of the frames of full contrast; all where it cannot be told."""
        return range(len(self.amount)) if self.ends is None else range(self.ends[0], self.ends[1] + 1)


@dataclass(frozen=True)
class Side:
    """Which tree is shown and from where.

    ``side``: left or right, None where nobody can tell; ``sure``: its probability, None where a person told it.
    ``view``: what it is called; ``views``: probability of each, by a model.
    """

    by: str
    side: str | None
    sure: float | None
    view_by: str
    view: str | None
    views: Mapping[str, float] | None


@dataclass(frozen=True)
class Found:
    """A box x0, y0, x1, y1 on a frame, confidence of moderate and severe, and the lesion it is of (from 1)."""

    box: tuple[float, ...]
    scores: tuple[float, ...]
    lesion: int = 0

    @property
    def sure(self) -> float:
        """Confidence that there is a stenosis at all."""
        return sum(self.scores)


@dataclass(frozen=True)
class Boxes:
    """Stenoses by frame, of the frames that were looked through."""

    by: str
    frames: Mapping[int, Sequence[Found]]
    why: str

    @property
    def graded(self) -> bool:
        """Whether the detector tells moderate from severe; RetinaNets do not, and are as sure of both."""
        return any(one.scores[0] != one.scores[1] for found in self.frames.values() for one in found)

    @property
    def firm(self) -> set[int]:
        """Lesions that more than one frame shows; all where one frame alone was looked at."""
        return {number for number, seen in self.lesions().items() if len(seen) > 1 or len(self.frames) == 1}

    def shown(self, contrast: Contrast) -> int:
        """The frame that shows firm lesions best, their confidences summed; without any, that of most contrast."""
        firm = self.firm
        sure = {n: sum(one.sure for one in found if one.lesion in firm) for n, found in self.frames.items()}
        return max(sure, key=sure.__getitem__) if any(sure.values()) else contrast.best

    def lesions(self) -> dict[int, dict[int, Found]]:
        """By lesion, from 1, the frames that show it."""
        out: dict[int, dict[int, Found]] = {}
        for number, found in self.frames.items():
            for one in found:
                out.setdefault(one.lesion, {})[number] = one
        return dict(sorted(out.items()))


@dataclass(frozen=True)
class Grade:
    """How bad the worst stenosis is.

    ``names`` of the classes, rising; ``shares``: probability of each, None where nothing can be said. ``each``: of
    single frames. ``heat`` float32 (rows, cols), 0..1: where the model sees the disease on ``Boxes.shown``.
    """

    by: str
    names: Sequence[str]
    shares: tuple[float, ...] | None
    each: Mapping[int, tuple[float, ...]]
    why: str
    heat: NDArray[np.float32] | None = None


def angles_name(angles: tuple[float, float] | None) -> str | None:
    """``LAO 32 CRA 3``: what a view is called on the table; None where it is not known."""
    if angles is None:
        return None
    primary, secondary = (round(angle) for angle in angles)
    across = f"{'LAO' if primary > 0 else 'RAO'} {abs(primary)}" if primary else "AP"
    return across + (f" {'CRA' if secondary > 0 else 'CAU'} {abs(secondary)}" if secondary else "")
