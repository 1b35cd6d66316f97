"""The frames of full contrast as one interval, and a run's time brought to a fixed number of phases and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[int, int]  # first and last frame, inclusive


def decoded(likely: Floats, threshold: float = 0.5) -> Interval | None:
    """The one interval whose frames are most above the threshold, summed; None where none is above it.

    The first stretch above the threshold, which the paper takes, is the same where there is but one; where noise cuts
    or adds a frame, this does not lose the rest.

    Args:
        likely: (n,) of each frame.
        threshold: what is worth naming.
    """
    gain = np.asarray(likely, np.float64) - threshold
    total = np.concatenate([[0.0], np.cumsum(gain)])
    before = np.minimum.accumulate(total[:-1])
    sums = total[1:] - before
    end = int(sums.argmax())
    if sums[end] <= 0:
        return None
    return int(total[: end + 1].argmin()), end


def phased(values: Floats, phases: int) -> Floats:
    """A run's values, (n, ...), at evenly spaced moments from its first frame to its last: (phases, ...)."""
    at = np.linspace(0, len(values) - 1, phases)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    part = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[low] * (1 - part) + values[high] * part, np.float64)


def unphased(likely: Floats, frames: int) -> Floats:
    """Back from phases to frames: (frames,)."""
    if frames == 1:
        return np.asarray(likely.mean(keepdims=True), np.float64)
    return np.asarray(np.interp(np.arange(frames), np.linspace(0, frames - 1, len(likely)), likely), np.float64)


def frame_f1(truth: Interval, found: Interval | None) -> float:
    """2 TP / (2 TP + FP + FN) of frames."""
    if found is None:
        return 0.0
    shared = max(0, min(truth[1], found[1]) - max(truth[0], found[0]) + 1)
    return 2 * shared / (truth[1] - truth[0] + found[1] - found[0] + 2)


def scores(truth: Interval | None, found: Interval | None, frames: int) -> dict[str, float | None]:
    """How near an interval is to the true one.

    ``begin_error``, ``end_error``: |difference| in frames, the run's length where nothing was found. ``accepted``,
    ``failed``: whether their mean is at most 3, or at least 10 (the paper's). ``f1``: of frames. ``false``: whether an
    interval was named in a run that never fills; the others are None there, and it is in others.
    """
    if truth is None:
        return {"false": float(found is not None)}
    begin, end = (abs(t - f) for t, f in zip(truth, found, strict=True)) if found else (frames, frames)
    mean = (begin + end) / 2
    out: dict[str, float | None] = {"begin_error": float(begin), "end_error": float(end)}
    return out | {"accepted": float(mean <= 3), "failed": float(mean >= 10), "f1": frame_f1(truth, found)}
