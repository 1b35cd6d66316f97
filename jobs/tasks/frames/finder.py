"""The learner: a network of single frames first, then one of whole runs on its features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.frames.interval import phased, unphased
from lesionforge.jobs.tasks.frames.network import Learning, OverTime
from lesionforge.jobs.tasks.frames.settings import FrameSettings
from lesionforge.jobs.tasks.images import training
from lesionforge.jobs.tasks.images.augment import Change
from lesionforge.jobs.tasks.images.networks import Classifier
from lesionforge.jobs.tasks.images.pictures import stack
from lesionforge.jobs.tasks.runs import Run

CUT, SPREAD = 0.3, 0.3  # shares of a run that may be cut off in training at either end; sd that features are moved by


class FrameFinder:
    """See ``jobs.studies.task.Learner``."""

    def __init__(self, settings: FrameSettings, device: str = "cpu") -> None:
        self.settings, self.device = settings, torch.device(device)
        self._eye: Classifier | None = None
        self._time: OverTime | None = None

    def fit(
        self,
        real: Sequence[Run],
        synthetic: Sequence[Run],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``; the frames' network keeps its checkpoint in a folder of its own inside."""
        s, runs = self.settings, [*real, *synthetic]
        films = [stack((run.film[n] for n in range(len(run.film))), s.size) for run in runs]
        truths = [truth_of(run) for run in runs]
        rng = torch.Generator().manual_seed(seed)
        record: dict[str, Any] = {**asdict(s), "seed": seed, "real_share": real_share}
        if folder is not None:
            record["pixels and labels (hash)"] = fingerprint(part for run in runs for part in run.learnt_from)

        def shown(before: int) -> Progress | None:
            total = s.steps + s.run_steps
            return progress and (lambda step, of, loss: progress(before + step, total, loss))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            eye = training.Telling(s, training.fresh(s, 1), _binary, rng)
            labels, some = torch.from_numpy(np.concatenate(truths)).float(), sum(map(len, films[: len(real)]))
            order = training.drawn(labels, some, real_share, s.steps * s.batch, rng)
            how = loop.Training(s.steps, s.batch, str(self.device), folder and folder / "frames")
            pictures = training.Pictures(torch.cat(films), labels, order)
            loop.run(how, eye, pictures, settings=record, progress=shown(0))
            self._eye = eye.net.eval()
            told = torch.Generator().manual_seed(seed + 1)
            seen = [torch.stack([self._features(film, told if k else None) for k in range(s.copies)]) for film in films]
            torch.manual_seed(seed)
            span = _Runs(s, OverTime(self._eye.width, s.width), torch.Generator().manual_seed(seed + 2))
            which = training.drawn(torch.zeros(len(runs)), len(real), real_share, s.run_steps * s.run_batch, rng)
            items = _Films(seen, truths, which)
            how = loop.Training(s.run_steps, s.run_batch, str(self.device), folder)
            loop.run(how, span, items, settings=record, progress=shown(s.steps))
        self._time = span.net.eval()

    def predict(self, run: Run) -> NDArray[np.float64]:
        """How likely each frame is one of full contrast: (frames,)."""
        if self._time is None:
            raise ValueError("this network has learnt nothing yet: fit or load it first")
        film = stack((run.film[n] for n in range(len(run.film))), self.settings.size)
        features = phased(self._features(film).double().numpy(), self.settings.phases)
        with torch.no_grad():
            likely = self._time(torch.from_numpy(features).float()[None].to(self.device)).sigmoid()[0]
        return unphased(likely.double().cpu().numpy(), len(run.film))

    def _features(self, film: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Of a film's frames, (n, features); with ``rng`` of its frames changed, all alike."""
        assert self._eye is not None, "the frames' network comes first"
        grey = film.float()
        if rng is not None:
            grey = Change.draw(1, rng)(grey, rng)
        return training.told(self._eye, grey, self.settings.batch, features=True)

    def save(self, path: Path) -> None:
        """One safetensors file: both networks' weights, and in its metadata the settings."""
        if self._eye is None or self._time is None:
            raise ValueError("this network has learnt nothing yet: fit it first")
        parts: dict[str, nn.Module] = {"eye": self._eye, "time": self._time}
        weights = {f"{p}.{k}": v.contiguous().cpu() for p, net in parts.items() for k, v in net.state_dict().items()}
        told = {"model": "lstm", "settings": asdict(self.settings) | {"init": ""}}
        write(weights, path, {"frames": json.dumps(told)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> FrameFinder:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "frames", "lesionforge train frames") as (told, weights):
            made = cls(FrameSettings(**told["settings"]), device)
            s = made.settings
            eye, time = (
                {k.partition(".")[2]: v for k, v in weights.items() if k.startswith(p)} for p in ("eye.", "time.")
            )
            seer = filled(lambda: Classifier(s.network, 1), eye)
            width = int(seer.width)
            span = filled(lambda: OverTime(width, s.width), time)
        made._eye = seer.to(made.device, memory_format=torch.channels_last).eval()
        made._time = span.to(made.device).eval()
        return made


def truth_of(run: Run) -> NDArray[np.float64]:
    """1 for each of a run's frames that is one of full contrast, else 0."""
    out = np.zeros(len(run.film))
    out[run.full.start : run.full.stop] = 1
    return out


def _binary(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits[:, 0], labels)


class _Films:
    """Features (copies, frames, width) and truth (frames,) of runs in the order they are drawn."""

    def __init__(self, seen: Sequence[Tensor], truths: Sequence[NDArray[np.float64]], order: Tensor) -> None:
        self._seen, self._truths, self._order = seen, truths, order

    def __getitem__(self, number: int) -> tuple[Tensor, NDArray[np.float64]]:
        at = int(self._order[number])
        return self._seen[at], self._truths[at]


class _Runs(loop.Task):
    """The loop's task: runs cut at random at both ends, brought to their phases."""

    def __init__(self, settings: FrameSettings, net: OverTime, rng: torch.Generator) -> None:
        self._settings, self._rng, self.net = settings, rng, net
        self.network = Learning(net)

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        s = self._settings
        return [torch.optim.AdamW(self.net.parameters(), lr=s.run_rate, weight_decay=s.decay)]

    def generators(self) -> Mapping[str, torch.Generator]:
        return {"cuts": self._rng}

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self.net.state_dict())

    def decay(self, step: int) -> float:
        return min(self._settings.average, step / (9 + step))

    def collate(self, rows: Sequence[Any]) -> Any:
        return rows

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        features, truth = [], []
        for seen, true in batch:
            one, cut = (
                int(torch.randint(len(seen), (1,), generator=self._rng)),
                torch.rand(2, generator=self._rng) * CUT,
            )
            first, last = (int(x) for x in (cut * len(true)).floor())
            part = slice(first, len(true) - last)
            features.append(torch.from_numpy(phased(seen[one][part].double().numpy(), self._settings.phases)).float())
            truth.append(torch.from_numpy(phased(true[part], self._settings.phases)).float())
        x = torch.stack(features)
        x = x + SPREAD * x.std((0, 1)) * torch.randn(len(x), 1, x.shape[2], generator=self._rng)
        return {"features": x.to(device), "truth": torch.stack(truth).to(device)}
