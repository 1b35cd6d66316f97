"""The runs of a study; each becomes a JSON file (``folder``), and what is there is not run again.

A run is a function of its study and its name: it reads the data itself (the places must be visible from every node),
learns, predicts, and gives back a few hundred kilobytes of plain data. While it learns, its learner keeps checkpoints:
in the study's folder where the run's node sees it, else in the node's temporary folder; a run whose process or node
died, or whose study was killed, goes on from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies import places, summary
from lesionforge.jobs.studies.places import DataPlace, Reading
from lesionforge.jobs.studies.task import REAL, Item, Learner, Scored, Task, configured

NAME = r"[A-Za-z0-9][\w.-]*"  # of a synthetic dataset: arms are made of it, and files are named by arms


@dataclass(frozen=True, order=True)
class Run:
    """One training. ``size``: how many of the real items; None takes all."""

    seed: int
    model: str
    size: int | None
    arm: str

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.model}-{'all' if self.size is None else f'n{self.size:04d}'}-{self.arm}-s{self.seed:02d}"


@dataclass(frozen=True)
class Study:
    """What is compared.

    ``synthetic``: generated datasets by the name that arms give them; a single one may have the name "". ``changes``:
    options of the task and settings of its learners.
    """

    task: str
    real: DataPlace
    test: DataPlace
    synthetic: Mapping[str, DataPlace] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def places(self) -> list[DataPlace]:
        """All that it reads."""
        return [self.real, self.test, *self.synthetic.values()]

    def record(self) -> dict[str, Any]:
        """What results depend on, but for arms, sizes, seeds and synthetic data, which may be added to a study.

        Without a path, which may hold a patient's name (promise P8).
        """
        return {
            "task": self.task,
            "real": self.real.content,
            "test": self.test.content,
            "options": summary.plain(asdict(configured(self.task, self.changes)[0])),  # type: ignore[call-overload]
            "device": self.device.split(":")[0],
        }

    def settings(self, model: str) -> dict[str, Any]:
        """Those of a learner, as plain data."""
        task, changes = configured(self.task, self.changes)
        return summary.plain(asdict(task.changed(model, changes)))  # type: ignore[no-any-return]


def runs(
    study: Study,
    models: Sequence[str] | None = None,
    sizes: Sequence[int | None] | None = None,
    arms: Sequence[str] | None = None,
    seeds: int = 3,
) -> list[Run]:
    """All runs, seed by seed, so that a study cut off has all arms of some seeds; None: the task's own choice.

    Raises:
        UsageError: for an unknown arm, model or setting, before anything is read.
    """
    task, models = learners(study.task, study.changes, models)
    data = list(study.synthetic)
    sizes = sizes or task.sizes
    arms = arms or [REAL, *task.arms(data)]
    for arm in arms:
        task.data_of_arm(arm, data)
    return [Run(seed, model, size, arm) for seed in range(seeds) for model in models for size in sizes for arm in arms]


def learners(name: str, changes: Mapping[str, Any], models: Sequence[str] | None) -> tuple[Any, Sequence[str]]:
    """A task with its options changed, and the models of a study; None: the task's own choice.

    Raises:
        UsageError: for an unknown model or setting.
    """
    task, rest = configured(name, changes)
    models = models or task.models
    for model in models:
        task.changed(model, rest)
    return task, models


def in_words(study: Study, result: Mapping[str, Any]) -> str:
    """A run's name and its first measure, as it ends."""
    task, _ = configured(study.task, study.changes)
    measure, words = next(iter(task.shown.items()))
    value = result["scores"][measure]
    return f"{Run(**result['run']).name} {words} {'–' if value is None else f'{value:.3f}'}"


def apart(test: Sequence[Item], train: Sequence[Item]) -> None:
    """Refuse to score on what was learnt from.

    A subject is known by its hash, within one dataset and between a study's sources, and by its pixels' hash, whatever
    recipe made it; the same person in another file, or resampled, cannot be.

    Raises:
        UsageError: with the number of subjects or sources in both.
    """
    subjects = {item.subject for item in train} & {item.subject for item in test}
    pixels = {item.source_id for item in train} & {item.source_id for item in test}
    if both := max(len(subjects), len(pixels)):
        raise UsageError(f"{both} test subjects are also learnt from: give --test data of other subjects")


