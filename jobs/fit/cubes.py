"""What the models of lesions learn from: cubes of a made dataset, each about a lesion or of healthy tissue.

Cube number n is a pure function of (seed, n): its volume, place, lesion, flips, noise and noise level. So fitting
resumes exactly, and no process needs to know what another one drew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from lesionforge.generators.diffusion.batches import placed
from lesionforge.generators.lesion.learned.crop import Cube, regions, views
from lesionforge.generators.lesion.learned.job import SPACING_TOLERANCE
from lesionforge.generators.lesion.learned.settings import HEALTHY
from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.volumes import Lesion, Volume, Volumes
from lesionforge.jobs.learning.loop import Item
from lesionforge.sinks.card import counted

AWAY = 0.25  # of the side: how far a lesion's middle is from the cube's at most


class Cubes:
    """Cubes as a map from number to arrays; safe to send to loading processes.

    Args:
        volumes: to cut from.
        key: of everything drawn.
        side: of the cubes, voxels.
        window: HU that become -1 and 1.
        classes: of lesions, ``healthy`` the first.
        healthy: share of cubes anywhere in a volume, with nothing hidden.
        halo_mm: least reach of what is hidden about a lesion.
        bend_hu: of the window, see ``learned.crop.unit``.
        empty: share of prompts left away, for classifier-free guidance.
        noise: shape of the noise and number of noise levels; None for an autoencoder.
        level: whether the hole holds its organ's level, and cubes may be turned about: for a model of voxels.
        among: numbers of the volumes that have such lesions; None: any may.
    """

    def __init__(
        self,
        volumes: Volumes,
        key: str,
        side: int,
        window: tuple[float, float],
        classes: Sequence[str],
        healthy: float,
        halo_mm: float,
        bend_hu: float = 0.0,
        empty: float = 0.0,
        noise: tuple[tuple[int, ...], int] | None = None,
        level: bool = False,
        among: Sequence[int] | None = None,
    ) -> None:
        self._volumes, self._side, self._window = volumes, side, window
        self._halo_mm, self._bend_hu = halo_mm, bend_hu
        self._level, self._among = level, range(len(volumes)) if among is None else among
        self._turn = level and all(max(s) <= (1 + SPACING_TOLERANCE) * min(s) for s in volumes.spacings_mm.values())
        self._classes, self._healthy, self._empty, self._noise = tuple(classes), healthy, empty, noise
        self._key = hashlib.blake2b(key.encode(), digest_size=32).digest()

    def __getitem__(self, number: int) -> Item:
        rng = stream(self._key, f"cube/{number}")
        item = self._healthy_cube(rng) if rng.random() < self._healthy else self._lesion_cube(rng)
        axes = tuple((1 + np.flatnonzero(rng.random(3) < 0.5)).tolist())
        item = {n: np.flip(a, axes).copy() if np.ndim(a) == 4 else a for n, a in item.items()}
        if self._turn:
            order = (0, *(1 + rng.permutation(3)).tolist())
            item = {n: a.transpose(order).copy() if np.ndim(a) == 4 else a for n, a in item.items()}
        item["drop"] = np.bool_(rng.random() < self._empty)
        if self._noise is not None:
            shape, levels = self._noise
            item |= {"noise": rng.standard_normal(shape, np.float32), "time": np.int64(rng.integers(levels))}
        else:
            item |= {"seed": np.int64(rng.integers(2**31)), "slices": rng.integers(self._side, size=3)}
        return item

    def _lesion_cube(self, rng: np.random.Generator) -> Item:
        """About a lesion of one of the volumes: of a class that it has, each of them as often, then one of its."""
        for number in rng.permutation(np.array(self._among, np.int64)).tolist():  # nearly always the first
            volume = self._volumes[number]
            lesions = volume.lesions(self._classes, self._halo_mm)
            if not lesions:
                continue
            kinds = sorted({one.kind for one in lesions})
            kind = kinds[rng.integers(len(kinds))]
            same = [one for one in lesions if one.kind == kind]
            lesion = same[rng.integers(len(same))]
            voxels = np.argwhere(lesion.mask)
            voxel = voxels[rng.integers(len(voxels))]
            fits = (np.ptp(voxels, axis=0) < 2 * AWAY * self._side).all()
            middle = (voxels.min(axis=0) + voxels.max(axis=0)) // 2 if fits else voxel
            cube = self._about(rng, (middle + lesion.start).tolist(), volume.hu.shape)
            if not cube.cut_part(lesion.mask, lesion.start, volume.hu.shape).any():  # of a crescent
                cube = self._about(rng, (voxel + lesion.start).tolist(), volume.hu.shape)
            return self._views(volume, cube, lesion)
        raise UsageError(
            f"no lesion of {', '.join(self._classes[1:])} with its organ or vessel beside it in "
            f"{counted(len(self._among), 'volume')}: look at the datasets' labels"
        )

    def _healthy_cube(self, rng: np.random.Generator) -> Item:
        volume = self._volumes[int(rng.integers(len(self._volumes)))]
        middle = [int(rng.integers(n)) for n in volume.hu.shape]
        cube = self._about(rng, middle, volume.hu.shape)
        return self._views(volume, cube, None)

    def _about(self, rng: np.random.Generator, middle: Sequence[int], shape: Sequence[int]) -> Cube:
        away = int(AWAY * self._side)
        corner = [m - self._side // 2 + int(rng.integers(-away, away + 1)) for m in middle]
        i, j, k = (placed(c, self._side, n) for c, n in zip(corner, shape, strict=True))
        return Cube((i, j, k), (self._side,) * 3)

    def _views(self, volume: Volume, cube: Cube, lesion: Lesion | None) -> Item:
        """``lesion``: the one that is hidden; None: nothing is."""
        labels = cube.cut(volume.labels)
        mask = hole = np.zeros(labels.shape, bool)
        if lesion:
            mask, hole = (cube.cut_part(p, lesion.start, volume.hu.shape) for p in (lesion.mask, lesion.hole))
        kind = lesion.kind if lesion else HEALTHY
        # Real tumours of other classes are neither this lesion nor healthy: they are in the mask as anything else is.
        region = regions(labels, volume.legend, mask, kind, self._classes)
        level = lesion.level if lesion and self._level else None
        return views(cube.cut(volume.hu), hole, region, self._classes.index(kind), self._window, self._bend_hu, level)
