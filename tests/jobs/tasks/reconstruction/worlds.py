"""Small bi-plane datasets of phantom trees, through the engine; and a result of a run as reports read it."""

import numpy as np

from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.studies.places import DataPlace, read
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction

GRID, SIZE = 40, 24
TINY = {"steps": 2, "channels": [8, 8], "held": 0.34}


def make_dataset(folder, name="trees", *, subjects=6, sides=("left", "right"), split=None, **params):
    """Trees of some subjects; the place."""
    split = split or {"train": 0.5, "val": 0.2, "test": 0.3}
    recipe = {
        "name": "toy",
        "seed": 1,
        "sources": [
            {
                "uri": "phantom:coronary",
                "options": {"count": subjects, "sides": list(sides), "voxel_mm": 0.8},
                "split": split,
            }
        ],
        "generator": {
            "name": "biplane",
            "params": {"grid": GRID, "detector": 160, "resample": SIZE, "spacing_mm": [3.0, 4.0], **params},
        },
        "splits": list(split),
        "shard": {"samples": 4},
    }
    place = str(folder / name)
    generate(recipe, place, in_process=True)
    return place


def pairs(place, split="train", **options):
    """Its items."""
    return read(Reconstruction(**{"size": SIZE} | options), DataPlace(place, split, option="--real")).items


def result(model, seed, scores, size=None, arm="real"):
    """A run's, of so many scores by name."""
    return {
        "run": {"model": model, "seed": seed, "size": size, "arm": arm},
        "scores": scores,
        "held": dict.fromkeys(scores, 9),
        "draws": {name: np.random.default_rng(0).normal(value, 0.01, 20).tolist() for name, value in scores.items()},
        "test": {"digest": "d"},
    }
