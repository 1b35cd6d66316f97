"""Volumes with plaques that ``texture`` drew, in memory, their lesions found: a dataset's, or phantoms made here."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from lesionforge.generators.lesion.blend import HALO_MM
from lesionforge.generators.lesion.classes import LEGEND, PLAQUES
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.phantom.ct.ccta import phantom_ccta
from lesionforge.jobs.fit.volumes import Volume, Volumes, ordered
from tests.benchmarks.learned_truth import REAL, REDRAWS, drawn
from tests.gpu.cutter import Known

CLASSES = ordered(set(PLAQUES))
SUBJECTS = 128
EDGE, TOY = 80, 64  # voxels of .5 mm


def read(place: Path) -> Known:
    """The split ``train`` of a dataset, by all cores."""
    return _gathered(_Stored(Volumes((str(place),), "train")), cores(), None)


def made(seconds: float, toy: bool) -> Known:
    """Phantoms' volumes, a plaque of each class in turn, by all cores for so long at most."""
    return _gathered(_Phantoms(1, TOY, PLAQUES[1:2]), 0, None) if toy else _gathered(_Phantoms(), cores(), seconds)


def phantom(name: str, edge: int = EDGE, side: str = "left") -> Any:
    """A heart without plaques."""
    key = hashlib.sha256(name.encode()).digest()
    return phantom_ccta(key, name, shape=(edge,) * 3, spacing_mm=(0.5, 0.5, 0.5), about=side)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def _gathered(items: Any, workers: int, seconds: float | None) -> Known:
    out, end = Known(), None if seconds is None else time.monotonic() + seconds
    for some in DataLoader(items, batch_size=None, num_workers=workers):
        out += some
        if end is not None and time.monotonic() > end:
            break
    return out


class _Stored:
    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def __len__(self) -> int:
        return len(self._volumes)

    def __getitem__(self, number: int) -> list[Volume]:
        return [_searched(self._volumes[number])]


class _Phantoms:
    def __init__(self, count: int = SUBJECTS, edge: int = EDGE, kinds: tuple[str, ...] = PLAQUES) -> None:
        self._count, self._edge, self._kinds = count, edge, kinds
        self._generator = LesionGenerator(replace(REAL, size=None, plaques=(1, 2)))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> list[Volume]:
        name = f"gpu {number}"
        heart = phantom(name, self._edge, ("left", "right")[number % 2])
        samples = [drawn(self._generator, heart, kind, f"{kind} {name}", REDRAWS)[0] for kind in self._kinds]
        members = [one.fields for one in samples if one]
        spacing = heart.spacing_mm
        return [_searched(Volume(m["ct.delta.npy.zst"], m["label.npy.zst"], dict(LEGEND), spacing)) for m in members]


def _searched(volume: Volume) -> Volume:
    volume.lesions(CLASSES, HALO_MM)
    return volume
