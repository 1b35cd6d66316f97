"""Processes within reach of bad weather: who imports this heeds the orders of a folder (``tests.weather``).

``LESIONFORGE_STORMS`` in the environment names it; the disk, the clock and what the recipe names, a source and a
generator of here, look there. Pauses between tries and the lives of leases are shorter than in earnest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lesionforge.engine import retries
from lesionforge.engine.sources.folder import FolderOptions
from lesionforge.generators.types import CoronaryTree, Sample, SampleSpec
from lesionforge.sinks.store import lease, s3
from lesionforge.sinks.store.disk import Disk
from tests.faulty import Faulty, ToyFiles, tree
from tests.weather import strike

VARIABLE = "LESIONFORGE_STORMS"
CLOCK = "clock"  # a file with the seconds by which clocks go wrong
BEAT, STALE = 0.3, 3.0  # seconds
PAUSES = (0.2, 0.4, 0.8, 1.6, 2.0)  # seconds; in earnest two minutes


@dataclass(frozen=True)
class PagesOptions(FolderOptions):
    """``weather``: the folder of orders."""

    weather: str = ""


class Pages(ToyFiles):
    """A case from each file of a folder: its numbers are the case's points, so other content makes other samples."""

    Options: ClassVar[type[Any]] = PagesOptions

    def read(self, case: int) -> CoronaryTree:
        strike(self.options.weather, "read", case)
        points = np.array(self._found[case].read().split(), np.float32).reshape(-1, 3)
        return replace(tree(case), points=points)


class Copies(Faulty):
    """Noise, and the case's points."""

    def generate(self, cases: Sequence[CoronaryTree], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        for case, spec in zip(cases, specs, strict=True):
            for sample in super().generate([case], [spec]):
                sample.fields["points.npy"] = case.points
                yield sample


def install(folder: Path) -> None:
    """Put this process within reach: its disk fails, or its answers are lost, and its clock jumps, as is ordered."""
    write, now, hurried = Disk.write, time.time, time.sleep

    def stormy(self: Disk, key: str, chunks: Sequence[memoryview], new: bool) -> bool:
        strike(str(folder), "disk", key)
        made = write(self, key, chunks, new)
        strike(str(folder), "answer", key)
        return made

    def wrong() -> float:
        try:
            return now() + float((folder / CLOCK).read_text() or 0)
        except OSError:
            return now()

    class Hurried:
        """The module ``time`` for S3's pauses between two tries."""

        @staticmethod
        def sleep(seconds: float) -> None:
            hurried(seconds / 5)

    Disk.write = stormy  # type: ignore[method-assign]
    time.time, time.time_ns = wrong, lambda: int(wrong() * 1e9)
    retries.PAUSES, lease.BEAT, lease.STALE = PAUSES, BEAT, STALE
    s3.time = Hurried  # type: ignore[assignment]


if os.environ.get(VARIABLE):
    install(Path(os.environ[VARIABLE]))
