"""Reconstruction of coronary trees from bi-plane silhouettes as a task of ``jobs.studies``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionforge.generators.types import Case, stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Learner, Scored, Task, TrainingSet
from lesionforge.jobs.tasks.reconstruction import paper
from lesionforge.jobs.tasks.reconstruction.measures import SIDES, TreeMeasures
from lesionforge.jobs.tasks.reconstruction.pairs import RULES, Item, Pair, pair_of_sample, stored_pairs
from lesionforge.jobs.tasks.reconstruction.settings import LEARNERS, STUDIED, NetSettings, learner_class, settings

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table
    from lesionforge.jobs.tasks.reconstruction.found import Found
    from lesionforge.sinks.reader import Samples


@dataclass(frozen=True)
class Reconstruction(Task[Item, "Found"]):
    """See ``Task``.

    Attributes:
        size: cells an edge of the grid that is reconstructed on; the dataset stores its truth (``resample``).
        rule: which cells of it are the tree's: ``paper`` (trilinear samples above 0, 1.8 times the tree's volume) or
            ``half`` (half full; of thinner vessels one line).
        side: whose trees are learnt from and scored on: ``right``, ``left`` or both.
        sweep: a setting of how a trained learner samples (``guidance``, ``levels``), tried at the paper's
            values beside the learner's own.
    """

    size: int = 60
    rule: str = "paper"
    side: str = "both"
    sweep: str = ""

    name = "reconstruction"
    title = "Coronary trees from two X-rays"
    note = (
        "DSC, Chamfer (both directions summed) and O(1), O(2) (Dice of cells within 1 or 2 of the other's) are of "
        "cells, as XRA-Diff defines them; clDice, pieces and loops beside. x0, x1: of the re-projection into a view, "
        "which the hull fills as well as any tree. Seconds of a case are the processor's, memory is the process's "
        "peak. XRA-Diff's figures are of ImageCAS labels and of a target that its code dilates: compare gains over the "
        "hull, not levels. Its Tables 7 and 9 are of clinical pairs without a truth: a study of such alone prints them."
    )
    models = STUDIED
    members = ("json",)
    dataset = "give a dataset of the biplane generator with resample"

    def __post_init__(self) -> None:
        for name, there in (("rule", RULES), ("side", (*SIDES, "both")), ("sweep", ("", *paper.SWEEPS))):
            if (value := getattr(self, name)) not in there:
                raise UsageError(f"{name} is {value!r}: give {' or '.join(filter(None, there))}")
        if not isinstance(self.size, int) or self.size < 8:
            raise UsageError(f"size is {self.size}: give a whole number of cells an edge, 8 or more")

    @property
    def shown(self) -> Mapping[str, str]:
        names = {"dsc": "DSC", "chamfer": "Chamfer", "o2": "O(2)", "cldice": "clDice"}
        return {f"{side}/{name}": f"{words} {side}" for side in self._sides for name, words in names.items()}

    @property
    def _sides(self) -> list[str]:
        return [side for side in SIDES if self.side in (side, "both")]

    def item_of_case(self, case: Case) -> Item:
        raise UsageError(
            f"the source yields a {type(case).__name__}; reconstruction learns from generated pairs: make them of it "
            "with the biplane generator"
        )

    def item_of_sample(self, sample: Mapping[str, Any]) -> Pair:
        return pair_of_sample(sample, self.size, self.rule)

    def items_of_dataset(self, samples: Samples) -> Iterable[Item]:
        return (pair for pair in stored_pairs(samples, self.size, self.rule) if self.side in (pair.side, "both"))

    def check_test(self, test: Sequence[Item], train: Sequence[Item]) -> None:
        """See ``Task``: of every side that is asked for there are trees, in as many views as are learnt from."""
        for side in self._sides:
            if all(pair.side != side for pair in test):
                other = next(one for one in SIDES if one != side)
                raise UsageError(f"--test holds no {side} tree: give data that does, or --set side={other}")
        learnt, asked = ({pair.view_count for pair in pairs} for pairs in (train, test))
        if learnt != asked:
            words = [" and ".join(map(str, sorted(counts))) for counts in (learnt, asked)]
            raise UsageError(
                f"pairs of {words[0]} views are learnt from, --test holds pairs of {words[1]}: give data of one number"
            )

    def doubts(self, learner: Any, items: Sequence[Item]) -> list[str]:
        from lesionforge.jobs.tasks.reconstruction.models.learner import unlearnt_sides

        return unlearnt_sides(learner, {pair.side for pair in items})

    def settings(self, model: str) -> Any:
        return settings(model)

    def changed(self, model: str, changes: Mapping[str, Any]) -> Any:
        """See ``Task``; ``unet.steps`` is of that learner alone, ``steps`` of all networks of a study."""
        own, before = {}, settings(model)
        for name in sorted(changes, key=lambda name: "." in name):
            learner, dot, setting = name.rpartition(".")
            if dot and learner not in LEARNERS:
                raise UsageError(f"--set {name}: there is no learner {learner!r}; give {', '.join(LEARNERS)}")
            others = not isinstance(before, NetSettings) and any(hasattr(settings(one), setting) for one in LEARNERS)
            if learner == model or (not dot and (hasattr(before, setting) or not others)):
                own[setting] = changes[name]
        return super().changed(model, own)

    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Learner[Item]:
        made = learner_class(settings.network)(settings, device=device)
        made.options = {"size": self.size, "rule": self.rule}
        learner: Learner[Item] = made
        return learner

    def load(self, path: Path, device: str) -> tuple[Reconstruction, Learner[Item]]:
        from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner

        learner = opened_learner(path, device)
        for name, value in learner.options.items():
            if getattr(self, name) not in (value, getattr(type(self), name)):
                raise UsageError(f"--set {name}={getattr(self, name)}: the model learnt with {value}; leave it out")
        if self.sweep and not hasattr(learner.settings, self.sweep):
            raise UsageError(f"--set sweep={self.sweep}: {learner.settings.network} has no such setting; leave it out")
        return replace(self, **learner.options), learner

    def predict(self, learner: Any, items: Sequence[Item]) -> Iterator[Found]:
        from lesionforge.jobs.tasks.reconstruction.found import reconstructed

        return reconstructed(learner, items, self.sweep)

    def score(self, item: Item, prediction: Found) -> Scored:
        row = {"sample": item.sample, "side": item.side, "scores": prediction.scores()}
        return Scored(item.subject, row)

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
        self, arm: str, size: int | None, seed: int, real: Sequence[Item], synthetic: Sequence[Item]
    ) -> TrainingSet[Item]:
        if size is not None:
            subjects = sorted({pair.subject for pair in real})
            if size > len(subjects):
                raise UsageError(f"{size} subjects are asked for; there are {len(subjects)}")
            order = stream(f"reconstruction/{seed}".encode(), "subjects").permutation(len(subjects))
            chosen = {subjects[i] for i in order[:size]}  # those of a smaller size are among those of a larger
            real = [pair for pair in real if pair.subject in chosen]
        return TrainingSet(real, synthetic, 1.0)

    def bounds(self, measure: str) -> tuple[float, float]:
        name = measure.partition("/")[2].partition("@")[0]
        return 0, 1 if name.removeprefix("tree_").startswith(("dsc", "cldice", "o1", "o2")) else inf

    def tables(self, summary: Summary) -> list[Table]:
        return paper.tables(summary, self.side)
