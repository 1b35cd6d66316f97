"""Severity of disease as a task of ``jobs.studies``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionforge.generators.types import Angiogram, Case
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import Learner, Scored, Task, TrainingSet
from lesionforge.jobs.tasks import runs
from lesionforge.jobs.tasks.images import arms as image_arms
from lesionforge.jobs.tasks.severity import arms, grades, paper
from lesionforge.jobs.tasks.severity.images import Choice, Images, Verdict, images
from lesionforge.jobs.tasks.severity.measures import Severities
from lesionforge.jobs.tasks.severity.settings import CROPS, MODEL, CropSettings, Settings, of_preset

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table
    from lesionforge.sinks.reader import Samples

PRESETS = {"small": 5, "paper": 10}  # frames of a run


@dataclass(frozen=True)
class Severity(Task[Images, Verdict]):
    """See ``Task``.

    Attributes:
        cut: classes in %DS: ``25`` (2-CAT), ``25/100`` (3-CAT), ``50/70``, ``70`` ..., see ``grades``.
        preset: ``small`` (minutes of a CPU core) or ``paper`` (Inception-v3 at 512 pixels, one a view; for a GPU).
        frames: images of a run at most; None: the preset's, 5 or 10.
        redundant: frames of a run from before the contrast at most; 0 learns without.
        real_share: of the images drawn, in every class that real and synthetic runs both have.
        detector: of ``score``: file of `train detection` whose boxes the learner ``crops`` grades; empty: the labelled
            ones.
    """

    cut: str = "25"
    preset: str = "small"
    frames: int | None = None
    redundant: int = 5
    real_share: float = 0.5
    detector: str = ""

    name = "severity"
    title = "Severity of stenoses in angiographic runs"
    note = (
        "Diseased: of the first cut or worse. Sens.: diseased called diseased; F1 weighted by class; κ Cohen's; base: "
        "accuracy of calling everything diseased. An image's class is that of its worst visible lesion, an artery's "
        "and a patient's of the worst there is; their probabilities are the largest of their images'. Redundancy "
        "frames are learnt as a class of their own and take no part in any probability. CAM boxes: worst found is of "
        "images, recall of lesions, precision of boxes, px the mean distance of boxes to the nearest lesion. CORE320's "
        "images are private: compare gains and the distance to the base rate, not levels. crops: "
        "the labelled boxes are given, so that whether an image is diseased at all is partly told."
    )
    models = (MODEL,)
    members = ("json",)
    dataset = "give a dataset of the cine generator"

    def __post_init__(self) -> None:
        grades.cuts(self.cut)
        if self.preset not in PRESETS:
            raise UsageError(f"preset is {self.preset!r}: give {' or '.join(PRESETS)}")
        for name, least in (("frames", 1), ("redundant", 0)):
            if (value := getattr(self, name)) is not None and (not isinstance(value, int) or value < least):
                raise UsageError(f"{name} is {value!r}: give a whole number, {least} or more")

    @property
    def choice(self) -> Choice:
        """Which images, and their classes."""
        return Choice(grades.cuts(self.cut), self.frames or PRESETS[self.preset], self.redundant)

    @property
    def shown(self) -> Mapping[str, str]:
        names = {"image/auc": "AUC, images", "image/accuracy": "accuracy, images", "image/kappa": "κ, images"}
        worst = {"image/auc_worst": "AUC, worst class"} if len(grades.cuts(self.cut)) > 1 else {}
        return names | worst | {"patient/auc": "AUC, patients", "cam20/recall": "CAM recall"}

    def item_of_case(self, case: Case) -> Images:
        if not isinstance(case, Angiogram):
            raise UsageError(f"the source yields a {type(case).__name__}; severity needs angiograms")
        return images(runs.of_case(case), self.choice)

    def item_of_sample(self, sample: Mapping[str, Any]) -> Images:
        return images(runs.of_sample(sample), self.choice)

    def items_of_dataset(self, samples: Samples) -> Iterator[Images]:
        return (images(run, self.choice) for run in runs.stored_runs(samples))

    def check(self, items: Sequence[Images], what: str) -> None:
        super().check(items, what)
        if not any(one.known for one in items):
            raise UsageError(
                f"{what}: no image has a known class with the cut {self.cut}: give graded lesions, or another cut"
            )

    def settings(self, model: str) -> Settings | CropSettings:
        if model not in (MODEL, CROPS):
            raise UsageError(f"learner {model!r} is unknown; there are {MODEL} and {CROPS}")
        if self.detector:
            raise UsageError("detector: a training learns at the labelled boxes; give it to score")
        return CropSettings() if model == CROPS else of_preset(self.preset)

    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Learner[Images]:
        if isinstance(settings, CropSettings):
            from lesionforge.jobs.tasks.severity.lesions import LesionGrader

            return LesionGrader(settings, self.choice, device)
        from lesionforge.jobs.tasks.severity.classifier import Classifier

        return Classifier(settings, self.choice, device)

    def load(self, path: Path, device: str) -> tuple[Severity, Learner[Images]]:
        from lesionforge.jobs.learning.checkpoint import opened
        from lesionforge.jobs.tasks.detection import detector
        from lesionforge.jobs.tasks.severity.classifier import Classifier
        from lesionforge.jobs.tasks.severity.lesions import LesionGrader

        with opened(path, "severity", "lesionforge train severity") as (told, _):
            crops = told.get("model") == CROPS
        if self.detector and not crops:
            raise UsageError(f"detector: this model grades whole frames; give one of train severity --model {CROPS}")
        finder = detector.load(Path(self.detector), device) if self.detector else None
        learner = LesionGrader.load(path, device, finder) if crops else Classifier.load(path, device)
        own = learner.choice
        cut = "/".join(f"{cut:g}" for cut in own.cuts)
        return Severity(cut, self.preset, own.frames, own.redundant, detector=self.detector), learner

    def doubts(self, learner: Any, items: Sequence[Images]) -> list[str]:
        from lesionforge.jobs.tasks.severity.lesions import LesionGrader

        if isinstance(learner, LesionGrader) and learner.detector is None:
            return ["boxes given: lesions are graded where they are labelled; --set detector=FILE has them found"]
        return []

    def predict(self, learner: Any, items: Sequence[Images]) -> Iterator[Verdict]:
        for one in items:
            yield learner.predict(one)

    def score(self, item: Images, prediction: Verdict) -> Scored:
        row = {
            "artery": item.artery,
            "view": item.view,
            "grades": item.grades.tolist(),
            "artery_grade": item.artery_grade,
            "probabilities": prediction.probabilities.round(5).tolist(),
        }
        return Scored(item.subject, row, (item, prediction))

    def measures(self, scored: Sequence[Scored]) -> Severities:
        return Severities(scored)

    def arms(self, data: Sequence[str]) -> Sequence[str]:
        return [arms.REDUNDANCY, *image_arms.names(data)]

    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        return arms.data_of(arm, data)

    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[Images], synthetic: Sequence[Images]
    ) -> TrainingSet[Images]:
        return arms.training_set(arm, size, seed, real, synthetic, self.real_share)

    def bounds(self, measure: str) -> tuple[float, float]:
        return (-1 if measure.endswith("/kappa") else 0), (inf if measure.endswith("_px") else 1)

    def tables(self, summary: Summary) -> list[Table]:
        return paper.tables(summary, grades.cuts(self.cut))
