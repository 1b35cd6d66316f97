"""Pairs of views to learn reconstruction from: of stored shards, or made here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lesionforge.generators.types import SampleSpec
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction


@dataclass(frozen=True)
class Stored:
    """A split of a dataset, by number."""

    place: Path
    split: str
    task: Reconstruction

    @cached_property
    def _samples(self) -> Any:
        from lesionforge.sinks.reader import Samples

        return Samples(self.place, self.split)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Pair:
        return self.task.item_of_sample(self._samples[number])


@dataclass(frozen=True)
class Made:
    """Phantoms, by number: the right and the left tree of one subject after the other."""

    count: int
    split: str
    task: Reconstruction
    grid: int = 128
    detector: int = 512

    @cached_property
    def _generator(self) -> Any:
        from lesionforge.generators.biplane.params import BiplaneParams
        from tests.gpu.lean import LeanBiplane

        wide = 128 / self.grid  # a coarser grid is as large
        span = (0.8 * wide, 1.1 * wide * (1 if wide == 1 else 1.5))
        params = BiplaneParams(grid=self.grid, resample=self.task.size, detector=self.detector, spacing_mm=span)
        return LeanBiplane(params)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Pair:
        from lesionforge.generators.phantom.tree.coronary import phantom_tree

        who, side = f"{self.split}{number // 2}", ("right", "left")[number % 2]
        key = hashlib.sha256(who.encode()).digest()
        tree = phantom_tree(key, side, who)
        spec = SampleSpec(f"{who} {side}", self.split, 0, 0, 0, None, hashlib.sha256(key + side.encode()).digest())
        made = self._generator.make(tree, spec)
        record = {**made.labels, "subject": who, "source_id": tree.source_id, "sample_id": spec.sample_id}
        return self.task.item_of_sample({**made.fields, "json": record})
