"""The study: one detector per arm, size and seed, on the same real frames, scored on the same test frames.

Every run leaves one JSON file in the output folder; what is there is not run again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lesionforge.engine import dataset as document
from lesionforge.jobs.studies import runs as generic
from lesionforge.jobs.studies.runs import StudyError
from lesionforge.jobs.tasks.detection import detector, frames
from lesionforge.jobs.tasks.detection.arms import Arm, training_set
from lesionforge.jobs.tasks.detection.frames import Frame
from lesionforge.jobs.tasks.detection.metrics import Scores
from lesionforge.sinks.store import Store

DRAWS = 400  # bootstrap draws kept per run: the same subjects in every run, so that arms can be paired


@dataclass(frozen=True)
class Place:
    """A source of real frames."""

    uri: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """What is compared.

    ``train``: the pool of real frames; those with a vessel mask are used. ``test``: frames to score on. ``synthetic``:
    dataset made from ``train``'s frames. ``real_share``: of the pictures drawn, in every arm with both kinds.
    """

    train: Place
    test: Place
    synthetic: str | None
    detector: str = "centre"
    options: Mapping[str, Any] = field(default_factory=dict)  # the detector's settings
    device: str = "cpu"
    real_share: float = 0.5

    def identity(self) -> str:
        """Hash of all that the results depend on, but for arms, sizes and seeds."""
        told = asdict(self) | {"device": self.device.split(":")[0]}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, order=True)
class Run:
    """One training."""

    seed: int
    size: int
    arm: str

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"n{self.size:04d}-{self.arm}-s{self.seed:02d}"


def runs(sizes: Sequence[int], arms: Sequence[str], seeds: int) -> list[Run]:
    """All runs, seed by seed, so that a study cut off has all arms of some seeds.

    Raises:
        ValueError: for an unknown arm.
    """
    for arm in arms:
        Arm.parse(arm)
    return [Run(seed, size, arm) for seed in range(seeds) for size in sizes for arm in arms]


def results(out: Path) -> list[dict[str, Any]]:
    """What the finished runs found.

    Raises:
        StudyError: where there is none.
    """
    found = generic.results(out, "lesionforge study detection")
    if len(sets := {result["dataset"] for result in found} - {None}) > 1:
        raise StudyError(f"{out} mixes runs on {len(sets)} synthetic datasets: move those of the older one away")
    return found


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
        StudyError: where the folder holds another study's results.
    """
    generic.claim(out, _told(study), study.identity(), "place of frames")
    left = set(todo) - set(generic.finished(todo, out))
    if study.synthetic is None and any(run.arm != "real" for run in left):
        raise StudyError("arms with synthetic samples need a dataset of them: give --synthetic OUT")
    return generic.conduct(todo, out, partial(_run, study, out), processes, tell)


def _told(study: Study) -> dict[str, Any]:
    """The study as it is written: without the frames' places, which may hold a patient's name (promise P8)."""
    told: dict[str, Any] = json.loads(json.dumps(asdict(study)))
    for part in (told["train"], told["test"]):
        part["uri"] = part["uri"].split(":", 1)[0] + ":"
    return told


@dataclass(frozen=True)
class Frames:
    """All frames of a study."""

    train: list[Frame]
    test: list[Frame]
    synthetic: list[Frame]
    dataset: str | None  # identity of the dataset that the synthetic frames are from


_read: dict[tuple[str, bool], Frames] = {}  # by study: a worker process reads the frames once, not once a run


def read(study: Study, synthetic: bool = True) -> Frames:
    """Read a study's frames; without its synthetic ones, the dataset need not be there yet.

    Raises:
        StudyError: where a subject is both trained on and tested on.
    """
    train = list(frames.from_source(study.train.uri, study.train.options, masked=True))
    test = list(frames.from_source(study.test.uri, study.test.options))
    shared = {frame.source_id for frame in train} & {frame.source_id for frame in test}
    shared |= {frame.subject for frame in train} & {frame.subject for frame in test}
    if shared:
        raise StudyError(f"{len(shared)} frames or subjects are in the training pool and among the test frames")
    if not synthetic or study.synthetic is None:
        return Frames(train, test, [], None)
    made = list(frames.from_dataset(study.synthetic))
    return Frames(train, test, made, document.read(Store(study.synthetic)).identity)


def _run(study: Study, out: Path, run: Run) -> dict[str, Any]:
    arm = Arm.parse(run.arm)
    which = study.identity(), arm.times > 0
    if which not in _read:
        _read[which] = read(study, arm.times > 0)
    every, wall, cpu = _read[which], time.monotonic(), time.process_time()
    chosen = training_set(arm, run.size, run.seed, every.train, every.synthetic)
    options = dict(study.options)
    if study.detector == "centre":
        options["cache"] = str(out / "inputs")
    model = detector.make(study.detector, study.device, **options)
    losses: list[float] = []
    model.fit(
        chosen.real, chosen.synthetic, study.real_share, run.seed, progress=lambda step, of, loss: losses.append(loss)
    )
    fitted = time.process_time()
    scores = Scores(every.test, model.predict([frame.image for frame in every.test]))
    used = [*chosen.real, *chosen.synthetic]
    return {
        "run": asdict(run),
        "dataset": every.dataset,
        "scores": scores.values(),
        "draws": {name: [round(v, 5) for v in values] for name, values in scores.bootstrap(DRAWS).items()},
        "real": len(chosen.real),
        "synthetic": len(chosen.synthetic),
        "asked": chosen.asked,
        "boxes": {
            "real": sum(int((~frame.drawn).sum()) for frame in used),
            "drawn": sum(int(frame.drawn.sum()) for frame in used),
        },
        "test": {"frames": len(every.test), "lesions": sum(len(frame.boxes) for frame in every.test)},
        "loss": losses[-1] if losses else None,
        "fit_cpu_s": round(fitted - cpu, 1),
        "wall_s": round(time.monotonic() - wall, 1),
    }
