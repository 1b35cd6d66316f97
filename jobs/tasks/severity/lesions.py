"""The learner that grades lesions one by one: at the boxes that somebody marked, or at a detector's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesionforge.generators.stenosis import closure
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.detection.detector import Detector
from lesionforge.jobs.tasks.detection.matching import overlap
from lesionforge.jobs.tasks.images.training import drawn
from lesionforge.jobs.tasks.severity import crop, localisation
from lesionforge.jobs.tasks.severity.grades import UNKNOWN, grade
from lesionforge.jobs.tasks.severity.images import FRAME, Choice, Images, Shown, Verdict
from lesionforge.jobs.tasks.severity.pooling import worst_of
from lesionforge.jobs.tasks.severity.settings import CROPS, CropSettings

MOST = 5  # boxes of a frame that are taken of a detector

Floats = NDArray[np.float64]


class LesionGrader:
    """See ``Learner``.

    Args:
        settings: how it learns.
        choice: what its images are.
        device: of torch.
        detector: says where lesions are; None: the labelled boxes are given.
    """

    def __init__(
        self, settings: CropSettings, choice: Choice, device: str = "cpu", detector: Detector | None = None
    ) -> None:
        self.settings, self.choice, self.device = settings, choice, torch.device(device)
        self.detector = detector
        self._net: crop.CropNet | None = None

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
            UsageError: no two lesions differ in their class.
        """
        s, cuts, rng = self.settings, self.choice.cuts, torch.Generator().manual_seed(seed)
        crops: list[torch.Tensor] = []
        kept: list[Shown] = []
        first = 0
        for n, one in enumerate([*real, *synthetic]):
            first = len(kept) if n == len(real) else first
            for number, lesions in zip(one.full, one.lesions, strict=True):
                told = [lesion for lesion in lesions if not lesion.open(cuts)]
                if told:
                    crops.append(crop.cuts(one.run.film[number], np.array([lesion.box for lesion in told])))
                    kept += told
        first = first if synthetic else len(kept)
        seen = [self._scaled(*one.seen) for one in kept]
        reach = torch.tensor([(grade(a, cuts), grade(b, cuts)) for a, b in seen]).reshape(-1, 2)
        labels = torch.where(reach[:, 0] == reach[:, 1], reach[:, 0], UNKNOWN)
        if len(set(labels.tolist()) - {UNKNOWN}) < 2:
            raise UsageError(f"all {len(kept)} lesions are of one class as they are seen: give others, or another cut")
        low, high = (reach[:, n, None] > torch.arange(len(cuts)) for n in (0, 1))
        ends = torch.tensor(seen) / 100
        record: dict[str, Any] = {**asdict(s), **asdict(self.choice), "seed": seed, "real_share": real_share}
        if folder is not None:
            record["images (hash)"] = fingerprint(part for one in [*real, *synthetic] for part in one.learnt_from)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = crop.CropNet(len(cuts))
            order = drawn(labels, first, real_share, s.steps * s.batch, rng)
            items = crop.Crops(torch.cat(crops), ends, low, low == high, order)
            training = loop.Training(s.steps, s.batch, str(self.device), folder)
            loop.run(training, crop.Grading(s, net, rng), items, settings=record, progress=progress)
        self._net = net.eval()

    def _scaled(self, low: float, high: float) -> tuple[float, float]:
        """A %DS as it is learnt: what is known to the point was measured, an interval is an expert's grade."""
        if low != high or self.settings.scale == "geometric":
            return low, high
        return (closure.graded(low),) * 2

    def graded(self, frame: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Floats:
        """Probabilities of the classes at boxes, the mean of a crop's eight turns and mirror images.

        Args:
            frame: uint8 (rows, cols).
            boxes: (n, 4) in pixels of the frame whose longer side is 512.

        Returns:
            (n, classes), each row adds up to 1.
        """
        if self._net is None:
            raise ValueError("this grader has learnt nothing yet: fit or load it first")
        out = np.zeros((0, len(self.choice.cuts)))
        if len(boxes):
            grey = crop.middle(crop.cuts(frame, boxes).to(self.device))
            with torch.no_grad():
                views = [self._net(g.rot90(k, (1, 2))) for g in (grey, grey.flip(2)) for k in range(4)]
            mean = torch.stack(views).mean(0)[:, :-1].double().sigmoid()
            out = mean.cummin(1)[0].cpu().numpy()  # who reaches a cut reaches those below
        return shares(out)

    def predict(self, item: Images) -> Verdict:
        """Grade every lesion of a run's images; an image is as ill as its worst lesion."""
        rows: list[Floats] = []
        boxes: list[NDArray[np.float32]] = []
        scores: list[NDArray[np.float32]] = []
        lesions: list[Floats] = []
        for number, own in zip(item.full, item.lesions, strict=True):
            frame = item.run.film[number]
            marked = np.array([one.box for one in own], np.float32).reshape(-1, 4)
            where, sure = (marked, np.ones(len(marked))) if self.detector is None else self._found(frame)
            told = self.graded(frame, where)
            lesions.append(told if self.detector is None else _matched(marked, where, told))
            rows.append(whole(told, sure))
            boxes.append(where)
            scores.append(sure.astype(np.float32))
        p = np.array(rows, np.float64).reshape(-1, len(self.choice.cuts) + 1)
        return Verdict(p, boxes, scores, lesions, self.detector is None)

    def _found(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Floats]:
        """The detector's boxes on a frame, in pixels of 512, the surest first, and how sure it is."""
        assert self.detector is not None
        (found,) = self.detector.predict([frame])
        sure = found.scores.sum(1).astype(np.float64).clip(0, 1)
        best = np.argsort(-sure, kind="stable")[:MOST]
        return found.boxes[best] * np.float32(FRAME / max(frame.shape)), sure[best]

    def save(self, path: Path) -> None:
        """One safetensors file, settings and choice in its metadata."""
        if self._net is None:
            raise ValueError("this grader has learnt nothing yet: fit it first")
        told = {"model": CROPS, "settings": asdict(self.settings), "choice": asdict(self.choice)}
        weights = {name: value.contiguous().cpu() for name, value in self._net.state_dict().items()}
        write(weights, path, {"severity": json.dumps(told)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu", detector: Detector | None = None) -> LesionGrader:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "severity", "lesionforge train severity --model crops") as (told, weights):
            choice = Choice(**told["choice"] | {"cuts": tuple(told["choice"]["cuts"])})
            self = cls(CropSettings(**told["settings"]), choice, device, detector)
            net: Any = filled(partial(crop.CropNet, len(choice.cuts)), weights)
            self._net = net.to(self.device, memory_format=torch.channels_last).eval()
        return self


def whole(told: Floats, sure: Floats) -> Floats:
    """Probabilities of an image's classes (classes,), of its boxes' (n, classes), each ``sure`` (n,) to be a lesion.

    An image is as ill as its worst lesion, and healthy without.
    """
    tails = np.cumsum(told[:, ::-1], 1)[:, ::-1][:, 1:] * sure[:, None]
    return worst_of(shares(np.concatenate([tails, np.zeros((1, tails.shape[1]))])))


def shares(tails: Floats) -> Floats:
    """Probabilities of the classes, (n, cuts + 1), from those of reaching each cut, (n, cuts), falling."""
    return np.asarray(-np.diff(tails, axis=1, prepend=1.0, append=0.0))


def _matched(marked: NDArray[np.float32], where: NDArray[np.float32], told: Floats) -> Floats:
    """What is said of each labelled lesion by the surest box that finds it, NaN where none does."""
    hits = overlap(marked, where) >= localisation.LIMITS["cam20"]
    out = np.full((len(marked), told.shape[1]), np.nan)
    for n, hit in enumerate(hits):
        if hit.any():
            out[n] = told[int(hit.argmax())]
    return out
