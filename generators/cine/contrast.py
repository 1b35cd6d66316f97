"""Contrast agent over time: how it enters at the ostium, what of it is where, and the phases of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.vessels import Floats
from lesionforge.generators.kernels import jit

Phase = Literal["before", "filling", "full", "washout"]
OPACIFIED = 0.5  # of what reaches a place: from there on it counts as filled
FULL = 0.88  # share of the tree's length that is opacified in a frame of full contrast
NONE = 0.02  # and up to which nothing has come yet
REACHED = 0.6  # a place that less of the contrast reaches (behind an occlusion, an end that fades) is not waited for


@dataclass(frozen=True)
class Injection:
    """Contrast at the ostium: from ``onset_s`` on it rises within ``rise_s``, stays, and from ``end_s`` on it is washed
    out within ``fall_s``; ``beat``: share by which the heart's own blood thins it in each systole."""

    onset_s: float
    rise_s: float
    end_s: float
    fall_s: float
    beat: float

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: float, slowest_s: float, washout: float) -> Injection:
        """One of a run this long.

        Args:
            slowest_s: when contrast that starts at 0 has reached the most distal places.
            washout: how often it is washed out before the run ends.
        """
        onset = float(rng.uniform(0.06, 0.22)) * min(seconds, 5.0)
        rise = float(rng.uniform(0.3, 0.7))
        fall = float(rng.uniform(0.5, 1.2))
        if rng.random() < washout:
            stays = slowest_s + float(rng.uniform(0.2, 1.0))
            end = min(onset + rise + stays, max(0.8 * seconds, onset + rise + slowest_s))
        else:
            end = seconds + 10.0
        return cls(onset, rise, end, fall, float(rng.uniform(0, 0.2)))

    def at(self, time_s: float, arrival_s: Floats, dispersion_s: Floats, reach: Floats, beat: float) -> Floats:
        """Concentration (n,), 0 ... 1 of what is injected.

        Args:
            arrival_s: how long contrast takes from the ostium to each place.
            dispersion_s: by how much its front is wider there.
            reach: how much of it arrives at all.
            beat: 0 ... 1, how far the ventricle has contracted.
        """
        out = np.empty(len(arrival_s))
        level = 1.0 - self.beat * beat
        _concentration(
            time_s, self.onset_s, self.rise_s, self.end_s, self.fall_s, level, arrival_s, dispersion_s, reach, out
        )
        return out


@jit
def _concentration(
    time: float,
    onset: float,
    rise: float,
    end: float,
    fall: float,
    level: float,
    arrival: Floats,
    dispersion: Floats,
    reach: Floats,
    out: Floats,
) -> None:
    for n in range(len(out)):
        up = math.sqrt(rise * rise + 4.0 * dispersion[n] * dispersion[n])
        down = math.sqrt(fall * fall + 9.0 * dispersion[n] * dispersion[n])
        a = min(max((time - onset - arrival[n]) / up, 0.0), 1.0)
        b = min(max((time - end - 1.3 * arrival[n]) / down, 0.0), 1.0)
        out[n] = reach[n] * level * (a * a * (3.0 - 2.0 * a) - b * b * (3.0 - 2.0 * b))


@dataclass(frozen=True)
class Weights:
    """Length (n,) of vessel that each point stands for, 0 where no contrast is waited for, adding to 1."""

    length: Floats
    reach: Floats

    @classmethod
    def of(cls, steps_mm: Floats, radii: Floats, reach: Floats, least_mm: float) -> Weights:
        """Of the vessels that a reader waits for: those whose healthy radius is ``least_mm`` or more.

        Where no vessel is, all that contrast reaches count.
        """
        counts = (reach >= REACHED) & (radii >= least_mm)
        if not counts.any():
            counts = reach >= min(REACHED, float(reach.max()))
        length = np.where(counts, np.maximum(steps_mm, 1e-3), 0.0)
        return cls(length / math.fsum(length.tolist()), np.maximum(reach, 1e-3))

    def share(self, concentration: Floats) -> float:
        """Share 0 ... 1 of the tree's length that is opacified; half so where the front just passes."""
        filled = np.minimum(np.maximum(2 * concentration / (OPACIFIED * self.reach) - 1.0, 0.0), 1.0)
        return float((self.length * filled).sum())


def phases(shares: NDArray[np.float64]) -> tuple[list[Phase], int | None, int | None]:
    """Of each frame by the share of the tree that is opacified, and first and last frame of full contrast.

    None where it never is full: then the tree fills up to the frame with the most.
    """
    full = np.flatnonzero(shares >= FULL)
    begin, end = (int(full[0]), int(full[-1])) if len(full) else (None, None)
    last = end if end is not None else int(np.argmax(shares))
    out: list[Phase] = []
    for n, share in enumerate(shares.tolist()):
        if begin is not None and end is not None and begin <= n <= end:
            out.append("full")
        elif n > last:
            out.append("washout")
        else:
            out.append("before" if share <= NONE else "filling")
    return out, begin, end
