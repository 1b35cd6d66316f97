"""A toy of the task: balls of two classes, bright and dark, in noisy tissue of a level of its own."""

import numpy as np

from lesionforge.generators.lesion.filler import Patch
from lesionforge.generators.lesion.learned.crop import regions, views
from lesionforge.generators.lesion.learned.settings import BEND_HU, BENT_WINDOW
from lesionforge.generators.types import stream

CLASSES = ("healthy", "calcified", "non_calcified")
HU = {"calcified": 200.0, "non_calcified": -120.0}
WINDOW = (-175.0, 250.0)
SPACING = (1.0, 1.0, 1.0)
NOISE_HU = 8.0


def tissue(rng, shape):
    return (rng.uniform(20, 60) + rng.normal(0, NOISE_HU, shape)).astype(np.float32)


def ball(shape, centre, radius):
    grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return (grid**2).sum(0) <= radius**2


def patch(lesion_class, rng, shape=(16, 16, 16), radius=4.0):
    """A ball to be drawn into tissue."""
    mask = ball(shape, [n / 2 for n in shape], radius)
    return Patch(tissue(rng, shape), mask, np.zeros(shape, np.uint8), {}, lesion_class, SPACING, radius)


class Balls:
    """Cubes by number, as ``jobs.fit.cubes.Cubes`` gives them."""

    def __init__(self, side, noise=None, seed=b"balls", classes=CLASSES, healthy=0.15, bent=False):
        self.side, self.noise, self.seed, self.classes, self.healthy = side, noise, seed, classes, healthy
        self.scale = (BENT_WINDOW, BEND_HU, 40.0) if bent else (WINDOW,)

    def __getitem__(self, number):
        rng = stream(self.seed, f"ball/{number}")
        shape = (self.side,) * 3
        hu, kind = tissue(rng, shape), "healthy"
        mask = np.zeros(shape, bool)
        if rng.random() >= self.healthy:
            kind = self.classes[1 + rng.integers(len(self.classes) - 1)]
            mask = ball(shape, rng.uniform(5, self.side - 6, 3), rng.uniform(2.5, 5))
            hu[mask] = HU[kind] + rng.normal(0, NOISE_HU, int(mask.sum()))
        region = regions(np.zeros(shape, np.uint8), {}, mask, kind, self.classes)
        item = views(hu, mask, region, self.classes.index(kind), *self.scale)
        if self.noise is None:
            return {**item, "seed": np.int64(rng.integers(2**31)), "slices": rng.integers(self.side, size=3)}
        levels_shape, levels = self.noise
        return {
            **item,
            "drop": np.bool_(rng.random() < 0.1),
            "noise": rng.standard_normal(levels_shape, np.float32),
            "time": np.int64(rng.integers(levels)),
        }
