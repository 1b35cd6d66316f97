"""Frames with a known vessel and a catheter."""

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 256


def line(points, width, side=SIDE):
    """Where a polyline (n, 2) of row and column is, as wide as given."""
    rows, cols = np.mgrid[:side, :side]
    out = np.zeros((side, side), bool)
    for (y0, x0), (y1, x1) in itertools.pairwise(points):
        t = ((rows - y0) * (y1 - y0) + (cols - x0) * (x1 - x0)) / max((y1 - y0) ** 2 + (x1 - x0) ** 2, 1e-9)
        t = np.clip(t, 0, 1)
        out |= np.hypot(rows - y0 - t * (y1 - y0), cols - x0 - t * (x1 - x0)) <= width / 2
    return out


def drawn(seed, side=SIDE, catheter=True):
    """A frame, and labels: a vessel that winds and a straight catheter from the upper border."""
    rng = np.random.default_rng(seed)
    ostium = rng.uniform(0.3, 0.5, 2) * side
    way = [ostium]
    heading = rng.uniform(0.2, 1.3)
    while len(way) < 14:
        heading += rng.normal(0, 0.5)
        way.append(way[-1] + 0.05 * side * np.array([np.sin(heading), np.cos(heading)]))
    vessel = line(way, rng.uniform(6, 10), side)
    tube = line([(-10, rng.uniform(0.1, 0.9) * side), ostium], 5, side) & ~vessel if catheter else vessel & False
    ground = 150 + 25 * gaussian_filter(rng.standard_normal((side, side)), 20) * 20
    dark = gaussian_filter(0.5 * vessel + 0.35 * tube, 0.8)
    grey = ground * np.exp(-dark) + rng.normal(0, 3, (side, side))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8), (vessel + 2 * tube).astype(np.uint8)


class Drawn:
    """Labelled frames by number, as ``jobs.fit.crops.LabelledFrames``."""

    def __init__(self, first, count=12):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return drawn(self.first + number)
