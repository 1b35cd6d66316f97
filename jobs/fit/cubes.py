"""What the models of lesions learn from: cubes of a made dataset, each about a lesion or of healthy tissue.

Cube number n is a pure function of (seed, n): its volume, place, lesion, flips, noise and noise level. So fitting
resumes exactly, and no process needs to know what another one drew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.diffusion.batches import placed
from lesionforge.generators.lesion.blend import halo_mm
from lesionforge.generators.lesion.classes import CLASSES, EARLY_MM
from lesionforge.generators.lesion.learned.crop import LEVEL_MM, Cube, about, hidden, level, regions, views
from lesionforge.generators.lesion.learned.filler import SPACING_TOLERANCE
from lesionforge.generators.lesion.learned.settings import HEALTHY
from lesionforge.generators.types import array_member, stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning.loop import Item
from lesionforge.jobs.studies.places import chosen
from lesionforge.sinks.reader import Samples

LEAST_VOXELS = 8  # a smaller part of a mask is a stray
TRIES = 20  # volumes looked at for a lesion
AWAY = 0.25  # of the side: how far a lesion's middle is from the cube's at most
KEPT = 2**28  # voxels of the volumes last read that stay in memory, 3 bytes each


class Lesion(NamedTuple):
    """One of a volume: its class; from voxel ``start`` on its ``mask`` and with its halo, ``hole``; its organ's HU."""

    kind: str
    start: tuple[int, ...]
    mask: NDArray[np.bool_]
    hole: NDArray[np.bool_]
    level: float