_read: dict[str, Reading[Any]] = {}  # a worker process reads a place once, not once a run


def _items(task: Task[Any, Any], place: DataPlace, key: bytes) -> Reading[Any]:
    name = repr((task, place, key))
    if name not in _read:
        _read[name] = places.read(task, place, key)
    return _read[name]


def conduct_run(study: Study, out: Path, run: Run) -> dict[str, Any]:
    """Make one run's result; see the module's docstring.

    Raises:
        UsageError: where there is too little to learn from or to score on, or a test subject is learnt from.
    """
    task, changes = configured(study.task, study.changes)
    key = places.common_key([study.real, study.test])
    data = task.data_of_arm(run.arm, list(study.synthetic))
    readings = {"--real": _items(task, study.real, key), "--test": _items(task, study.test, key)}
    if data is not None:
        readings["--synthetic"] = _items(task, study.synthetic[data], key)
    real, test, synthetic = (
        readings[name].items if name in readings else [] for name in ("--real", "--test", "--synthetic")
    )
    apart(test, [*real, *synthetic])
    task.check(real, "--real")
    task.check_test(test, [*real, *synthetic])
    task.check(test, "--test")
    wall, cpu = time.monotonic(), time.process_time()
    chosen = task.training_set(run.arm, run.size, run.seed, real, synthetic)
    shared = out if _sees(out, study) else None
    learner = task.learner(task.changed(run.model, changes), study.device, shared / "inputs" if shared else None)
    folder = checkpoints(out, study, run)
    with _alone(folder):
        learner.fit(chosen.real, chosen.synthetic, chosen.real_share, run.seed, folder=folder)
    fitted = time.process_time()
    return {
        "run": asdict(run),
        "settings": study.settings(run.model),
        "data": data,
        "dataset": study.synthetic[data].content if data is not None else None,
        "places": {name: reading.body() for name, reading in readings.items()},
        **scores(task, learner, test),
        "real": len(chosen.real),
        "synthetic": len(chosen.synthetic),
        "notes": dict(chosen.notes),
        "fit_cpu_s": round(fitted - cpu, 1),
        "wall_s": round(time.monotonic() - wall, 1),
    }


def scores(
    task: Task[Any, Any],
    learner: Learner[Any],
    test: Sequence[Any],
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """A learner's measures on test items: values, bootstrap draws, subjects that hold each, and a row an item."""
    scored: list[Scored] = []
    for item, prediction in zip(test, task.predict(learner, test), strict=True):
        scored.append(task.score(item, prediction))
        tell(len(scored), len(test))
    rows = [{"subject": one.subject, **one.row} for one in scored]
    subjects = sorted({one.subject for one in scored})
    measures = task.measures(scored)
    names = json.dumps(sorted((item.subject, item.source_id) for item in test))
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return {
        "scores": summary.plain(measures.values()),
        "held": dict(measures.held),
        "draws": summary.plain(summary.draws(measures, len(subjects)), lambda value: round(value, 5)),
        "rows": summary.plain(rows),
        "test": {"items": len(test), "subjects": len(subjects), "digest": digest},
    }


def _sees(out: Path, study: Study) -> bool:
    """Whether this process sees the study's folder, and not another's of that name."""
    path = out / "study.json"
    return path.exists() and json.loads(path.read_text()) == study.record()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process trains in a folder: a killed driver's workers live on for a moment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def checkpoints(out: Path, study: Study, run: Run) -> Path:
    """Folder of a run's checkpoints on this node."""
    if _sees(out, study):
        return out / "checkpoints" / run.name
    identity = hashlib.sha256(json.dumps(study.record(), sort_keys=True).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lesionforge-study-{identity}" / run.name
