"""Copy and paste, the baseline without a model of lesions: real ones, cut out of other subjects, at the place they fit.

All lesions of one real training subject are moved into the CT of another, beside the lesions that it has. Each is cut
with the voxels that its blur reaches, turned and mirrored as grids can be in the axial plane, and put where its
surroundings differ least from what is there, of many places tried on the same organ or vessel. Nothing is scaled or
brightened.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.base import Generator
from lesionforge.generators.lesion.classes import LABELS, LEGEND, VALUE, canonical, home, mapped
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import DELTA, BadCase, Sample, SampleSpec, Volume
from lesionforge.sinks.reader import Samples

FIRST = VALUE["liver_tumour"]  # of the values of lesions
GROW, SHELL = 2, 2  # voxels about a lesion that move with it, and beyond these, that are compared
EDGE = 0.7  # sigma in voxels of the cut's edge
PLACES = 300  # tried for a lesion
TURNS = tuple(itertools.product((False, True), repeat=4))  # mirrored along each axis; rows and columns exchanged


@dataclass(frozen=True)
class CopyPasteParams(Parameters):
    """Attributes:
    donors: folder of a dataset with real lesions; those of its split train are moved.
    """

    donors: str = ""


@dataclass(frozen=True)
class Cut:
    """A lesion cut out: ``hu`` and ``labels`` (0 but for the lesion) of its box, and what of them moves and compares.

    ``anchor``: index in the box of the voxel that comes to lie on one of ``home``.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    moves: NDArray[np.bool_]
    shell: NDArray[np.bool_]
    anchor: tuple[int, int, int]
    home: str

    def turned(self, turn: tuple[bool, ...]) -> Cut:
        """Mirrored and exchanged."""

        def of(array: NDArray[Any]) -> NDArray[Any]:
            array = np.flip(array, tuple(axis for axis in range(3) if turn[axis]))
            return array.swapaxes(0, 1) if turn[3] else array

        at = [
            n - 1 - a if turn[axis] else a for axis, (a, n) in enumerate(zip(self.anchor, self.hu.shape, strict=True))
        ]
        i, j, k = (at[1], at[0], at[2]) if turn[3] else at
        return Cut(of(self.hu), of(self.labels), of(self.moves), of(self.shell), (i, j, k), self.home)


class CopyPaste(Generator):
    """See the module's docstring."""

    Params: ClassVar[type[CopyPasteParams]] = CopyPasteParams
    places: ClassVar[tuple[str, ...]] = ("donors",)
    limits: ClassVar[tuple[str, ...]] = ("Lesions are real ones of other subjects: no more of them than there were.",)

    def prepare(self, device: str) -> None:
        """Cut out all lesions."""
        found = Samples(self.params.donors, split="train")
        ct, label = (next(n for n in found.members if n.startswith(f"{stem}.")) for stem in ("ct", "label"))
        self._cuts: list[tuple[int, str, list[Cut]]] = []
        self._lost: Counter[str] = Counter()
        for n in range(len(found)):
            sample = found[n]
            cuts, lost = cut_out(sample[ct], sample[label])
            self._lost += lost
            if cuts:
                self._cuts.append((sample["json"]["case"], sample["json"]["subject"], cuts))

    def make(self, case: Volume, spec: SampleSpec) -> Sample:
        """One sample: another subject's lesions, as many of them as find room."""
        assert case.labels is not None
        others = [cuts for number, who, cuts in self._cuts if number != spec.case and who != case.subject]
        if not others:
            why = "".join(f"; {count} of the donors' {reason}" for reason, count in sorted(self._lost.items()))
            raise BadCase(f"no other subject has a lesion that can be moved{why}")
        rng = spec.rng("copy")
        hu, labels = case.hu.copy(), mapped(case.labels, canonical(case.legend))
        taken = ndimage.binary_dilation(labels >= FIRST, iterations=GROW)
        for cut in others[int(rng.integers(len(others)))]:
            paste(rng, cut, hu, labels, taken)
        told = {
            "lesions": [],
            "legend": {str(value): name for value, name in LEGEND.items()},
            "spacing_mm": list(case.spacing_mm),
        }
        return Sample(spec, {f"ct{DELTA}": hu, "label.npy.zst": labels}, told, {}, {})


