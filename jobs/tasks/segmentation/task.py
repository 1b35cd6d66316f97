"""Segmentation of plaques or tumours as a task of ``jobs.studies``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Case, Volume, stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Learner, Scored, Task, TrainingSet
from lesionforge.jobs.tasks.segmentation import paper, scans
from lesionforge.jobs.tasks.segmentation.measures import MEAN, VolumeMeasures
from lesionforge.jobs.tasks.segmentation.scans import Scan
from lesionforge.jobs.tasks.segmentation.settings import NETWORKS, Settings, settings
from lesionforge.jobs.tasks.segmentation.targets import classes_of, target

if TYPE_CHECKING:
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Segmentation(Task[Scan, Labels]):
    """See ``Task``.

    Attributes:
        domain: whose lesions are segmented: ``ccta`` (calcified and non-calcified plaque) or ``abdomen`` (tumours, a
            class per organ).
        preset: of the networks: ``tiny`` (minutes of one CPU core) or ``paper`` (the published sizes, for a GPU).
        tolerance_mm: distance between surfaces that NSD forgives.
    """

    domain: str = "ccta"
    preset: str = "tiny"
    tolerance_mm: float = 2.0

    name = "segmentation"
    title = "Segmentation with synthetic lesions"
    note = (
        "DSC and NSD (2 mm unless study.json says else) are of volumes that hold the class, lesion DSC and found of "
        "single lesions; FP: predicted parts that touch no lesion; false alarms: volumes without the class where some "
        "is predicted. PromptLesion's figures are from private CCTA and public tumour sets and give no spread: compare "
        "gains, not levels, least of all with phantoms."
    )
    models = NETWORKS
    members = ("ct.npy", "label.npy", "json")
    dataset = "give a dataset of the lesion generator"

    def __post_init__(self) -> None:
        classes_of(self.domain)  # an unknown one is refused before anything is read
        if not self.tolerance_mm >= 0:
            raise UsageError(f"tolerance_mm is {self.tolerance_mm}: give 0 or more")

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the domain, background aside."""
        return classes_of(self.domain)

    @property
    def shown(self) -> Mapping[str, str]:
        dice = {f"dsc/{name}": f"DSC {name.replace('_', '-')}" for name in (MEAN, *self.classes)}
        return dice | {f"{score}/{MEAN}": words for score, words in paper.OTHERS.items()}

    def item_of_case(self, case: Case) -> Scan:
        if not isinstance(case, Volume) or case.labels is None:
            raise UsageError(f"the source yields a {type(case).__name__}; segmentation needs labelled CT volumes")
        labels = target(case.labels, case.legend, self.domain)
        return Scan(case.hu, labels, case.spacing_mm, case.subject, case.source_id)

    def item_of_sample(self, sample: Mapping[str, Any]) -> Scan:
        record = sample["json"]
        legend = {int(value): name for value, name in record["legend"].items()}
        labels = target(sample["label.npy"], legend, self.domain)
        x, y, z = record["spacing_mm"]
        return Scan(sample["ct.npy"], labels, (x, y, z), record["subject"], record["source_id"], record["sample_id"])

    def check(self, items: Sequence[Scan], what: str) -> None:
        scans.require_lesions(items, self.domain, what)

    def settings(self, model: str) -> Settings:
        return settings(model, self.preset)

    def learner(self, settings: Settings, device: str, cache: Path | None = None) -> Learner[Scan]:
        from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter

        return Segmenter(settings, self.domain, device)

    def load(self, path: Path, device: str) -> tuple[Segmentation, Learner[Scan]]:
        from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter

        learner = Segmenter.load(path, device)
        return Segmentation(learner.domain, self.preset, self.tolerance_mm), learner

    def predict(self, learner: Any, items: Sequence[Scan]) -> Iterator[Labels]:
        for scan in items:
            yield learner.predict(scan)

    def score(self, item: Scan, prediction: Labels) -> Scored:
        from lesionforge.jobs.tasks.segmentation.metrics import volume_scores

        found = volume_scores(item.target, prediction, self.classes, item.spacing_mm, self.tolerance_mm)
        return Scored(item.subject, {"sample": item.sample, "spacing_mm": list(item.spacing_mm), "scores": found})

    def measures(self, scored: Sequence[Scored]) -> VolumeMeasures:
        return VolumeMeasures(scored, self.classes)

    def arms(self, data: Sequence[str]) -> Sequence[str]:
        return [name or "x1" for name in data]

    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        return self._parse(arm, data)[0]

    def _parse(self, arm: str, data: Sequence[str] | None = None) -> tuple[str | None, float]:
        """An arm's synthetic scans, and how many of their patches come to one of a real scan.

        ``real`` has none; ``NAME`` one, the paper's 1:1; ``NAMEx3`` three, ``NAMEx0.5`` one to two.
        """
        if arm == REAL:
            return None, 0.0
        known = re.fullmatch(r"(.*?)(?:x(\d+(?:\.\d+)?))?", arm)
        assert known is not None
        name, times = known[1], float(known[2] or 1)
        if not times or (data is not None and name not in data):
            there = ", ".join(filter(None, data or ())) or "none"
            raise UsageError(f"arm {arm!r} is unknown; give real, NAME or NAMExN, NAME one of --synthetic ({there})")
        return name, times

    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[Scan], synthetic: Sequence[Scan]
    ) -> TrainingSet[Scan]:
        if size is not None:
            if size > len(real):
                raise UsageError(f"{size} real scans are asked for; there are {len(real)}")
            order = stream(f"segmentation/{seed}".encode(), f"scans/{size}").permutation(len(real))
            real = [real[i] for i in order[:size]]
        return TrainingSet(real, synthetic, 1 / (1 + self._parse(arm)[1]))

    def bounds(self, measure: str) -> tuple[float, float]:
        return 0, inf if measure.startswith("false_positives/") else 1

    def order(self, arms: Iterable[str]) -> list[str]:
        there = set(arms)
        known = [arm for arm in paper.ARMS if arm in there]
        return known + sorted(there.difference(known))

    def tables(self, summary: Summary) -> list[Table]:
        return paper.tables(summary, self.domain, self.classes)
