"""The CT volumes that models of lesions learn from: made datasets, and the lesions that their label maps show."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.lesion.blend import HALO_MM, about, beyond, halo_mm
from lesionforge.generators.lesion.classes import CLASSES, EARLY_MM, PLAQUES, home
from lesionforge.generators.lesion.learned.crop import LEVEL_MM, hidden, level
from lesionforge.generators.lesion.learned.job import SPACING_TOLERANCE
from lesionforge.generators.lesion.learned.settings import HEALTHY
from lesionforge.generators.types import array_member
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import chosen
from lesionforge.sinks.reader import Samples

LEAST_VOXELS = 8  # a smaller part of a mask is a stray
KEPT = 2**28  # voxels of the volumes last read that stay in memory, 3 bytes each


class Lesion(NamedTuple):
    """One of a volume: its class; from voxel ``start`` on its ``mask`` and with its halo, ``hole``.

    ``level``: its organ's or vessel's HU beside it; None: no voxel of that is labelled there.
    """

    kind: str
    start: tuple[int, ...]
    mask: NDArray[np.bool_]
    hole: NDArray[np.bool_]
    level: float | None


@dataclass(frozen=True)
class Volume:
    """One sample: CT, labels and what their values mean."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    legend: dict[int, str]
    spacing_mm: tuple[float, float, float]
    _found: dict[float, list[Lesion]] = field(default_factory=dict, repr=False)

    def lesions(self, classes: Sequence[str], halo: float) -> list[Lesion]:
        """Every lesion beside which its organ or vessel is labelled: only these tell what a lesion is in it.

        What touches by faces is one; ``halo`` in mm is the least that it shows beyond its label.
        """
        return [one for one in self._all(halo) if one.level is not None and one.kind in classes]

    def alone(self, halo: float) -> Counter[str]:
        """How many lesions of each class there are beside these."""
        return Counter(one.kind for one in self._all(halo) if one.level is None)

    def _all(self, halo: float) -> list[Lesion]:
        if halo not in self._found:
            self._found[halo] = [
                self._lesion(kind, own, box, halo_mm(kind, radius, halo, self.spacing_mm))
                for kind, own, box, radius in self._parts()
            ]
        return self._found[halo]

    def _parts(self) -> Iterator[tuple[str, NDArray[np.bool_], tuple[slice, ...], float]]:
        """Class, voxels, box and equivalent radius in mm of every lesion.

        A real tumour, known by its organ alone, is early up to a radius of 10 mm, else late.
        """
        for value in np.unique(self.labels):
            name = self.legend.get(int(value), "")
            if name not in CLASSES[1:] and not name.endswith("_tumour"):
                continue
            parts, _ = ndimage.label(self.labels == value)
            sizes = np.bincount(parts.ravel())
            for number, box in enumerate(ndimage.find_objects(parts), 1):
                radius = (3 * sizes[number] * np.prod(self.spacing_mm) / (4 * np.pi)) ** (1 / 3)
                stage = "early" if radius <= EARLY_MM else "late"
                kind = f"{name.removesuffix('_tumour')}_{stage}" if name.endswith("_tumour") else name
                if sizes[number] >= LEAST_VOXELS and kind in CLASSES:
                    yield kind, parts == number, box, radius

    def _lesion(self, kind: str, own: NDArray[np.bool_], box: tuple[slice, ...], halo: float) -> Lesion:
        whole = np.zeros(self.labels.shape, bool)
        whole[box] = own[box]
        near = about(whole, max(halo, LEVEL_MM), self.spacing_mm)
        mask, labels = whole[near].copy(), self.labels[near]
        hole = hidden(mask, labels, self.legend, halo, self.spacing_mm)
        if kind not in PLAQUES:  # as where they are drawn
            organ = np.isin(labels, [value for value, name in self.legend.items() if name == home(kind)])
            hole &= ~beyond(mask, organ, self.spacing_mm)
        hu = level(self.hu[near], labels, self.legend, hole, kind)
        return Lesion(kind, tuple(s.start for s in near), mask, hole, hu)


class Volumes:
    """The samples of datasets made by the ``lesion`` generator.

    Attributes:
        alone: how many lesions of each class are left out, see ``Volume.lesions``, of those looked for in label maps.

    Raises:
        UsageError: no sample of that split, or one that lacks a member.
    """

    def __init__(self, places: Sequence[str], split: str) -> None:
        self._data: list[Samples] = []
        self._names: list[tuple[str, str]] = []  # of CT and label map in each dataset
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
        self.alone: Counter[str] = Counter()
        self._kinds, self._drawn = kinds, {d for (d, _), some in zip(self._numbers, kinds, strict=True) if some}
        for number, (d, _) in enumerate(self._numbers):
            if d not in self._drawn:  # its lesions are the source's own, which label maps alone show
                self._look(number)
        self._spacings = np.array(spacings, float)

    @property
    def learnable(self) -> set[str]:
        """Classes of the lesions beside which organ or vessel is labelled."""
        return set().union(*self._kinds)

    @property
    def classes(self) -> set[str]:
        """Classes of all lesions."""
        return self.learnable | set(self.alone)

    @property
    def spacings_mm(self) -> dict[str, tuple[float, float, float]]:
        """Edges of the voxels that each class is seen in.

        Raises:
            UsageError: where they are not the same.
        """
        return {kind: _same(self._spacings[[kind in some for some in self._kinds]]) for kind in sorted(self.learnable)}

    def holding(self, classes: Sequence[str]) -> list[int]:
        """Numbers of the volumes with a lesion to learn from of one of the classes.

        Label maps of volumes with drawn lesions are looked into only if what was drawn is not of all these classes.
        """
        if self._drawn and not self.learnable.issuperset(set(classes) - {HEALTHY}):
            for number, (d, _) in enumerate(self._numbers):
                if d in self._drawn:
                    self._look(number)
            self._drawn = set()
        return [number for number, some in enumerate(self._kinds) if not some.isdisjoint(classes)]

    def _look(self, number: int) -> None:
        self._kinds[number] = {one.kind for one in self[number].lesions(CLASSES, HALO_MM)}
        self.alone += self[number].alone(HALO_MM)

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


def _same(spacings: NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = np.median(spacings, axis=0).tolist()
    if (abs(spacings / (a, b, c) - 1) > SPACING_TOLERANCE).any():
        low, high = spacings.min(0).round(2).tolist(), spacings.max(0).round(2).tolist()
        raise UsageError(f"voxels are {low} to {high} mm: resample the source (one spacing for one model)")
    return a, b, c


def ordered(classes: set[str]) -> tuple[str, ...]:
    """Classes of lesions in their usual order, ``healthy`` the first."""
    return (HEALTHY, *(name for name in CLASSES if name in classes and name != HEALTHY))
