"""The study: one network per arm and seed, on the same real scans, scored on the same test scans.

Every run leaves one JSON file in the output folder; what is there is not run again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lesionforge.engine import dataset
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import open_source
from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies import runs as generic
from lesionforge.jobs.studies.runs import StudyError
from lesionforge.jobs.tasks.segmentation import scans
from lesionforge.jobs.tasks.segmentation.metrics import TOLERANCE_MM, volume_scores
from lesionforge.jobs.tasks.segmentation.scans import Scan
from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter
from lesionforge.jobs.tasks.segmentation.settings import NETWORKS, Settings, settings
from lesionforge.sinks.store import Store

REAL = "real"


@dataclass(frozen=True)
class Place:
    """Where scans come from: see ``scans.read``."""

    place: str
    split: str = "train"
    options: Mapping[str, Any] = field(default_factory=dict)

    def content(self) -> str:
        """Stands for what lies there: a dataset's identity, or a source's fingerprint. No path (promise P8)."""
        if ":" in self.place and "://" not in self.place:
            source = open_source(SourceRecipe(uri=self.place, options=dict(self.options)))
            told = json.dumps([source.fingerprint(), self.options], sort_keys=True)
            return hashlib.sha256(told.encode()).hexdigest()
        return f"{dataset.read(Store(self.place)).identity}/{self.split}"

    def read(self, domain: str) -> list[Scan]:
        """The scans."""
        return scans.read(self.place, self.split, domain, self.options)


@dataclass(frozen=True)
class Study:
    """What is compared.

    ``synthetic``: places of synthetic scans by the name that arms give them. ``size``: how many of the real scans,
    drawn by seed; None takes all. ``preset``, ``changes``: of the networks, see ``settings.settings``.
    """

    real: Place
    test: Place
    synthetic: Mapping[str, Place]
    domain: str = "ccta"
    preset: str = "tiny"
    changes: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    device: str = "cpu"
    tolerance_mm: float = TOLERANCE_MM

    def settings(self, network: str) -> Settings:
        """Those of a network."""
        return settings(network, self.preset, self.changes)

    def told(self) -> dict[str, Any]:
        """What results depend on, but for networks, arms, seeds and synthetic scans: these may come to a study."""
        return {
            "real": self.real.content(),
            "test": self.test.content(),
            "domain": self.domain,
            "preset": self.preset,
            "settings": {name: json.loads(json.dumps(asdict(self.settings(name)))) for name in NETWORKS},
            "size": self.size,
            "device": self.device.split(":")[0],
            "tolerance_mm": self.tolerance_mm,
        }


@dataclass(frozen=True, order=True)
class Run:
    """One training."""

    seed: int
    network: str
    arm: str

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.network}-{self.arm}-s{self.seed:02d}"


def parse(arm: str, names: Sequence[str]) -> tuple[str | None, float]:
    """An arm's synthetic scans, and how many of their patches come to one of a real scan.

    ``real`` has none; ``NAME`` one, the paper's 1:1; ``NAMEx3`` three, ``NAMEx0.5`` one to two.

    Raises:
        UsageError: for an arm that no name explains.
    """
    if arm == REAL:
        return None, 0.0
    if arm in names:
        return arm, 1.0
    known = re.fullmatch(r"(.+)x(\d+(?:\.\d+)?)", arm)
    if not known or known[1] not in names or not float(known[2]):
        there = ", ".join(names) or "none"
        raise UsageError(f"arm {arm!r} is unknown; give real, NAME or NAMExN, NAME one of --synthetic ({there})")
    return known[1], float(known[2])


def runs(study: Study, networks: Sequence[str], arms: Sequence[str], seeds: int) -> list[Run]:
    """All runs, seed by seed, so that a study cut off has all arms of some seeds.

    Raises:
        UsageError: for an unknown arm or network, or a name that cannot be told from an arm or does for no file.
    """
    for name in study.synthetic:
        if name == REAL or re.fullmatch(r".+x\d+(\.\d+)?", name) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            raise UsageError(f"--synthetic {name}=...: give a plain word that is not real and does not end in xN")
    for arm in arms:
        parse(arm, list(study.synthetic))
    for network in networks:
        study.settings(network)
    return [Run(seed, network, arm) for seed in range(seeds) for network in networks for arm in arms]


def conduct(
    study: Study,
    todo: Sequence[Run],
    out: Path,
    processes: int = 2,
    tell: Callable[[dict[str, Any]], None] = lambda result: None,
) -> int:
    """Run what is not there yet, several at a time, each on one core.

    Args:
        study: what is compared.
        todo: runs, e.g. from ``runs``.
        out: folder of the results, made if it is not there.
        processes: runs at a time.
        tell: called with each result as it comes.

    Returns:
        Runs made now.

    Raises:
        StudyError: where the folder holds another study's results, or a test subject is learnt from.
    """
    told = study.told()
    identity = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    generic.claim(out, told, identity, "study")
    _same_datasets(study, generic.finished(todo, out), out)
    return generic.conduct(todo, out, partial(_run, study), processes, tell)


def apart(test: Sequence[Scan], train: Sequence[Scan]) -> None:
    """Refuse to score on what was learnt from.

    A subject is told by its hash, within one dataset and between those of one recipe seed, and by its volume's own,
    whatever recipe made it; the same person in another file, or resampled, cannot be.

    Raises:
        StudyError: with the number of subjects or volumes in both.
    """
    shared = {scan.subject for scan in train} & {scan.subject for scan in test}
    volumes = {scan.source_id for scan in train} & {scan.source_id for scan in test}
    if both := max(len(shared), len(volumes)):
        raise StudyError(f"{both} test subjects are also learnt from: give --test a dataset of other subjects")


def _same_datasets(study: Study, done: Sequence[Run], out: Path) -> None:
    """A name must mean the same dataset whenever a study goes on."""
    for run in done:
        name, _ = parse(run.arm, list(study.synthetic))
        its = json.loads(generic.file(out, run).read_text())["dataset"]
        if name is not None and its != study.synthetic[name].content():
            raise StudyError(
                f"{out} has run {run.name} on another dataset {name}: give it another name, or move that run away"
            )


_read: dict[tuple[str, str], list[Scan]] = {}  # a worker process reads scans once, not once a run


def _scans(place: Place, domain: str) -> list[Scan]:
    key = json.dumps(asdict(place), sort_keys=True), domain
    if key not in _read:
        _read[key] = place.read(domain)
    return _read[key]


def _run(study: Study, run: Run) -> dict[str, Any]:
    name, times = parse(run.arm, list(study.synthetic))
    real, test = _scans(study.real, study.domain), _scans(study.test, study.domain)
    made = _scans(study.synthetic[name], study.domain) if name is not None else []
    apart(test, [*real, *made])
    for some, what in ((real, "--real"), (test, "--test")):
        scans.require_lesions(some, study.domain, what)
    if study.size is not None:
        if study.size > len(real):
            raise UsageError(f"--size {study.size}: there are {len(real)} real scans")
        order = stream(f"segmentation/{run.seed}".encode(), f"scans/{study.size}").permutation(len(real))
        real = [real[i] for i in order[: study.size]]
    wall, cpu = time.monotonic(), time.process_time()
    model = Segmenter(study.settings(run.network), study.domain, study.device)
    losses: list[float] = []
    model.fit(real, made, 1 / (1 + times), run.seed, progress=lambda step, of, loss: losses.append(loss))
    fitted = time.process_time()
    return {
        "run": asdict(run),
        "domain": study.domain,
        "classes": list(model.classes),
        "dataset": study.synthetic[name].content() if name is not None else None,
        "subjects": [scored(model, scan, study.tolerance_mm) for scan in test],
        "loss": losses[-1],
        "fit_cpu_s": round(fitted - cpu, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "real": len(real),
        "synthetic": len(made),
        "parameters": model.parameters,
    }


def scored(model: Segmenter, scan: Scan, tolerance_mm: float) -> dict[str, Any]:
    """A network's scores on a scan."""
    return {
        "subject": scan.subject,
        "sample": scan.sample,
        "spacing_mm": list(scan.spacing_mm),
        "scores": volume_scores(scan.target, model.predict(scan), model.classes, scan.spacing_mm, tolerance_mm),
    }
