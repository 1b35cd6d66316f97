"""Detection of stenoses as a task of ``jobs.studies``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Angiogram, Case
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Scored, Task, TrainingSet
from lesionforge.jobs.tasks.detection import arms, detector, films, paper, twostep
from lesionforge.jobs.tasks.detection.arms import KINDS, Arm
from lesionforge.jobs.tasks.detection.detector import Detector
from lesionforge.jobs.tasks.detection.frames import Detections, Frame, labelled
from lesionforge.jobs.tasks.detection.metrics import Scores
from lesionforge.jobs.tasks.runs import of_sample, stored_runs

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table
    from lesionforge.sinks.reader import Samples


@dataclass(frozen=True)
class Detection(Task[Frame, Detections]):
    """See ``Task``.

    Attributes:
        real_share: of the pictures drawn, in every arm with both kinds.
        confidence: from which on a box counts, where scores are at one confidence (``fixed``).
        frames: of each kind (full contrast, without, healthy) that are taken of a run.
        squares: boxes of generated runs and stills as DiGDA's annotators draw them, to find what they marked.
    """

    real_share: float = 0.5
    confidence: float = 0.5
    frames: int = 3
    squares: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UsageError(f"confidence is {self.confidence!r}: give a number between 0 and 1")
        if not isinstance(self.frames, int) or self.frames < 1:
            raise UsageError(f"frames is {self.frames!r}: give a whole number of 1 or more")
        if not isinstance(self.squares, bool):
            raise UsageError(f"squares is {self.squares!r}: give true or false")

    name = "detection"
    title = "Detection with synthetic lesions"
    note = (
        "M, S: moderate, severe lesions. found: recall at one false positive a frame, IoU .2; APc: centres within 24 "
        "px. DiGDA's detectors learn from 5,156 private frames and give no spread: compare gains, not levels."
    )
    models = ("centre",)
    sizes = (50, 100, 200)
    members = ("image.png", "json")
    welcome = ("source.png",)
    dataset = "give a dataset of stenoses on angiograms"

    @cached_property
    def _sources(self) -> dict[str, NDArray[np.uint8]]:
        """Frames before anything was drawn, by their id: many samples share one."""
        return {}

    @property
    def shown(self) -> Mapping[str, str]:
        return paper.SHOWN

    def item_of_case(self, case: Case) -> Frame:
        if not isinstance(case, Angiogram):
            raise UsageError(f"the source yields a {type(case).__name__}; detection needs angiograms")
        lesions = [{"box": s.box, "severity_class": s.severity_class, "synthetic": False} for s in case.lesions]
        masked = case.mask is not None
        return labelled(case.image, lesions, subject=case.subject, source_id=case.source_id, masked=masked)

    def items_of_dataset(self, samples: Samples) -> Iterable[Frame] | None:
        """Some frames of each run, where the dataset holds runs."""
        if not any(name.startswith("frame") and name.endswith(".png") for name in samples.members):
            return None
        return [frame for run in stored_runs(samples) for frame in films.frames_of(run, self.frames, self.squares)]

    def item_of_sample(self, sample: Mapping[str, Any]) -> Frame:
        record = sample["json"]
        if "lesions" not in record:
            raise UsageError(f"sample {record['sample_id']} has no lesions: {self.dataset}")
        if "stenoses" in record:
            return replace(films.frame_of(of_sample(sample), 0, self.squares), target=record["target"])
        source = record["source_id"] or ""
        if "source.png" in sample:
            self._sources.setdefault(source, sample["source.png"])
        return labelled(
            sample["image.png"],
            record["lesions"],
            subject=record["subject"] or "",
            source_id=source,
            target=record["target"],
            sample_id=record["sample_id"],
            source_image=self._sources.get(source),
        )

    def alone(self, synthetic: Sequence[Frame]) -> Sequence[Frame]:
        return [frame.only_drawn() for frame in synthetic]

    def settings(self, model: str) -> Any:
        return detector.settings(model)

    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Detector:
        return detector.build(settings, device, cache)

    def load(self, path: Path, device: str) -> tuple[Detection, Detector]:
        return self, detector.load(path, device)

    def predict(self, learner: Detector, items: Sequence[Frame]) -> Iterable[Detections]:
        return learner.predict([frame.image for frame in items])

    def score(self, item: Frame, prediction: Detections) -> Scored:
        return Scored(item.subject, {"lesions": len(item.boxes)}, (item, prediction))

    def measures(self, scored: Sequence[Scored]) -> Scores:
        return Scores([one.evidence[0] for one in scored], [one.evidence[1] for one in scored], self.confidence)

    def arms(self, data: Sequence[str]) -> Sequence[str]:
        kinds = ("x4", "x1", "x2", "x4-placebo", "x4-synthetic", "x4-natural")
        return [f"{name}{kind}" for name in data for kind in kinds]

    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        name = Arm.parse(arm).data
        if name is not None and name not in data:
            raise UsageError(
                f"arm {arm!r} needs a dataset of synthetic samples: give --synthetic {f'{name}=' if name else ''}DATA"
            )
        return name

    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[Frame], synthetic: Sequence[Frame]
    ) -> TrainingSet[Frame]:
        return arms.training_set(Arm.parse(arm), size, seed, real, synthetic, self.real_share)

    def bounds(self, measure: str) -> tuple[float, float]:
        return 0, inf if measure in ("fp_negative", "fp_healthy", "centre_px") else 1

    def order(self, arms: Iterable[str]) -> list[str]:
        def key(name: str) -> tuple[bool, str, int, int]:
            arm = Arm.parse(name)
            return name != REAL, arm.data or "", KINDS.index(arm.kind), arm.times + len(arm.negatives)

        return sorted(arms, key=key)

    def tables(self, summary: Summary) -> list[Table]:
        return [*paper.tables(summary), *twostep.tables(summary)]
