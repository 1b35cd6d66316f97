"""The baseline that never looks at a frame: classes by the C-arm's angles, as DICOM tells them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning.checkpoint import opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.runs import Run
from lesionforge.jobs.tasks.view.settings import AngleSettings
from lesionforge.jobs.tasks.view.shots import label

LEAST = 3  # runs of a class whose own spread is believed


class Angles:
    """See ``jobs.studies.task.Learner``: a Gaussian of the angles for each class, every class as likely before."""

    def __init__(self, settings: AngleSettings, what: str) -> None:
        self.settings, self.what = settings, what
        self.classes: tuple[str, ...] = ()
        self._mean = self._sd = np.zeros((0, 2))

    def fit(
        self,
        real: Sequence[Run],
        synthetic: Sequence[Run],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``."""
        by: dict[str, list[tuple[float, float]]] = {}
        for run in [*real, *synthetic]:
            if run.angles is not None:
                by.setdefault(str(label(run, self.what)), []).append(run.angles)
        if len(by) < 2:
            raise UsageError(f"no two classes of {self.what} have runs that say their angles: the baseline needs them")
        self.classes = tuple(sorted(by))
        least = self.settings.spread_deg
        self._mean = np.array([np.mean(by[name], 0) for name in self.classes])
        spreads = [np.std(by[name], 0) if len(by[name]) >= LEAST else np.zeros(2) for name in self.classes]
        self._sd = np.maximum(spreads, least)
        if progress:
            progress(1, 1, 0.0)

    def predict(self, run: Run) -> NDArray[np.float64]:
        """Probability of each class; all alike where the run does not say its angles."""
        if run.angles is None:
            return np.full(len(self.classes), 1 / len(self.classes))
        likely = -(((np.array(run.angles) - self._mean) / self._sd) ** 2).sum(1) / 2 - np.log(self._sd).sum(1)
        shares = np.exp(likely - likely.max())
        return np.asarray(shares / shares.sum(), np.float64)

    def save(self, path: Path) -> None:
        """One safetensors file."""
        told = {"what": self.what, "classes": self.classes, "settings": {"spread_deg": self.settings.spread_deg}}
        tensors = {"mean": torch.from_numpy(self._mean), "sd": torch.from_numpy(self._sd)}
        write(tensors, path, {"view": json.dumps(told | {"model": "angles"})})

    @classmethod
    def load(cls, path: Path) -> Angles:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "view", "lesionforge train view") as (told, tensors):
            made = cls(AngleSettings(**told["settings"]), str(told["what"]))
            made.classes = tuple(map(str, told["classes"]))
            made._mean, made._sd = tensors["mean"].numpy(), tensors["sd"].numpy()
        return made
