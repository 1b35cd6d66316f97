"""A third task, as small as one can be: a threshold on a frame's darkest pixel says whether it has a lesion.

Its learner keeps a checkpoint and can be made to wait half way, so that runs can be killed there.
"""

import json
import os
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Scored, Task, TrainingSet


@dataclass(frozen=True)
class Darkness:
    subject: str
    source_id: str
    darkest: int
    lesion: bool


@dataclass(frozen=True)
class ThresholdSettings:
    steps: int = 3
    log: str = ""  # file that gets a line as a step begins
    go: str = ""  # file whose coming ends a wait at the middle step


class Threshold:
    """The mean darkest pixel of what it has seen, a frame a step."""

    def __init__(self, settings):
        self.settings, self.seen = settings, []

    def fit(self, real, synthetic, real_share, seed, folder=None, progress=None):
        s, items = self.settings, [*real, *synthetic]
        state = folder and folder / "state.json"
        self.seen = json.loads(state.read_text()) if folder and state.exists() else []
        rng = np.random.default_rng(seed)
        order = rng.integers(0, len(items), s.steps)
        for step in range(len(self.seen), s.steps):
            if s.log:
                with open(s.log, "a") as log:
                    log.write(f"{os.getpid()} {seed} {step}\n")
            while s.go and step == s.steps // 2 and not os.path.exists(s.go):
                time.sleep(0.02)
            self.seen.append(items[order[step]].darkest)
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                state.with_suffix(".part").write_text(json.dumps(self.seen))
                state.with_suffix(".part").replace(state)
            if progress:
                progress(step + 1, s.steps, 0.0)

    def save(self, path):
        path.write_text(json.dumps(self.seen))


class Right:
    def __init__(self, scored):
        subjects = sorted({one.subject for one in scored})
        self.right = np.array([[o.row["right"] for o in scored if o.subject == s] for s in subjects], float).mean(1)
        self.held = {"right": len(subjects)}

    def values(self, times=None):
        return {"right": float(np.average(self.right, weights=times))}


@dataclass(frozen=True)
class Toy(Task[Darkness, bool]):
    margin: int = 0

    name = "toy"
    title = "Toy"
    note = "A toy."
    models = ("threshold",)
    members = ("image.png", "json")
    dataset = "give a toy dataset"
    shown: ClassVar = {"right": "right"}

    def item_of_case(self, case: Any) -> Darkness:
        return Darkness(case.subject, case.source_id, int(case.image.min()), len(case.lesions) > 0)

    def item_of_sample(self, sample: Any) -> Darkness:
        record = sample["json"]
        return Darkness(record["subject"], record["source_id"], int(sample["image.png"].min()), True)

    def settings(self, model):
        if model != "threshold":
            raise UsageError(f"no learner {model!r}")
        return ThresholdSettings()

    def learner(self, settings, device, cache=None):
        return Threshold(settings)

    def load(self, path, device):
        learner = Threshold(ThresholdSettings())
        learner.seen = json.loads(path.read_text())
        return self, learner

    def predict(self, learner, items):
        return [item.darkest + self.margin < np.mean(learner.seen) for item in items]

    def score(self, item, prediction):
        return Scored(item.subject, {"right": bool(prediction == item.lesion)})

    def measures(self, scored):
        return Right(scored)

    def arms(self, data):
        return list(data)

    def data_of_arm(self, arm, data):
        if arm != REAL and arm not in data:
            raise UsageError(f"arm {arm!r} is unknown")
        return None if arm == REAL else arm

    def training_set(self, arm, size, seed, real, synthetic):
        return TrainingSet(real[:size], synthetic, 0.5)


TOY = "tests.jobs.studies.toy_task:Toy"
