"""Two vessels with known sides in one small CT volume, and a source of it; line integrals in closed form."""

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np

from lesionforge.engine.sources.base import Source
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import Volume
from tests.generators.lesion.toys import vessel, volume


@cache
def chest(seed: int = 0) -> Volume:
    """The toy vessel twice, side by side: the one on the patient's left has label 1, the other 2."""
    right, left = vessel(seed), vessel(seed + 50)
    labels = np.concatenate([2 * right.labels, left.labels])
    hu = np.concatenate([right.hu, left.hu])
    for array in (hu, labels):
        array.setflags(write=False)
    return volume(hu, labels, {1: "coronary_left", 2: "coronary_right"}, right.spacing_mm, seed)


def plain(seed: int = 0) -> Volume:
    """The same with one label for both."""
    known = chest(seed)
    return replace(known, labels=(known.labels > 0).astype(np.uint8), legend={1: "coronary"})


def chords(view: View, through, along, radius) -> np.ndarray:
    """Length in mm of every pixel's ray inside an endless cylinder: float64 (rows, cols)."""
    u, v, d = view.axes
    row, col = np.mgrid[: view.rows, : view.cols]
    x, y = (col - (view.cols - 1) / 2) * view.pixel_mm[1], (row - (view.rows - 1) / 2) * view.pixel_mm[0]
    ray = view.sid_mm * d + x[..., None] * u + y[..., None] * v
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    t = np.asarray(along, float) / np.linalg.norm(along)
    normal = np.cross(ray, t)
    sine = np.linalg.norm(normal, axis=-1)
    gap = np.abs(normal @ (np.asarray(through, float) - view.source_mm)) / sine
    return 2 * np.sqrt(np.maximum(radius**2 - gap**2, 0)) / sine


@dataclass(frozen=True)
class ToyOptions:
    count: int = 2


class Toy(Source):
    """A source of these volumes, for recipes: ``tests.generators.angio_ct.toys.Toy:here``."""

    Options: ClassVar[type[ToyOptions]] = ToyOptions
    public_place = True
    licence = "none"

    def __init__(self, place: str, options: ToyOptions) -> None:
        super().__init__(place, options)
        self.subjects = options.count

    def fingerprint(self) -> str:
        return f"angio_ct toys {self.options}"

    def read(self, case: int) -> Volume:
        return chest(case)
