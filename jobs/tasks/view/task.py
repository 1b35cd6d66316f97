"""Side and view of angiograms as a task of ``jobs.studies``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Angiogram, Case
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import Learner, Scored, Task, TrainingSet
from lesionforge.jobs.tasks import runs
from lesionforge.jobs.tasks.images import arms, paper
from lesionforge.jobs.tasks.runs import Run
from lesionforge.jobs.tasks.view.metrics import Answers
from lesionforge.jobs.tasks.view.settings import LEARNERS, PRESETS, AngleSettings, settings
from lesionforge.jobs.tasks.view.shots import WHAT, label

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table
    from lesionforge.sinks.reader import Samples

Shares = Mapping[str, float]  # probability by class


@dataclass(frozen=True)
class ViewTask(Task[Run, Shares]):
    """See ``Task``.

    Attributes:
        what: is told: ``side`` (left or right tree) or ``view`` (by its name).
        preset: of the network: ``small`` (minutes of one CPU core) or ``paper`` (ResNet-50, for a GPU).
        real_share: of the frames drawn, where there are real and generated ones.
    """

    what: str = "side"
    preset: str = "small"
    real_share: float = 0.5

    name = "view"
    title = "Side and view of angiograms"
    note = (
        "F1: mean over classes. The papers' figures are of private runs, folds by sequence and not by patient: "
        "compare with care. Of a run the mean over frames of full contrast is scored, of a still the one frame."
    )
    models = LEARNERS
    members = ("json",)
    dataset = "give a dataset of the cine generator"

    def __post_init__(self) -> None:
        for name, there in (("what", WHAT), ("preset", PRESETS)):
            if (value := getattr(self, name)) not in there:
                raise UsageError(f"{name} is {value!r}: give {' or '.join(there)}")

    @property
    def shown(self) -> Mapping[str, str]:
        return paper.VIEW

    def item_of_case(self, case: Case) -> Run:
        if not isinstance(case, Angiogram):
            raise UsageError(f"the source yields a {type(case).__name__}; {self.name} needs angiograms")
        return runs.of_case(case)

    def item_of_sample(self, sample: Mapping[str, Any]) -> Run:
        return runs.of_sample(sample)

    def items_of_dataset(self, samples: Samples) -> Iterable[Run]:
        return runs.stored_runs(samples)

    def check(self, items: Sequence[Run], what: str) -> None:
        super().check(items, what)
        if unknown := sum(label(run, self.what) is None for run in items):
            raise UsageError(
                f"{unknown} of {len(items)} items of {what} do not say their {self.what}: give a cine dataset, or a "
                "source that says it (arcade: with require=segments; option side of others)"
            )

    def check_test(self, test: Sequence[Run], train: Sequence[Run]) -> None:
        learnt, asked = ({label(run, self.what) for run in items} for items in (train, test))
        if not learnt & asked:
            raise UsageError(f"no {self.what} of --test is learnt from: {_listed(asked)} is none of {_listed(learnt)}")

    def settings(self, model: str) -> Any:
        return settings(model, self.preset)

    def changed(self, model: str, changes: Mapping[str, Any]) -> Any:
        """See ``Task``; a setting of the other learner is none of this one's."""
        own = settings(model, self.preset)
        others = [settings(other, self.preset) for other in LEARNERS if other != model]
        mine = {k: v for k, v in changes.items() if hasattr(own, k) or not any(hasattr(o, k) for o in others)}
        return super().changed(model, mine)

    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Learner[Run]:
        if isinstance(settings, AngleSettings):
            from lesionforge.jobs.tasks.view.angles import Angles

            return Angles(settings, self.what)
        from lesionforge.jobs.tasks.view.net import ViewNet

        return ViewNet(settings, self.what, device)

    def load(self, path: Path, device: str) -> tuple[ViewTask, Learner[Run]]:
        from lesionforge.jobs.learning.checkpoint import opened
        from lesionforge.jobs.tasks.view.angles import Angles
        from lesionforge.jobs.tasks.view.net import ViewNet

        with opened(path, "view", "lesionforge train view") as (told, _):
            model = told["model"]
        learner = Angles.load(path) if model == "angles" else ViewNet.load(path, device)
        if self.what not in (learner.what, type(self).what):
            raise UsageError(f"--set what={self.what}: the model learnt {learner.what}; leave it out")
        return replace(self, what=learner.what), learner

    def predict(self, learner: Any, items: Sequence[Run]) -> Iterable[Shares]:
        for run in items:
            said: NDArray[np.float64] = learner.predict(run)
            yield dict(zip(learner.classes, said.tolist(), strict=True))

    def score(self, item: Run, prediction: Shares) -> Scored:
        truth = label(item, self.what)
        found = max(prediction, key=lambda name: prediction[name])
        row = {"sample": item.sample_id, "truth": truth, "found": found}
        return Scored(item.subject, {**row, "probability": prediction.get(str(truth), 0.0)})

    def measures(self, scored: Sequence[Scored]) -> Answers:
        return Answers(scored)

    def arms(self, data: Sequence[str]) -> Sequence[str]:
        return arms.names(data)

    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        return arms.data_of(arm, data)

    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[Run], synthetic: Sequence[Run]
    ) -> TrainingSet[Run]:
        return arms.training_set(self.name, arm, size, seed, real, synthetic, self.real_share)

    def bounds(self, measure: str) -> tuple[float, float]:
        return 0, inf if measure == "cross_entropy" else 1

    def tables(self, summary: Summary) -> list[Table]:
        title = f"Classification of the {self.what} (Rodrigues et al., Table 2)"
        return [paper.table(summary, title, paper.VIEW, paper.SIDES if self.what == "side" else paper.TABLE_2)]


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(map(str, names)))
