"""A network that tells a run's side or view from frames of full contrast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.images import training
from lesionforge.jobs.tasks.images.networks import Classifier
from lesionforge.jobs.tasks.images.pictures import stack
from lesionforge.jobs.tasks.runs import Run
from lesionforge.jobs.tasks.view.settings import ViewSettings
from lesionforge.jobs.tasks.view.shots import label, shots


class ViewNet:
    """See ``jobs.studies.task.Learner``.

    Attributes:
        classes: what it has learnt to tell apart, sorted.
    """

    def __init__(self, settings: ViewSettings, what: str, device: str = "cpu") -> None:
        self.settings, self.what, self.device = settings, what, torch.device(device)
        self.classes: tuple[str, ...] = ()
        self._net: Classifier | None = None

    def fit(
        self,
        real: Sequence[Run],
        synthetic: Sequence[Run],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``; every class is shown as often."""
        s = self.settings
        real, synthetic = ([run for run in runs if run.full] for runs in (real, synthetic))
        runs = [*real, *synthetic]
        said = [str(label(run, self.what)) for run in runs]
        self.classes = tuple(sorted(set(said)))
        if not runs:
            raise UsageError("no run is ever full of contrast: there is nothing to learn from")
        if len(self.classes) < 2:
            raise UsageError(f"there is nothing to tell apart: every run's {self.what} is {self.classes[0]!r}")
        numbers = [shots(run, s.frames) for run in runs]
        pictures = stack((run.film[n] for run, some in zip(runs, numbers, strict=True) for n in some), s.size)
        labels = torch.tensor([self.classes.index(one) for one, n in zip(said, numbers, strict=True) for _ in n])
        rng = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            task = training.Telling(s, training.fresh(s, len(self.classes)), F.cross_entropy, rng)
            order = training.drawn(labels, sum(map(len, numbers[: len(real)])), real_share, s.steps * s.batch, rng)
            record: dict[str, Any] = {**asdict(s), "what": self.what, "seed": seed, "real_share": real_share}
            if folder is not None:
                record["pixels and labels (hash)"] = fingerprint(part for run in runs for part in run.learnt_from)
            how = loop.Training(s.steps, s.batch, str(self.device), folder)
            loop.run(how, task, training.Pictures(pictures, labels, order), settings=record, progress=progress)
        self._net = task.net.eval()

    def predict(self, run: Run) -> NDArray[np.float64]:
        """Probability of each class: the mean over the run's frames."""
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit or load it first")
        frames = stack((run.film[n] for n in shots(run, self.settings.frames)), self.settings.size)
        logits = training.told(self._net, frames, self.settings.batch)
        return np.asarray(logits.double().softmax(1).mean(0).numpy(), np.float64)

    def save(self, path: Path) -> None:
        """One safetensors file: the weights, and in its metadata all that ``load`` needs."""
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit it first")
        told = {"what": self.what, "classes": self.classes, "settings": asdict(self.settings) | {"init": ""}}
        weights = {name: value.contiguous().cpu() for name, value in self._net.state_dict().items()}
        write(weights, path, {"view": json.dumps(told | {"model": "net"})})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> ViewNet:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "view", "lesionforge train view") as (told, weights):
            made = cls(ViewSettings(**told["settings"]), str(told["what"]), device)
            made.classes = tuple(map(str, told["classes"]))
            net = filled(lambda: Classifier(made.settings.network, len(made.classes)), weights)
        made._net = net.to(made.device, memory_format=torch.channels_last).eval()
        return made
