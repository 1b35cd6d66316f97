"""Selection of a run's frames of full contrast as a task of ``jobs.studies``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Case
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import Learner, Scored, Task, TrainingSet
from lesionforge.jobs.tasks import runs
from lesionforge.jobs.tasks.frames.interval import decoded, scores
from lesionforge.jobs.tasks.frames.settings import LEARNERS, PRESETS, RidgeSettings, settings
from lesionforge.jobs.tasks.images import arms, paper
from lesionforge.jobs.tasks.images.means import Means
from lesionforge.jobs.tasks.runs import Run

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table
    from lesionforge.sinks.reader import Samples

Likely = NDArray[np.float64]  # of each frame; above .5: one of full contrast


@dataclass(frozen=True)
class Frames(Task[Run, Likely]):
    """See ``Task``.

    Attributes:
        preset: of the networks: ``small`` (minutes of one CPU core) or ``paper`` (Inception-v3, for a GPU).
        real_share: of what is drawn, where there are real runs and generated ones.
    """

    preset: str = "small"
    real_share: float = 0.5

    name = "frames"
    title = "Begin and end of full contrast"
    note = (
        "Errors are |frame found - true frame|; accepted and error: share of runs whose mean error of both ends is at "
        "most 3, or at least 10, frames; false: share of the runs that never fill where an interval was named. The "
        "paper's figures are of private runs at 15 frames a second."
    )
    models = LEARNERS
    members = ("json",)
    dataset = "give a dataset of the cine generator"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"preset is {self.preset!r}: give {' or '.join(PRESETS)}")

    @property
    def shown(self) -> Mapping[str, str]:
        return paper.FRAMES

    def item_of_case(self, case: Case) -> Run:
        raise UsageError(f"the source yields a {type(case).__name__}, which has no time; {self.name} needs cine runs")

    def item_of_sample(self, sample: Mapping[str, Any]) -> Run:
        return runs.of_sample(sample)

    def items_of_dataset(self, samples: Samples) -> Iterable[Run]:
        return runs.stored_runs(samples)

    def check(self, items: Sequence[Run], what: str) -> None:
        super().check(items, what)
        if not all(run.phased for run in items):
            raise UsageError(
                f"{what} holds runs that do not say when they are full: give a dataset of the cine generator"
            )
        if all(len(run.film) == 1 for run in items):
            raise UsageError(f"{what} holds stills alone: generate runs, without generator.params.frames=1")

    def settings(self, model: str) -> Any:
        return settings(model, self.preset)

    def changed(self, model: str, changes: Mapping[str, Any]) -> Any:
        """See ``Task``; a setting of the other learner is none of this one's."""
        own = settings(model, self.preset)
        others = [settings(other, self.preset) for other in LEARNERS if other != model]
        mine = {k: v for k, v in changes.items() if hasattr(own, k) or not any(hasattr(o, k) for o in others)}
        return super().changed(model, mine)

    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Learner[Run]:
        if isinstance(settings, RidgeSettings):
            from lesionforge.jobs.tasks.frames.ridge import RidgeThreshold

            return RidgeThreshold(settings)
        from lesionforge.jobs.tasks.frames.finder import FrameFinder

        return FrameFinder(settings, device)

    def load(self, path: Path, device: str) -> tuple[Frames, Learner[Run]]:
        from lesionforge.jobs.learning.checkpoint import opened
        from lesionforge.jobs.tasks.frames.finder import FrameFinder
        from lesionforge.jobs.tasks.frames.ridge import RidgeThreshold

        with opened(path, "frames", "lesionforge train frames") as (told, _):
            model = told["model"]
        return self, RidgeThreshold.load(path) if model == "ridge" else FrameFinder.load(path, device)

    def predict(self, learner: Any, items: Sequence[Run]) -> Iterable[Likely]:
        return (learner.predict(run) for run in items)

    def score(self, item: Run, prediction: Likely) -> Scored:
        truth = (item.full.start, item.full.stop - 1) if item.full else None
        found = decoded(prediction)
        row = {"sample": item.sample_id, "frames": len(item.film), "truth": truth, "found": found}
        return Scored(item.subject, {**row, "scores": scores(truth, found, len(item.film))})

    def measures(self, scored: Sequence[Scored]) -> Means:
        return Means(scored)

    def arms(self, data: Sequence[str]) -> Sequence[str]:
        return arms.names(data)

    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        return arms.data_of(arm, data)

    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[Run], synthetic: Sequence[Run]
    ) -> TrainingSet[Run]:
        return arms.training_set(self.name, arm, size, seed, real, synthetic, self.real_share)

    def bounds(self, measure: str) -> tuple[float, float]:
        return 0, inf if measure.endswith("_error") else 1

    def tables(self, summary: Summary) -> list[Table]:
        return [paper.table(summary, "Begin and end of full contrast (Cong et al.)", paper.FRAMES, paper.CONG)]
