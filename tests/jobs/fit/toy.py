"""A toy of the task: upright tubes of known %DS in noise, and a meter that shares nothing with the package's QCA."""

import numpy as np
from scipy.ndimage import gaussian_filter

from lesionforge.generators.stenosis.diffusion.crop import views
from lesionforge.generators.types import stream

SIDE = 24
BOX = (2, 4, 22, 20)  # x0, y0, x1, y1: hidden
CENTRE, REACH, DEPTH = 12, 6, 80  # row of the lesion, its half-length, contrast of the tube


def tube(rng, percent_ds=None):
    """Image uint8 (24, 24), vessel mask, %DS: a tube 7 to 10 px wide with a cosine lesion."""
    drawn, width, centre, ground = rng.uniform(0, 90), rng.uniform(7, 10), rng.uniform(11, 13), rng.uniform(150, 200)
    percent_ds = drawn if percent_ds is None else percent_ds
    rows = np.arange(SIDE)
    shape = np.where(abs(rows - CENTRE) < REACH, 0.5 + 0.5 * np.cos(np.pi * (rows - CENTRE) / REACH), 0)
    half = width / 2 * (1 - percent_ds / 100 * shape)
    fine = (np.arange(SIDE * 8) + 0.5) / 8 - 0.5
    share = (abs(fine - centre) < half[:, None]).reshape(SIDE, SIDE, 8).mean(2)
    image = ground - DEPTH * gaussian_filter(share, 0.7) + rng.normal(0, 3, (SIDE, SIDE))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), share > 0.5, percent_ds


def hole():
    x0, y0, x1, y1 = BOX
    inside = np.zeros((SIDE, SIDE), bool)
    inside[y0:y1, x0:x1] = True
    return inside


def percent_ds(image):
    """%DS from the missing light of each row, its background taken at both ends of the row inside the box."""
    x0, _, x1, _ = BOX
    rows = image[:, x0:x1].astype(float)
    ground = np.hstack([rows[:, :3], rows[:, -3:]]).mean(1)
    width = (ground[:, None] - rows).sum(1) / DEPTH
    healthy = np.median(np.r_[width[:5], width[-5:]])
    return 100 * (1 - width[CENTRE - 1 : CENTRE + 2].mean() / healthy)


class Toy:
    """Crops by number, as ``jobs.fit.pairs.Pairs`` gives them."""

    def __init__(self, shape, seed=b"toy", levels=1000):
        self.shape, self.seed, self.levels = shape, seed, levels

    def __getitem__(self, number):
        rng = stream(self.seed, f"tube/{number}")
        image, mask, _ = tube(rng)
        return {
            **views(image, mask, hole()),
            "prompt": "coronary angiogram",
            "noise": rng.standard_normal(self.shape, np.float32),
            "time": np.int64(rng.integers(self.levels)),
        }
