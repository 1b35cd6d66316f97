"""Small worlds with known lesions, for tests of detection."""

from dataclasses import dataclass

import numpy as np

from lesionforge.engine.sources.base import Source
from lesionforge.generators.base import Generator
from lesionforge.generators.types import Angiogram, Lesion, Panel, Sample
from lesionforge.jobs.tasks.detection.frames import Detections, Frame
from lesionforge.jobs.tasks.detection.task import Detection


def frame(boxes=(), classes=(), *, image=None, subject="s", drawn=None, ignore=(), **names):
    image = np.full((512, 512), 128, np.uint8) if image is None else image
    drawn = np.zeros(len(boxes), bool) if drawn is None else np.array(drawn, bool)
    return Frame(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        drawn,
        subject=subject,
        source_id=names.pop("source_id", subject),
        ignore=np.array(ignore, np.float32).reshape(-1, 4),
        **names,
    )


def found(boxes=(), scores=()):
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32).reshape(-1, 2))


def random_world(rng, frames=40, ignored=False):
    """Lesions, and detections that hit some of them more or less; a fifth of the frames have no lesion."""
    image = np.zeros((512, 512), np.uint8)
    world, said = [], []
    for i in range(frames):
        n = 0 if i % 5 == 0 else int(rng.integers(1, 4))
        corner, size = rng.uniform(0, 400, (n, 2)), rng.uniform(25, 80, (n, 1)) * np.ones((1, 2))
        boxes = np.concatenate([corner, corner + size], 1)
        near = boxes + rng.normal(0, 6, boxes.shape)
        far = rng.uniform(0, 400, (int(rng.integers(0, 5)), 2))
        far = np.concatenate([far, far + rng.uniform(25, 80, (len(far), 1))], 1)
        guesses = np.concatenate([near, near + rng.normal(0, 8, near.shape), far])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        scores = rng.uniform(0.01, 1, (len(guesses), 1)) * np.array([1, 0]) + rng.uniform(0, 0.5, (len(guesses), 2))
        blind = far[:1] + 3 if ignored else ()
        world.append(
            frame(boxes, rng.integers(0, 2, n), image=image, subject=str(i // 2), ignore=blind, drawn=np.zeros(n))
        )
        said.append(found(guesses, scores))
    return world, said


@dataclass(frozen=True)
class ToyOptions:
    cases: int = 8
    first: int = 0


class ToySource(Source):
    """Frames with dark dots as lesions, moderate and severe by turns, and every fourth frame without any."""

    Options = ToyOptions
    licence = "none"

    def __init__(self, place, options):
        super().__init__(place, options)
        self.subjects, self.first = options.cases, options.first

    def fingerprint(self):
        return f"toy {self.first} {self.subjects}"

    def read(self, case):
        number = self.first + case
        image, lesions = noise(number), []
        if number % 4:
            box = dot(image, np.random.default_rng(number))
            lesions = [Lesion(box, ("moderate", "severe")[number % 2]), Lesion((5, 5, 30, 30), "mild")]
        mask = np.ones(image.shape, bool) if number % 8 != 7 else None
        return Angiogram(f"patient {number}", f"id{number}", "none", image, mask, lesions=tuple(lesions))


@dataclass(frozen=True)
class ToyParams:
    keep_source: bool = True


class ToyGenerator(Generator):
    """Adds one dot of the target class to a frame."""

    Params = ToyParams
    classes = ("moderate", "severe")

    def generate(self, cases, specs):
        for case, spec in zip(cases, specs, strict=True):
            image = case.image.copy()
            box = dot(image, spec.rng("dot"))
            lesions = [{"box": s.box, "severity_class": s.severity_class, "synthetic": False} for s in case.lesions]
            lesions += [{"box": box, "severity_class": spec.target, "synthetic": True}]
            fields = {"image.png": image}
            if self.params.keep_source:
                fields["source.png"] = case.image
            yield Sample(spec, fields, {"lesions": lesions}, {}, {})

    def sample_bytes(self):
        return 300_000

    def panels(self, fields, meta):
        return [Panel("frame", {"image": fields["image.png"]})]


def noise(seed, side=256):
    return np.random.default_rng(seed).normal(150, 8, (side, side)).clip(1, 255).astype(np.uint8)


def dot(image, rng, size=24):
    """Darken a disc; its box."""
    x, y = (int(v) for v in rng.integers(0, np.array(image.shape[::-1]) - size))
    yy, xx = np.mgrid[:size, :size] - (size - 1) / 2
    patch = image[y : y + size, x : x + size]
    patch[np.hypot(yy, xx) < size / 3] //= 3
    return (float(x), float(y), float(x + size), float(y + size))


HERE = "tests.jobs.tasks.detection.worlds"
TRAIN, TEST = {"cases": 12}, {"cases": 8, "first": 100}


def make_dataset(folder, **params):
    """A dataset of the toy generator on the toy source's frames, through the engine: 4 samples a frame."""
    import yaml

    from lesionforge.jobs.commands.generate import generate

    recipe = {
        "name": "toy",
        "seed": 1,
        "sources": [{"uri": f"{HERE}.ToySource:here", "options": TRAIN, "split": {"train": 1}}],
        "generator": {"name": f"{HERE}.ToyGenerator", "params": params},
        "multiply": 4,
        "splits": ["train"],
        "balance": {"moderate": 0.5, "severe": 0.5},
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(recipe))
    generate(path, str(folder / "toy"), 1, True, [])
    return str(folder / "toy")


def detector(name, **changes):
    """A fresh detector."""
    task = Detection()
    return task.learner(task.changed(name, changes), "cpu")
