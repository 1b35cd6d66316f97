"""The part of a volume that lesions are drawn into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion import bed
from lesionforge.generators.lesion.classes import ORGANS, VALUE, canonical, home, mapped, unknown
from lesionforge.generators.lesion.phase import Phase, phase_of
from lesionforge.generators.lesion.vessels import CtVessel
from lesionforge.generators.types import BadCase, Volume

Box = tuple[slice, slice, slice]
CANDIDATES = 4096  # voxels remembered of an organ, spread evenly over it
MIN_VOXELS = 200  # of an organ that gets a lesion
APART = 3  # voxels kept between lesions
ILL = np.array([value not in (0, VALUE["coronary"], *map(VALUE.get, ORGANS)) for value in range(256)])  # of labels


@dataclass
class CtScene:
    """A crop of a volume: (i, j, k) as the volume's; positions in it in mm are index * spacing."""

    before: NDArray[np.int16]
    hu: NDArray[np.int16]  # as edited so far
    labels: NDArray[np.uint8]  # values of ``classes.LABELS``, edited along
    foreign: NDArray[np.bool_]  # labelled by the source as an organ that has no label here
    other: NDArray[np.bool_]  # labelled as anything that bounds a vessel's wall, ours or not
    blood: NDArray[np.bool_]  # labelled as a vessel or chamber full of blood that is no coronary
    taken: NDArray[np.bool_]  # lesions, and a margin about them
    changed: NDArray[np.bool_]  # where lesions were blended in or tissue was pushed aside: outside, HU are as before
    spacing: tuple[float, float, float]
    corner: tuple[int, int, int]  # of the crop in the volume
    phase: Phase = "venous"
    vessels: list[CtVessel] | None = None  # in it, where trees of the volume say so and they were wanted

    @staticmethod
    def around(volume: Volume, centre: tuple[int, int, int], size: int | None) -> CtScene:
        """A cube of ``size`` voxels about a voxel, moved and cut so that it lies in the volume; all where None."""
        assert volume.labels is not None
        shape = volume.hu.shape
        edge = [min(size or n, n) for n in shape]
        i, j, k = (int(np.clip(c - e // 2, 0, n - e)) for c, e, n in zip(centre, edge, shape, strict=True))
        box = (slice(i, i + edge[0]), slice(j, j + edge[1]), slice(k, k + edge[2]))
        before = np.ascontiguousarray(volume.hu[box])
        source = volume.labels[box]
        ours = canonical(volume.legend)
        labels = mapped(source, ours)
        solid = np.zeros(256, bool)
        solid[[value for value, name in volume.legend.items() if "fat" not in name]] = True
        foreign = mapped(source, solid & (ours == 0)).view(np.bool_)
        bounds, blood = np.zeros(256, bool), np.zeros(256, bool)
        bounds[[value for value, name in volume.legend.items() if not bed.HOLDS.fullmatch(name)]] = True
        blood[[value for value, name in volume.legend.items() if bed.BLOOD.fullmatch(name)]] = True
        bounds[0] = False
        bounds[ours == VALUE["coronary"]] = False
        other, full = (mapped(source, table).view(np.bool_) for table in (bounds, blood))
        spacing, at = volume.spacing_mm, (i, j, k)
        taken, changed = np.zeros((2, *labels.shape), bool)
        scene = CtScene(before, before.copy(), labels, foreign, other, full, taken, changed, spacing, at)
        for own in scipy.ndimage.find_objects(mapped(labels, ILL)):
            scene.take(np.array([s.start for s in own]), np.array([s.stop - 1 for s in own]))
        return scene

    def take(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
        """Keep other lesions away from those whose labels lie from ``low`` up to and with ``high``."""
        box = box_about(low - APART, high + APART, self.labels.shape)
        ill = mapped(self.labels[box], ILL).view(np.bool_)
        self.taken[box] |= scipy.ndimage.binary_dilation(ill, iterations=APART)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        a, b, c = self.spacing
        return a * b * c

    def origin(self, volume: Volume) -> tuple[float, float, float]:
        """LPS position of the centre of the crop's first voxel, mm."""
        x, y, z = (o + n * s for o, n, s in zip(volume.origin_mm, self.corner, self.spacing, strict=True))
        return x, y, z


def box_about(low: NDArray[np.int64], high: NDArray[np.int64], shape: tuple[int, ...]) -> Box:
    """The slices from ``low`` up to and with ``high``, cut to a volume."""
    a, b, c = (slice(max(0, int(x)), min(n, int(y) + 1)) for x, y, n in zip(low, high, shape, strict=True))
    return a, b, c


def overlap(one: Box, other: Box) -> tuple[Box, Box]:
    """Where two boxes of a volume meet, in each one's own indices; empty slices where they do not."""
    mine, theirs = [], []
    for a, b in zip(one, other, strict=True):
        start, stop = max(a.start, b.start), min(a.stop, b.stop)
        stop = max(start, stop)
        mine.append(slice(start - a.start, stop - a.start))
        theirs.append(slice(start - b.start, stop - b.start))
    return (mine[0], mine[1], mine[2]), (theirs[0], theirs[1], theirs[2])


class VolumeAnatomy:
    """Where a volume's lesions may lie: a pure function of it, worth remembering."""

    def __init__(self, volume: Volume) -> None:
        if volume.labels is None:
            raise BadCase("the volume has no labels; a lesion needs to know where the organs are")
        if (lost := mapped(volume.labels, unknown(volume.legend))).any():
            value = int(volume.labels[lost > 0][0])
            raise BadCase(
                f"label {value} in {np.count_nonzero(volume.labels == value)} voxels may be a lesion, of a name that "
                "has no label here: it would become background. Map it by the source's option legend (ctdicom: masks), "
                f"as {{{value}: liver_tumour}}, or name the structures to keep in labels"
            )
        labels = mapped(volume.labels, canonical(volume.legend))
        self.phase: Phase = phase_of(volume.hu, volume.labels, volume.legend)
        self.voxels: dict[str, NDArray[np.int64]] = {}
        for name in (*ORGANS, "coronary"):
            flat = np.flatnonzero(labels == VALUE[name])
            if len(flat) >= MIN_VOXELS:
                step = -(-len(flat) // CANDIDATES)
                self.voxels[name] = np.stack(np.unravel_index(flat[::step], labels.shape), axis=1)

    def candidates(self, lesion_class: str) -> NDArray[np.int64]:
        """Voxels (n, 3) that a lesion of the class may be centred on.

        Raises:
            BadCase: where the volume shows no such organ.
        """
        found = self.voxels.get(home(lesion_class))
        if found is None:
            raise BadCase(f"the volume has no {home(lesion_class)} for a lesion of class {lesion_class}")
        return found

    def has(self, lesion_class: str) -> bool:
        """Whether there is a place for the class."""
        return home(lesion_class) in self.voxels