def cut_out(hu: NDArray[np.int16], labels: NDArray[np.uint8]) -> tuple[list[Cut], Counter[str]]:
    """All lesions of a volume whose surroundings lie in it; ``labels`` as in ``LABELS``. What touches is one.

    Returns:
        These, and how many others cannot be moved, by the reason.
    """
    lost: Counter[str] = Counter()
    parts, _ = ndimage.label(labels >= FIRST, np.ones((3, 3, 3)))
    out = []
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        wide = tuple(slice(s.start - GROW - SHELL, s.stop + GROW + SHELL) for s in box)
        if any(s.start < 0 or s.stop > n for s, n in zip(wide, hu.shape, strict=True)):
            lost["lesions lie at the border of the scan"] += 1
            continue
        own = parts[wide] == number
        moves = ndimage.binary_dilation(own, iterations=GROW)
        shell = ndimage.binary_dilation(moves, iterations=SHELL) & ~moves
        lesion = np.where(own, labels[wide], 0).astype(np.uint8)
        name = LABELS[int(np.bincount(lesion[own]).argmax())]
        organ = home(name)
        there = np.argwhere(labels[wide] == VALUE["coronary"]) if organ == "coronary" else np.argwhere(own)
        if not len(there):
            lost[f"plaques have no voxel labelled coronary within {GROW + SHELL} voxels of them"] += 1
            continue
        middle = np.argwhere(own).mean(axis=0)
        i, j, k = there[int(((there - middle) ** 2).sum(axis=1).argmin())].tolist()
        out.append(Cut(hu[wide].copy(), lesion, moves, shell, (i, j, k), organ))
    return out, lost


def paste(
    rng: np.random.Generator,
    cut: Cut,
    hu: NDArray[np.int16],
    labels: NDArray[np.uint8],
    taken: NDArray[np.bool_],
) -> bool:
    """Put a lesion where it fits best, in place; False where it has no room."""
    room = np.argwhere(labels == VALUE[cut.home])
    if not len(room):
        return False
    room = room[rng.permutation(len(room))[:PLACES]]
    best: tuple[float, Cut, tuple[slice, ...]] | None = None
    for turn in TURNS:
        one = cut.turned(turn)
        corners = room - np.array(one.anchor)
        corners = corners[((corners >= 0) & (corners + one.hu.shape <= hu.shape)).all(axis=1)]
        corners = corners[[not taken[_box(c, one)][one.moves].any() for c in corners]] if len(corners) else corners
        if not len(corners):
            continue
        at = np.argwhere(one.shell)
        there = hu[tuple((corners[:, None] + at[None]).transpose(2, 0, 1))]
        miss = np.abs(there.astype(np.int32) - one.hu[one.shell].astype(np.int32)).mean(axis=1)
        first = int(miss.argmin())
        if best is None or float(miss[first]) < best[0]:
            best = (float(miss[first]), one, _box(corners[first], one))
    if best is None:
        return False
    _, one, box = best
    weight = ndimage.gaussian_filter(one.moves.astype(np.float64), EDGE)
    weight[one.labels > 0] = 1.0
    hu[box] = np.rint(hu[box] + weight * (one.hu.astype(np.float64) - hu[box])).astype(np.int16)
    labels[box] = np.where(one.labels > 0, one.labels, labels[box])
    taken[box] |= one.moves
    return True


def _box(corner: Sequence[int] | NDArray[np.int64], cut: Cut) -> tuple[slice, ...]:
    return tuple(slice(int(c), int(c) + n) for c, n in zip(corner, cut.hu.shape, strict=True))
