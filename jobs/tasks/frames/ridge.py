"""The baseline: contrast as the strength of a frame's strongest dark ridges, full above a share of its range."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from lesionforge.generators.types import stream
from lesionforge.jobs.learning.checkpoint import opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.frames.interval import Floats, decoded, scores
from lesionforge.jobs.tasks.frames.settings import RidgeSettings
from lesionforge.jobs.tasks.images.pictures import flattened, ridges, shrunk
from lesionforge.jobs.tasks.runs import Run

SIDE = 192  # pixels that a frame is brought to
RIM = 4  # pixels of them at the border that do not count
STRONGEST = 0.06  # share of the field that vessels may fill
SMOOTH = 1.0  # sigma along time, frames
LOW, HIGH = 5, 95  # percentiles of a run that are its empty and its full
THRESHOLDS = np.round(np.arange(0.3, 0.96, 0.05), 2)


def amounts(run: Run) -> Floats:
    """Mean strength of the strongest ridges of each frame, in attenuation: (frames,)."""
    out = []
    for n in range(len(run.film)):
        strength = ridges(flattened(shrunk(run.film[n], SIDE)[None].float()))[0, 0, RIM:-RIM, RIM:-RIM].flatten()
        out.append(float(strength.topk(round(STRONGEST * len(strength))).values.mean()))
    return np.array(out)


def course(run: Run) -> Floats:
    """A run's contrast along time, 0 at its empty and 1 at its full level: (frames,)."""
    raw = gaussian_filter1d(amounts(run), SMOOTH, mode="nearest")
    low, high = np.percentile(raw, (LOW, HIGH))
    return np.asarray((raw - low) / max(float(high - low), 1e-9), np.float64)


class RidgeThreshold:
    """See ``jobs.studies.task.Learner``: it learns the threshold whose errors are least."""

    def __init__(self, settings: RidgeSettings) -> None:
        self.settings = settings
        self.threshold = float("nan")

    def fit(
        self,
        real: Sequence[Run],
        synthetic: Sequence[Run],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``; of more runs than it needs it takes some by the seed."""
        runs = [run for run in [*real, *synthetic] if run.begin is not None]
        order = stream(f"frames/{seed}".encode(), "ridge").permutation(len(runs))[: self.settings.runs]
        total = np.zeros(len(THRESHOLDS))
        for done, n in enumerate(order, 1):
            run, along = runs[n], course(runs[n])
            truth = (run.full.start, run.full.stop - 1)
            for k, threshold in enumerate(THRESHOLDS):
                said = scores(truth, decoded(along, threshold), len(along))
                total[k] += (said["begin_error"] or 0) + (said["end_error"] or 0)
            if progress:
                progress(done, len(order), float(total.min() / (2 * done)))
        self.threshold = float(THRESHOLDS[total.argmin()])

    def predict(self, run: Run) -> Floats:
        """As ``FrameFinder.predict``: the contrast, moved so that .5 is the threshold."""
        return course(run) - self.threshold + 0.5

    def save(self, path: Path) -> None:
        """One safetensors file."""
        told = {"model": "ridge", "settings": {"runs": self.settings.runs}}
        write({"threshold": torch.tensor(self.threshold, dtype=torch.float64)}, path, {"frames": json.dumps(told)})

    @classmethod
    def load(cls, path: Path) -> RidgeThreshold:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "frames", "lesionforge train frames") as (told, tensors):
            made = cls(RidgeSettings(**told["settings"]))
            made.threshold = float(tensors["threshold"])
        return made
