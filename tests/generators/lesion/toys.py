"""Small CT volumes whose truth is known: organs as ellipsoids, a vessel as a tube; and a source of them for recipes."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lesionforge.engine.sources.base import Source
from lesionforge.generators.types import BadCase, SampleSpec, Volume

ORGANS = {1: "liver", 2: "kidney_right", 3: "pancreas", 4: "spleen"}
ORGAN_HU = {1: 105, 2: 150, 3: 95, 4: 115}
FAT, MUSCLE, LUMEN = -95, 60, 330
TUBE_MM = 1.7  # radius of the vessel
STEP_MM = 0.4


def spec(n: int = 0, target: str | None = None, attempt: int = 0) -> SampleSpec:
    """A sample of its own."""
    return SampleSpec(f"train-{n:04d}", "train", 0, 0, 0, target, hashlib.sha256(f"{n}".encode()).digest(), attempt)


def volume(hu, labels, legend, spacing, seed=0) -> Volume:
    name = hashlib.sha256(hu.tobytes() + bytes([seed])).hexdigest()[:16]
    return Volume(f"subject{seed}", name, "none", hu, spacing, (-10.0, 20.0, 30.0), labels, legend)


def noisy(hu, rng, sigma, grain=0.7):
    """Rounded, with correlated noise of that standard deviation."""
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape), grain)
    return np.rint(hu + sigma * noise / noise.std()).astype(np.int16)


def abdomen(seed: int = 0, shape=(84, 72, 56), spacing=(1.5, 1.5, 1.5), sigma=10.0) -> Volume:
    """A liver, a kidney and a pancreas in fat, a spleen beside them."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    labels = np.zeros(shape, np.uint8)
    for value, centre, axes in (
        (1, (35, 54, 42), (30, 44, 36)),
        (2, (88, 78, 36), (20, 17, 28)),
        (3, (92, 34, 44), (24, 12, 14)),
        (4, (112, 82, 64), (9, 12, 12)),
    ):
        far = sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), centre, axes, strict=True))
        labels[far <= 1] = value
    hu = np.full(shape, FAT, float)
    for value, level in ORGAN_HU.items():
        hu[labels == value] = level
    return volume(noisy(ndimage.gaussian_filter(hu, 0.5), rng, sigma), labels, ORGANS, spacing, seed)


def centreline(length_mm: float = 44.0) -> np.ndarray:
    """A gently bent line, (n, 3) mm."""
    t = np.arange(0, length_mm, 0.1)
    return np.stack([6 + 2.5 * np.sin(t / 14), 12 + 3 * np.cos(t / 17), 3 + t], axis=1)


def vessel(seed: int = 0, edge=(48, 60, 124), sigma=12.0, radius=TUBE_MM, line=None) -> Volume:
    """A tube of contrast in fat, muscle below it; the label is the tube's voxels."""
    rng = np.random.default_rng(seed)
    line = centreline() if line is None else line
    grid = np.stack(np.meshgrid(*(np.arange(n) * STEP_MM for n in edge), indexing="ij"), axis=-1)
    gap, _ = cKDTree(line).query(grid)
    labels = (gap <= radius).astype(np.uint8)
    hu = np.where(grid[..., 1] > 17.5, MUSCLE, FAT).astype(float)
    hu[gap <= radius + 0.4] = 40
    hu[labels > 0] = LUMEN
    hu = noisy(ndimage.gaussian_filter(hu, 0.4 / STEP_MM), rng, sigma)
    return volume(hu, labels, {1: "coronary"}, (STEP_MM,) * 3, seed)


@dataclass(frozen=True)
class ToyOptions:
    kind: str = "abdomen"
    count: int = 2


class Toy(Source):
    """A source of these volumes, for recipes: ``tests.generators.lesion.toys.Toy:here``."""

    Options: ClassVar[type[ToyOptions]] = ToyOptions
    public_place = True
    licence = "none"

    def __init__(self, place: str, options: ToyOptions) -> None:
        super().__init__(place, options)
        self.subjects = options.count

    def fingerprint(self) -> str:
        return f"lesion toys {self.options}"

    def read(self, case: int) -> Volume:
        if case >= self.options.count:
            raise BadCase("no such case")
        return abdomen(case) if self.options.kind == "abdomen" else vessel(case)


class Thin(Toy):
    """The same, of fewer slices."""

    def read(self, case: int) -> Volume:
        return abdomen(case, shape=(84, 72, 44))