@dataclass(frozen=True)
class Volume:
    """One sample: CT, labels and what their values mean."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    legend: dict[int, str]
    spacing_mm: tuple[float, float, float]
    _found: dict[tuple[str, ...], list[Lesion]] = field(default_factory=dict, repr=False)

    def lesions(self, classes: Sequence[str], halo: float) -> list[Lesion]:
        """Every lesion: what touches by faces is one; ``halo`` in mm is the least that it shows beyond its label."""
        if (known := self._found.get(tuple(classes))) is not None:
            return known
        found = self._found[tuple(classes)] = [
            self._lesion(kind, own, box, halo_mm(kind, radius, halo, self.spacing_mm))
            for kind, own, box, radius in self._parts(classes[1:])
        ]
        return found

    def kinds(self) -> set[str]:
        """Classes of its lesions, whoever drew or marked them."""
        return {kind for kind, *_ in self._parts(CLASSES[1:])}

    def _parts(self, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_], tuple[slice, ...], float]]:
        """Class, voxels, box and equivalent radius in mm of every lesion of the classes.

        A real tumour, known by its organ alone, is early up to a radius of 10 mm, else late.
        """
        for value in np.unique(self.labels):
            name = self.legend.get(int(value), "")
            if name not in classes and not name.endswith("_tumour"):
                continue
            parts, _ = ndimage.label(self.labels == value)
            sizes = np.bincount(parts.ravel())
            for number, box in enumerate(ndimage.find_objects(parts), 1):
                radius = (3 * sizes[number] * np.prod(self.spacing_mm) / (4 * np.pi)) ** (1 / 3)
                stage = "early" if radius <= EARLY_MM else "late"
                kind = f"{name.removesuffix('_tumour')}_{stage}" if name.endswith("_tumour") else name
                if sizes[number] >= LEAST_VOXELS and kind in classes:
                    yield kind, parts == number, box, radius

    def _lesion(self, kind: str, own: NDArray[np.bool_], box: tuple[slice, ...], halo: float) -> Lesion:
        whole = np.zeros(self.labels.shape, bool)
        whole[box] = own[box]
        near = about(whole, max(halo, LEVEL_MM), self.spacing_mm)
        mask, labels = whole[near].copy(), self.labels[near]
        hole = hidden(mask, labels, self.legend, halo, self.spacing_mm)
        hu = level(self.hu[near], labels, self.legend, hole, kind)
        return Lesion(kind, tuple(s.start for s in near), mask, hole, hu)


class Volumes:
    """The samples of datasets made by the ``lesion`` generator.

    Raises:
        UsageError: no sample of that split, one that lacks a member, or voxels of different sizes.
    """

    def __init__(self, places: Sequence[str], split: str) -> None:
        self._data: list[Samples] = []
        self._names: list[tuple[str, str]] = []  # of CT and label map in each dataset
        self.classes: set[str] = set()
        spacings: list[Any] = []
        kinds: list[set[str]] = []
        for place in places:
            names = chosen(place, split).members
            try:
                ct, label = (array_member(stem, names) or f"{stem}.npy" for stem in ("ct", "label"))
                samples = Samples(place, split=split, members=(ct, label, "json"))
                spacings += samples.column("labels.spacing_mm")
                lesions = samples.column("labels.lesions")
            except ValueError as error:
                raise UsageError(f"{error}: give datasets of the lesion generator") from None
            kinds += [{one["class"] for one in some} for some in lesions]
            self._data.append(samples)
            self._names.append((ct, label))
        self._numbers = [(d, n) for d, samples in enumerate(self._data) for n in range(len(samples))]
        self._kept: OrderedDict[int, Volume] = OrderedDict()
        drawn = {d for (d, _), some in zip(self._numbers, kinds, strict=True) if some}
        for number, (d, _) in enumerate(self._numbers):
            if d not in drawn:  # its lesions are the source's own, which label maps alone show
                kinds[number] = self[number].kinds()
        self.classes = set().union(*kinds)
        self._spacings = np.array(spacings, float)
        #: Edges of the voxels that each class is seen in.
        self.spacings_mm = {
            kind: _same(self._spacings[[kind in some for some in kinds]]) for kind in sorted(self.classes)
        }

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edges of the voxels of all volumes.

        Raises:
            UsageError: where they are not the same.
        """
        return _same(self._spacings)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Volume:
        volume = self._kept.pop(number) if number in self._kept else self._read(number)
        self._kept[number] = volume
        while len(self._kept) > max(1, KEPT // volume.hu.size):
            self._kept.popitem(last=False)
        return volume

    def _read(self, number: int) -> Volume:
        dataset, n = self._numbers[number]
        sample = self._data[dataset][n]
        told = sample["json"]
        legend = {int(value): name for value, name in told["legend"].items()}
        ct, label = self._names[dataset]
        return Volume(sample[ct], sample[label], legend, tuple(told["spacing_mm"]))


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
    ) -> None:
        self._volumes, self._side, self._window = volumes, side, window
        self._halo_mm, self._bend_hu = halo_mm, bend_hu
        self._level = level
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
        """About a lesion: of a class that the volume has, each of them as often, then one of its lesions."""
        for _ in range(TRIES):
            volume = self._volumes[int(rng.integers(len(self._volumes)))]
            lesions = volume.lesions(self._classes, self._halo_mm)
            if not lesions:
                continue
            kinds = sorted({one.kind for one in lesions})
            kind = kinds[rng.integers(len(kinds))]
            same = [one for one in lesions if one.kind == kind]
            lesion = same[rng.integers(len(same))]
            voxels = np.argwhere(lesion.mask)
            fits = (np.ptp(voxels, axis=0) < 2 * AWAY * self._side).all()
            middle = (voxels.min(axis=0) + voxels.max(axis=0)) // 2 if fits else voxels[rng.integers(len(voxels))]
            cube = self._about(rng, (middle + lesion.start).tolist(), volume.hu.shape)
            if cube.cut_part(lesion.mask, lesion.start, volume.hu.shape).any():
                return self._views(volume, cube, lesion)
        raise UsageError(
            f"no lesion of {', '.join(self._classes[1:])} in {TRIES} volumes: look at the datasets' labels"
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


def _same(spacings: NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = np.median(spacings, axis=0).tolist()
    if (abs(spacings / (a, b, c) - 1) > SPACING_TOLERANCE).any():
        low, high = spacings.min(0).round(2).tolist(), spacings.max(0).round(2).tolist()
        raise UsageError(f"voxels are {low} to {high} mm: resample the source (one spacing for one model)")
    return a, b, c


def ordered(classes: set[str]) -> tuple[str, ...]:
    """Classes of lesions in their usual order, ``healthy`` the first."""
    return (HEALTHY, *(name for name in CLASSES if name in classes and name != HEALTHY))
