"""Cubes that a network learns from, by number.

Patch number n is a pure function of (key, n): its scan, place and augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import placed
from lesionforge.generators.lesion.learned.crop import Cube, unit
from lesionforge.generators.types import stream
from lesionforge.jobs.tasks.segmentation.scans import Scan

AWAY = 0.25  # of the side: how far the lesion's voxel is from the patch's middle at most
FLIP, TURN, CHANGE = 0.2, 0.2, 0.15  # chances: of each axis, of quarter turns, of grey values (DiffTumor's)
GREY = 0.1  # largest relative change of contrast, and largest shift of the window's 0 ... 1


class Patches:
    """Patches of real and synthetic scans, as a map from number to arrays; safe to send to loading processes.

    Every class of lesion that a pool has comes as often as the others.

    Args:
        real, synthetic: scans; either may be empty.
        real_share: of the patches, where there are both; met exactly, not on average.
        positive: share of patches about a lesion; the others are anywhere.
        key: of everything drawn.
        side: of the patches, voxels.
        window: HU that become 0 and 1.
        count: of patches.
    """

    def __init__(
        self,
        real: Sequence[Scan],
        synthetic: Sequence[Scan],
        real_share: float,
        positive: float,
        key: str,
        side: int,
        window: tuple[float, float],
        count: int,
    ) -> None:
        self._positive = positive
        self._share = real_share if real and synthetic else float(bool(real))
        self._pools = [list(synthetic), list(real)]
        self._having = [_by_class(pool) for pool in self._pools]
        self._key, self._side, self._window, self._count = key.encode(), side, window, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Image (1, s, s, s), 0 ... 1 before its grey values are changed, and target (1, s, s, s)."""
        rng = stream(self._key, f"patch/{number}")
        real = int((number + 1) * self._share + 1e-9) > int(number * self._share + 1e-9)
        pool, having = self._pools[real], self._having[real]
        if having and rng.random() < self._positive:
            value = sorted(having)[rng.integers(len(having))]
            scan = having[value][rng.integers(len(having[value]))]
            voxels = scan.voxels[value]
            away = int(AWAY * self._side)
            middle = (voxels[rng.integers(len(voxels))] + rng.integers(-away, away + 1, 3)).tolist()
        else:
            scan = pool[rng.integers(len(pool))]
            middle = [int(rng.integers(n)) for n in scan.hu.shape]
        corner = (placed(m - self._side // 2, self._side, n) for m, n in zip(middle, scan.hu.shape, strict=True))
        i, j, k = corner
        cube = Cube((i, j, k), self._side)
        image = unit(cube.cut(scan.hu), self._window) / np.float32(2) + np.float32(0.5)
        return _augmented(image, cube.cut(scan.target), rng)


def _by_class(pool: Sequence[Scan]) -> dict[int, list[Scan]]:
    values = sorted({value for scan in pool for value in scan.voxels})
    return {value: [scan for scan in pool if value in scan.voxels] for value in values}


def _augmented(
    image: NDArray[np.float32], target: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    axes = tuple(np.flatnonzero(rng.random(3) < FLIP).tolist())
    image, target = np.flip(image, axes), np.flip(target, axes)
    if rng.random() < TURN:
        turns = int(rng.integers(1, 4))
        image, target = np.rot90(image, turns), np.rot90(target, turns)  # in the axial plane, whose voxels are square
    if rng.random() < CHANGE:
        image = image * np.float32(1 + rng.uniform(-GREY, GREY))
    if rng.random() < CHANGE:
        image = image + np.float32(rng.uniform(-GREY, GREY))
    return np.ascontiguousarray(image[None]), np.ascontiguousarray(target[None])
