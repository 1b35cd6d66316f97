"""The learner: one network or one a view, probabilities and boxes of each image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.images.networks import begin, half
from lesionforge.jobs.tasks.images.pictures import stack
from lesionforge.jobs.tasks.images.training import drawn
from lesionforge.jobs.tasks.severity import cam
from lesionforge.jobs.tasks.severity.attending import Attending, Marked, marked
from lesionforge.jobs.tasks.severity.grades import UNKNOWN
from lesionforge.jobs.tasks.severity.images import FRAME, Choice, Images, Verdict
from lesionforge.jobs.tasks.severity.network import Grader
from lesionforge.jobs.tasks.severity.settings import Settings


class Classifier:
    """See ``Learner``.

    Args:
        settings: how it learns.
        choice: what its images are.
        device: of torch.
    """

    def __init__(self, settings: Settings, choice: Choice, device: str = "cpu") -> None:
        self.settings, self.choice, self.device = settings, choice, torch.device(device)
        self._networks: dict[str, Grader] = {}

    @property
    def classes(self) -> int:
        """Of severity."""
        return len(self.choice.cuts) + 1

    def fit(
        self,
        real: Sequence[Images],
        synthetic: Sequence[Images],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``.

        Raises:
            UsageError: all images of a network are of one class, or have no view where each view has a network.
        """
        pools = [[one for one in some if one.known] for some in (real, synthetic)]
        self._networks = {}
        for name in sorted({self._which(one) for some in pools for one in some}):
            some, made = ([one for one in pool if self._which(one) == name] for pool in pools)
            own = folder if folder is None or name == "joint" else folder / name
            self._networks[name] = self._fit(name, some, made, real_share, seed, own, progress)
            if folder is not None and own not in (None, folder):
                shutil.copy(folder / name / "losses.jsonl", folder)  # where the frame looks for the last loss

    def _fit(
        self,
        name: str,
        real: Sequence[Images],
        synthetic: Sequence[Images],
        share: float,
        seed: int,
        folder: Path | None,
        progress: Progress | None,
    ) -> Grader:
        s, rng = self.settings, torch.Generator().manual_seed(seed)
        items = [*real, *synthetic]
        labels = [labels_of(one, self.classes) for one in items]
        if len({grade for own in labels for grade in own} - {self.classes}) < 2:
            raise UsageError(f"all images of {name} are of one severity class: give others beside, or another cut")
        first = sum(len(own) for own in labels[: len(real)])
        told = torch.tensor([grade for own in labels for grade in own])
        record: dict[str, Any] = {**asdict(s), **asdict(self.choice), "seed": seed, "real_share": share}
        if folder is not None:
            record["images (hash)"] = fingerprint(part for one in items for part in one.learnt_from)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = Grader(s.network, self.classes + int((told == self.classes).any()))
            if s.init:
                begin(net, Path(s.init))
            task = Attending(s, net, rng)
            pictures = stack((one.run.film[n] for one in items for n in (*graded(one), *one.empty)), s.size)
            order = drawn(told, first, share, s.steps * s.batch, rng)
            marks = torch.stack([mark for one in items for mark in marks_of(one)])
            training = loop.Training(s.steps, s.batch, str(self.device), folder)
            loop.run(training, task, Marked(pictures, told, order, marks), settings=record, progress=progress)
        net.eval()
        return net

    def _which(self, one: Images) -> str:
        """Name of the network that an item is for."""
        if self.settings.networks == "joint":
            return "joint"
        if one.view is None:
            raise UsageError(
                f"networks is view, and case {one.source_id} has no side or no angles: give runs that have, or joint"
            )
        return one.view

    def predict(self, item: Images) -> Verdict:
        """Grade every image of a run.

        Raises:
            UsageError: no network has learnt from its view.
        """
        if not len(item.full):
            return Verdict(np.zeros((0, self.classes)), [], [])
        logits, maps = self._seen(item)
        found = [cam.boxes(one) for one in maps]
        return Verdict(
            disease(logits, self.classes).cpu().numpy(),
            [box * np.float32(FRAME / self.settings.size) for box, _ in found],
            [score for _, score in found],
        )

    def activation(self, item: Images) -> NDArray[np.float32]:
        """How much each pixel speaks for the disease, 0 or more: (images, size, size), see ``cam.seen``.

        A frame's longer side fills ``settings.size``; beyond its shorter one its border is repeated.

        Raises:
            UsageError: no network has learnt from its view.
        """
        return self._seen(item)[1]

    def _seen(self, item: Images) -> tuple[Tensor, NDArray[np.float32]]:
        """Logits and maps of activation."""
        name = self._which(item)
        if name not in self._networks:
            there = ", ".join(self._networks) or "nothing"
            raise UsageError(f"this model has not learnt from {name}, but from {there}: score it on those")
        pictures = stack((item.run.film[n] for n in item.full), self.settings.size)
        with half(self.device):
            seen = cam.seen(self._networks[name], pictures.to(self.device).float(), self.classes)
        size = (self.settings.size,) * 2
        maps = F.interpolate(seen.where[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0].cpu()
        return seen.logits, maps.numpy()

    def save(self, path: Path) -> None:
        """One safetensors file: all networks, settings and choice in its metadata."""
        if not self._networks:
            raise ValueError("this grader has learnt nothing yet: fit it first")
        told = {"settings": asdict(self.settings) | {"init": ""}, "choice": asdict(self.choice)}
        told["outputs"] = {name: net.head.dense[-1].out_features for name, net in self._networks.items()}
        weights = {
            f"{name}/{key}": value.contiguous().cpu()
            for name, net in self._networks.items()
            for key, value in net.state_dict().items()
        }
        write(weights, path, {"severity": json.dumps(told)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Classifier:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "severity", "lesionforge train severity") as (told, weights):
            choice = Choice(**told["choice"] | {"cuts": tuple(told["choice"]["cuts"])})
            self = cls(Settings(**told["settings"]), choice, device)
            for name, outputs in told["outputs"].items():
                own = {key.partition("/")[2]: value for key, value in weights.items() if key.startswith(f"{name}/")}
                net: Any = filled(partial(Grader, self.settings.network, outputs), own)
                self._networks[name] = net.to(self.device, memory_format=torch.channels_last).eval()
        return self


def graded(one: Images) -> Iterator[int]:
    """Numbers of a run's frames of full contrast whose class is known."""
    return (n for n, grade in zip(one.full, one.grades.tolist(), strict=True) if grade != UNKNOWN)


def labels_of(one: Images, classes: int) -> list[int]:
    """Classes of ``graded`` frames, then of redundancy frames, which are the class after the last severity."""
    return [*(grade for grade in one.grades.tolist() if grade != UNKNOWN), *([classes] * len(one.empty))]


def marks_of(one: Images) -> list[Tensor]:
    """Maps of the lesions of the frames of ``labels_of``."""
    seen = [marked(box) for box, grade in zip(one.boxes, one.grades.tolist(), strict=True) if grade != UNKNOWN]
    return [*seen, *(marked(np.zeros((0, 4))) for _ in one.empty)]


def disease(logits: Tensor, classes: int) -> Tensor:
    """Probabilities of the severity classes, float64 (n, classes).

    What a redundancy class would get is left out, and the rest adds up to 1 again: no frame is ill for having no
    contrast.
    """
    return logits[:, :classes].double().softmax(1)
