"""The generator that every engine of the pipeline benchmark runs: a smooth random picture, its mask, json; 140 kB.

Pure numpy, the same cost whoever calls it. As a plug-in for our recipes: ``tests.benchmarks.work.Cases`` and
``tests.benchmarks.work.Pictures``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lesionforge.engine.sources.base import Source
from lesionforge.generators.base import Generator
from lesionforge.generators.types import CoronaryTree, Panel, Sample, SampleSpec

SIDE = 256
FAST, SLOW = 3, 36  # turns of the same work: about 5 ms and 50 ms a sample on the machine this was written on


def make(rng: np.random.Generator, turns: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields and labels of one sample."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    for _ in range(turns):
        noise = rng.standard_normal((SIDE, SIDE))
        picture = np.fft.irfft2(np.fft.rfft2(noise) * np.exp(-((frequency * 24) ** 2)))
    low, high = picture.min(), picture.max()
    image = ((picture - low) / (high - low) * 65535).astype(np.uint16)
    mask = image > 45000
    fields = {"image.npy": image, "mask.npy": np.packbits(mask, axis=1)}
    return fields, {"pixels": int(mask.sum()), "mean": float(image.mean())}


@dataclass(frozen=True)
class CasesOptions:
    count: int = 100


class Cases(Source):
    """Cases with nothing in them."""

    Options: ClassVar[type[CasesOptions]] = CasesOptions
    licence = "none"

    def __init__(self, place: str, options: CasesOptions) -> None:
        super().__init__(place, options)
        self.subjects = options.count

    def fingerprint(self) -> str:
        return "bench"

    def read(self, case: int) -> CoronaryTree:
        return CoronaryTree(f"s{case}", f"id{case}", "none", "left", np.zeros((1, 3), np.float32), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class PicturesParams:
    turns: int = FAST


class Pictures(Generator):
    """``make`` behind our generator's protocol."""

    Params: ClassVar[type[PicturesParams]] = PicturesParams

    def sample_bytes(self) -> int:
        return 142_000

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        return [Panel("picture", {"picture": (fields["image.npy"] >> 8).astype(np.uint8)})]

    def generate(self, cases: Sequence[CoronaryTree], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        for spec in specs:
            fields, labels = make(spec.rng("noise"), self.params.turns)
            yield Sample(spec, fields, labels, {"turns": self.params.turns}, {"mean": labels["mean"]})
