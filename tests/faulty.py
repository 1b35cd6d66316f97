"""A tiny source and a tiny generator whose faults tests can order: named in recipes by their dotted path."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from generators.types import BadCase, CoronaryTree, Panel, Rejected, Sample, SampleSpec


@dataclass(frozen=True)
class ToyOptions:
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    count: int = 10
    cases: int = 1
    unreadable: tuple[int, ...] = ()
    kill_at: tuple[int, ...] = ()


class Toy:
    """Cases of three voxels each."""

    Options: ClassVar[type[ToyOptions]] = ToyOptions
    licence = "none"

    def __init__(self, place: str, options: ToyOptions) -> None:
        self.options = options
        self.subjects = options.count
        self.cases_per_subject = options.cases

    def fingerprint(self) -> str:
        return "toy"

    def read(self, case: int) -> CoronaryTree:
        if case in self.options.unreadable:
            raise BadCase(f"case {case} is unreadable")
        if case in self.options.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        points = np.array([[0, 0, 0], [1, 0, 0], [case % 50, 2, 3]], np.float32)
        return CoronaryTree(f"subject{case}", f"id{case}", "none", "left", points, (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class FaultyParams:
    """``*_at``: sample ids. ``log``: a folder in which every sample made leaves a line."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    raise_at: tuple[str, ...] = ()
    kill_at: tuple[str, ...] = ()
    nan_at: tuple[str, ...] = ()
    reject_always: tuple[str, ...] = ()
    reject_twice: tuple[str, ...] = ()
    memory_limit: int = 0  # cases at once beyond which memory "runs out"
    seconds: float = 0.0
    log: str = ""
    size: int = 16


class Faulty:
    """Noise pictures from each sample's own stream."""

    Params: ClassVar[type[FaultyParams]] = FaultyParams
    classes: ClassVar[tuple[str, ...]] = ("mild", "severe")
    limits: ClassVar[tuple[str, ...]] = ("noise, for tests only",)

    def __init__(self, params: FaultyParams) -> None:
        self.params = params

    def prepare(self, device: str) -> None:
        """Nothing to load."""

    def sample_bytes(self) -> int:
        return 4000

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        return [Panel("noise", {"noise": fields["image.png"]})]

    def generate(self, cases: Sequence[CoronaryTree], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        p = self.params
        if p.memory_limit and len(cases) > p.memory_limit:
            raise MemoryError(f"{len(cases)} cases at once")
        for case, spec in zip(cases, specs, strict=True):
            name = spec.sample_id
            if p.log:
                with open(Path(p.log) / str(os.getpid()), "a") as file:
                    file.write(name + "\n")
            if name in p.raise_at:
                raise RuntimeError("ordered to fail")
            if name in p.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if name in p.reject_always or (name in p.reject_twice and spec.attempt < 2):
                raise Rejected("ordered to be rejected")
            time.sleep(p.seconds)
            rng = spec.rng("noise")
            image = rng.integers(0, 256, (p.size, p.size), dtype=np.uint8)
            value = float("nan") if name in p.nan_at else float(rng.normal())
            labels = {"value": value, "voxels": len(case.points)}
            fields = {"image.png": image, "noise.npy": rng.random(4)}
            yield Sample(spec, fields, labels, {}, {"mean": float(image.mean())})
