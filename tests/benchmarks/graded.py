"""Lesions that experts graded, by the meter that no lesion is drawn by."""

from __future__ import annotations

import numpy as np

from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.engine.sources.pictures.arcade_index import Part
from lesionforge.generators.vessel.finder.finder import Finder
from tests.generators.stenosis import half_depth

CLASSES = ("mild", "moderate", "severe")
CALLED = ((0.0, 53.0, 65.0, 100.0), (0.0, 60.0, 80.0, 100.0))  # half-depth %DS of real lesions, and what experts say


def graded(folder: str, part: Part, labels: str) -> dict[str, list[float]]:
    """Half-depth %DS of the lesions that experts graded, by class; where no mask says where vessels run, the finder."""
    source = Arcade(folder, ArcadeOptions(part=part, require="lesions", labels=labels))
    own = Finder.load()
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for frame in map(source.read, range(source.cases)):
        lines = half_depth.vessels(own.find(frame.image).vessel if frame.mask is None else frame.mask)
        for lesion in frame.lesions:
            x0, y0, x1, y1 = lesion.box
            read, _ = half_depth.at_place(frame.image, lines, ((x0 + x1) / 2, (y0 + y1) / 2))
            if lesion.severity_class and np.isfinite(read):
                found[lesion.severity_class].append(read)
    return found
