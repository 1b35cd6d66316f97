"""Reconstruction of coronary trees from bi-plane silhouettes as a task of ``jobs.studies``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Case, stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Learner, Scored, Task, TrainingSet
from lesionforge.jobs.tasks.reconstruction import paper
from lesionforge.jobs.tasks.reconstruction.measures import TreeMeasures
from lesionforge.jobs.tasks.reconstruction.pairs import Pair, pair_of_sample
from lesionforge.jobs.tasks.reconstruction.settings import LEARNERS, learner_class, settings

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Reconstruction(Task[Pair, tuple[Volume, float]]):
    """See ``Task``.

    Attributes:
        size: cells an edge of the grid that is reconstructed on; the dataset stores its truth (``resample``).
        rule: which cells of it are the tree's: ``paper`` (trilinear samples above 0, 1.8 times the tree's volume) or
            ``half`` (half full; of thinner vessels one line).
    """

    size: int = 60
    rule: str = "paper"

    name = "reconstruction"
    title = "Coronary trees from two X-rays"
    note = (
        "DSC, Chamfer (both directions summed, in cells), O(1) and O(2) as XRA-Diff defines them, on cells; clDice, "
        "pieces and loops beside. XRA-Diff's figures are of ImageCAS labels and of a target that its code "
        "dilates: compare gains over the hull, not levels."
    )
    models = tuple(LEARNERS)
    members = ("json", "view0.png", "view1.png")
    welcome = tuple(f"{kind}{n}.png" for kind in ("view", "mask") for n in range(4))
    dataset = "give a dataset of the biplane generator with resample"

    def __post_init__(self) -> None:
        if self.rule not in ("paper", "half"):
            raise UsageError(f"rule is {self.rule!r}: give paper or half")

    @property
    def shown(self) -> Mapping[str, str]:
        names = {"dsc": "DSC", "chamfer": "Chamfer", "o2": "O(2)", "cldice": "clDice"}
        return {f"{side}/{name}": f"{words} {side}" for side in ("right", "left") for name, words in names.items()}

    def item_of_case(self, case: Case) -> Pair:
        raise UsageError(
            f"the source yields a {type(case).__name__}; reconstruction learns from generated pairs: make them of it "
            "with the biplane generator"
        )

    def item_of_sample(self, sample: Mapping[str, Any]) -> Pair:
        return pair_of_sample(sample, self.size, self.rule)

    def settings(self, model: str) -> Any:
        return settings(model)

    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Learner[Pair]:
        made: Learner[Pair] = learner_class(settings.network)(settings, device=device)
        return made

    def load(self, path: Path, device: str) -> tuple[Reconstruction, Learner[Pair]]:
        from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner

        return self, opened_learner(path, device)

    def predict(self, learner: Any, items: Sequence[Pair]) -> Iterator[tuple[Volume, float]]:
        for pair in items:
            yield learner.predict(pair), learner.threshold

    def score(self, item: Pair, prediction: tuple[Volume, float]) -> Scored:
        from lesionforge.jobs.tasks.reconstruction.metrics import psnr, volume_scores

        found, threshold = prediction
        scores = volume_scores(item.target, found >= threshold, item.grid.spacing_mm)
        scores["psnr"] = psnr(item.target.astype(np.float32), found)
        return Scored(item.subject, {"sample": item.sample, "side": item.side, "scores": scores})

    def measures(self, scored: Sequence[Scored]) -> TreeMeasures:
        return TreeMeasures(scored)

    def arms(self, data: Sequence[str]) -> Sequence[str]:
        return [name or "x1" for name in data]

    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        if arm == REAL:
            return None
        name = "" if arm == "x1" else arm
        if name not in data:
            raise UsageError(f"arm {arm!r} is unknown; give real, or one of --synthetic")
        return name

    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[Pair], synthetic: Sequence[Pair]
    ) -> TrainingSet[Pair]:
        if size is not None:
            subjects = sorted({pair.subject for pair in real})
            if size > len(subjects):
                raise UsageError(f"{size} subjects are asked for; there are {len(subjects)}")
            order = stream(f"reconstruction/{seed}".encode(), f"subjects/{size}").permutation(len(subjects))
            chosen = {subjects[i] for i in order[:size]}
            real = [pair for pair in real if pair.subject in chosen]
        return TrainingSet(real, synthetic, 1.0)

    def bounds(self, measure: str) -> tuple[float, float]:
        name = measure.partition("/")[2]
        return 0, 1 if name in ("dsc", "cldice", "o1", "o2") else inf

    def tables(self, summary: Summary) -> list[Table]:
        return paper.tables(summary)
