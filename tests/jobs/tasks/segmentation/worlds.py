"""A toy of the task, through the engine: balls of two classes, bright and dark, in noisy tissue."""

from dataclasses import dataclass

import numpy as np
import yaml

from lesionforge.engine.sources.base import Source
from lesionforge.generators.base import Generator
from lesionforge.generators.lesion.classes import LEGEND, VALUE
from lesionforge.generators.types import Panel, Sample, Volume
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.studies.places import DataPlace, read
from lesionforge.jobs.tasks.segmentation.task import Segmentation
from tests.jobs.fit.balls import HU, ball, tissue

HERE = "tests.jobs.tasks.segmentation.worlds"
SIDE = 32
SPACING = (1.0, 1.0, 1.0)
TINY = {"patch": 16, "channels": [8, 16, 16], "batch": 4, "steps": 2, "positive": 0.5, "weight": 1.0}  # of a preset


@dataclass(frozen=True)
class ToyOptions:
    count: int = 6
    first: int = 0
    labelled: bool = False


class ToySource(Source):
    """Noise; ``labelled``: with a bright ball each, marked as the calcified plaque that it is meant to be."""

    Options = ToyOptions
    licence = "none"

    def __init__(self, place, options):
        super().__init__(place, options)
        self.subjects = options.count

    def fingerprint(self):
        return f"toy {self.options}"

    def read(self, case):
        number = self.options.first + case
        rng = np.random.default_rng(number)
        hu = tissue(rng, (SIDE,) * 3)
        labels = np.zeros(hu.shape, np.uint8)
        if self.options.labelled:
            labels[ball(hu.shape, (12, 16, 18), 5)] = 7
            hu[labels == 7] = HU["calcified"]
        hu = hu.astype(np.int16)
        return Volume(f"patient {number}", f"id{number}", "none", hu, SPACING, (0, 0, 0), labels, {7: "calcified"})


@dataclass(frozen=True)
class ToyParams:
    radius: float = 5.0
    spacing: float = 1.0


class ToyGenerator(Generator):
    """Adds one ball of the target class; none of class ``healthy``."""

    Params = ToyParams
    classes = ("healthy", "calcified", "non_calcified")

    def generate(self, cases, specs):
        for case, spec in zip(cases, specs, strict=True):
            hu, labels, rng = case.hu.copy(), np.zeros(case.hu.shape, np.uint8), spec.rng("ball")
            if spec.target != "healthy":
                mask = ball(hu.shape, rng.uniform(6, SIDE - 7, 3), self.params.radius)
                hu[mask] = HU[spec.target] + rng.normal(0, 8, int(mask.sum()))
                labels[mask] = VALUE[spec.target]
            told = {"lesions": [], "legend": {str(v): n for v, n in LEGEND.items()}}
            told["spacing_mm"] = [self.params.spacing] * 3
            yield Sample(spec, {"ct.npy": hu, "label.npy.gz": labels}, told, {}, {})

    def sample_bytes(self):
        return 100_000

    def panels(self, fields, meta):
        return [Panel("slice", {"image": np.zeros((8, 8), np.uint8)})]


def make_dataset(folder, name, *, classes=("calcified", "non_calcified"), first=0, count=9, split=None, **params):
    """A dataset of balls, made by the engine: two thirds of the subjects to learn from, one to be scored on."""
    split = split or {"train": 2 / 3, "val": 0, "test": 1 / 3}
    recipe = {
        "name": name,
        "seed": 1,
        "sources": [{"uri": f"{HERE}.ToySource:here", "options": {"count": count, "first": first}, "split": split}],
        "generator": {"name": f"{HERE}.ToyGenerator", "params": params},
        "multiply": 1,
        "splits": [each for each, share in split.items() if share],
        "balance": {each: 1 / len(classes) for each in classes},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    generate(path, str(folder / name), 1, True, [])
    return str(folder / name)


def scans_of(place, split="train", domain="ccta", options=None):
    """The scans of a place."""
    return read(Segmentation(domain), DataPlace(place, split, options or {})).items


def fresh(network="unet", **changes):
    """A network that has learnt nothing, of a minute's size."""
    task = Segmentation()
    return task.learner(task.changed(network, TINY | changes), "cpu")
