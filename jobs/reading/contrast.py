"""Which frames show the vessels full, by how strong the dark ridges are: what is said where no model is given.

As the baseline of the task ``frames``, but that ridges which are there all the time do not count: the collimator's
edges, spine and catheter. On 16 real runs read by eye the begin errs by 1.8 frames, the end by .9, and 15 are accepted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from lesionforge.jobs.tasks.frames.interval import decoded
from lesionforge.jobs.tasks.frames.ridge import HIGH, LOW, RIM, SIDE, SMOOTH, STRONGEST
from lesionforge.jobs.tasks.images.pictures import flattened, ridges, shrunk
from lesionforge.jobs.tasks.runs import Film

ALWAYS = 10  # percentile along time: what a pixel has even when it shows least
SHARE = 0.8  # of the way from a run's empty to its full level, from which a frame counts as full
LEAST = 0.25  # of the empty level: what rises by less has no contrast, or has it all the time


def amounts(film: Film) -> NDArray[np.float64]:
    """Amount of contrast of every frame, (frames,): the mean of its strongest ridges above the run's lasting ones."""
    seen = [ridges(flattened(shrunk(film[n], SIDE)[None].float()))[0, 0, RIM:-RIM, RIM:-RIM] for n in range(len(film))]
    strength = np.stack([one.numpy() for one in seen])
    above = strength - np.percentile(strength, ALWAYS, axis=0) if len(film) > 1 else strength
    order = np.sort(np.maximum(above, 0).reshape(len(film), -1), axis=1)
    return np.asarray(order[:, -round(STRONGEST * order.shape[1]) :].mean(1), np.float64)


def full(amounts: NDArray[np.float64]) -> tuple[int, int] | None:
    """First and last frame of full contrast, inclusive; None where the amount hardly changes over the run.

    Args:
        amounts: of contrast, (frames,).
    """
    smooth = gaussian_filter1d(amounts, SMOOTH, mode="nearest")
    low, high = (float(value) for value in np.percentile(smooth, (LOW, HIGH)))
    return None if high - low <= LEAST * low else decoded((smooth - low) / (high - low), SHARE)
