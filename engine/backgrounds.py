"""Which frame lies behind a sample's case: one of its own split, of the same side and the nearest view where known.

A background's subject is in one split only, like a case's: ``engine.walk`` deals both, and subjects that are one in a
source and among the backgrounds (``engine.links``) go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lesionforge.engine.walk import Walk
from lesionforge.generators.types import Angiogram, BadCase, Case, SampleSpec, Side, Split

TRIES = 6  # frames that are looked at for one that fits: of two sides, one in 64 samples finds none
NEAR_DEG = 20.0  # between the views of a case and of a frame that fits it
OTHER_SIDE = 360.0  # counts as so many degrees

Read = Callable[[int, int], Any]  # number of a source, number of a case in it
Seen = tuple[Side | None, tuple[float, float] | None]  # side, view


class Unseen(Exception):
    """A background that cannot be read: its number, and as its cause what was raised."""

    def __init__(self, case: int) -> None:
        super().__init__(f"backgrounds, case {case}")
        self.case = case


class Backgrounds:
    """The frames of a recipe's ``backgrounds``."""

    def __init__(self, number: int, walks: Mapping[Split, Walk]) -> None:
        """``number``: theirs among the recipe's inputs. ``walks``: which of them are in each split."""
        self.number, self._walks = number, walks
        self._seen: dict[int, Seen] = {}  # of frames read before: those that do not fit need not be read again

    def behind(self, case: Case, spec: SampleSpec, read: Read) -> Angiogram:
        """The frame to lie behind a sample's case; the same one whoever makes the sample.

        Raises:
            Unseen: where one of those that were looked at cannot be read.
        """
        walk = self._walks[spec.split]
        drawn = spec.rng("background").integers(len(walk), size=TRIES)
        numbers = list(dict.fromkeys(walk.case(0, int(position)) for position in drawn))
        frames = dict[int, Angiogram]()
        apart = list[float]()
        for number in numbers:
            if number not in self._seen:
                frames[number] = frame = self._frame(number, read)
                self._seen[number] = frame.side, frame.view_deg
            apart.append(_apart(case, *self._seen[number]))
            if apart[-1] <= NEAR_DEG:
                break
        best = numbers[int(np.argmin(apart))]
        return frames[best] if best in frames else self._frame(best, read)

    def _frame(self, number: int, read: Read) -> Angiogram:
        try:
            frame = read(self.number, number)
            if not isinstance(frame, Angiogram):
                raise BadCase(f"a {type(frame).__name__} is no angiogram; give a source of frames")
            return frame
        except (Exception, SystemExit) as error:
            raise Unseen(number) from error


def _apart(case: Case, side: Side | None, view: tuple[float, float] | None) -> float:
    """Degrees between the views of a case and a frame, with what another side adds; what is not known fits."""
    own = getattr(case, "side", None)
    other = OTHER_SIDE if own and side and own != side else 0.0
    seen = getattr(case, "view_deg", None)
    return other + (max(abs(a - b) for a, b in zip(seen, view, strict=True)) if seen and view else 0.0)
