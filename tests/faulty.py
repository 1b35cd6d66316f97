"""A tiny source and a tiny generator whose faults tests can order: named in recipes by their dotted path."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lesionforge.engine.sources.base import Source
from lesionforge.engine.sources.files import File
from lesionforge.engine.sources.folder import Folder, FolderSource
from lesionforge.generators.base import Generator
from lesionforge.generators.types import BadCase, CoronaryTree, Panel, Rejected, Sample, SampleSpec
from tests.weather import OutOfMemoryError, strike

FOR_EVER = 10_000  # seconds: longer than any test


def crash() -> None:
    """A segmentation fault."""
    ctypes.string_at(0)


def hold_the_interpreter() -> None:
    """Hang in native code that never lets another thread of Python run."""
    ctypes.PyDLL(None).usleep(FOR_EVER * 10**5)  # PyDLL keeps the interpreter's lock; 1,000 s fit into its argument


def eat() -> None:
    """Take memory until there is none, a little at a time."""
    eaten = []
    while True:
        eaten.append(b"x" * 2**23)
        time.sleep(0.01)


@dataclass(frozen=True)
class ToyOptions:
    count: int = 10
    cases: int = 1
    unreadable: tuple[int, ...] = ()
    kill_at: tuple[int, ...] = ()
    crash_at: tuple[int, ...] = ()
    hang_at: tuple[int, ...] = ()
    none_at: tuple[int, ...] = ()
    weather: str = ""


class Toy(Source):
    """Cases of three voxels each."""

    Options: ClassVar[type[ToyOptions]] = ToyOptions
    public_place = True
    licence = "none"

    def __init__(self, place: str, options: ToyOptions) -> None:
        super().__init__(place, options)
        self.subjects = options.count
        self.cases_per_subject = options.cases

    def fingerprint(self) -> str:
        return "toy"

    def read(self, case: int) -> CoronaryTree:
        strike(self.options.weather, "read", case)
        if case in self.options.unreadable:
            raise BadCase(f"case {case} is unreadable")
        if case in self.options.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if case in self.options.crash_at:
            crash()
        if case in self.options.hang_at:
            time.sleep(FOR_EVER)
        if case in self.options.none_at:
            return None
        return tree(case)


def tree(case: int) -> CoronaryTree:
    """A case of three voxels."""
    points = np.array([[0, 0, 0], [1, 0, 0], [case % 50, 2, 3]], np.float32)
    return CoronaryTree(f"subject{case}", f"id{case}", "none", "left", points, (1.0, 1.0, 1.0))


class ToyFiles(FolderSource):
    """The same, one from each file of a folder."""

    def __init__(self, place: str, options: Any) -> None:
        super().__init__(place, options)
        self._found = list(Folder(place).files().values())
        self.subjects = len(self._found)

    def case_files(self, case: int) -> Sequence[File]:
        return [self._found[case]]

    def read(self, case: int) -> CoronaryTree:
        return tree(int(self._found[case].read()))


@dataclass(frozen=True)
class FaultyParams:
    """``*_at``: sample ids. ``log``: a folder in which every sample made leaves a line. ``weather``: its folder.

    ``go``: a file for which those of ``wait_at`` wait.
    """

    raise_at: tuple[str, ...] = ()
    kill_at: tuple[str, ...] = ()
    crash_at: tuple[str, ...] = ()
    hang_at: tuple[str, ...] = ()
    hold_at: tuple[str, ...] = ()
    eat_at: tuple[str, ...] = ()
    exit_at: tuple[str, ...] = ()
    gpu_memory_at: tuple[str, ...] = ()
    nan_at: tuple[str, ...] = ()
    inf_field_at: tuple[str, ...] = ()
    wrong_shape_at: tuple[str, ...] = ()
    wrong_type_at: tuple[str, ...] = ()
    text_measured_at: tuple[str, ...] = ()
    twice_at: tuple[str, ...] = ()
    never_at: tuple[str, ...] = ()
    other_spec_at: tuple[str, ...] = ()
    reject_always: tuple[str, ...] = ()
    reject_twice: tuple[str, ...] = ()
    wait_at: tuple[str, ...] = ()
    go: str = ""
    weather: str = ""
    memory_limit: int = 0  # cases at once beyond which memory "runs out"
    seconds: float = 0.0
    log: str = ""
    size: int = 16


class Faulty(Generator):
    """Noise pictures from each sample's own stream."""

    Params: ClassVar[type[FaultyParams]] = FaultyParams
    classes: tuple[str, ...] = ("mild", "severe")
    limits: ClassVar[tuple[str, ...]] = ("noise, for tests only",)

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
            strike(p.weather, "make", name)
            self._misbehave(name)
            if name in p.reject_always or (name in p.reject_twice and spec.attempt < 2):
                raise Rejected("ordered to be rejected")
            time.sleep(p.seconds)
            rng = spec.rng("noise")
            image = rng.integers(0, 256, (p.size, p.size), dtype=np.uint8)
            value = float("nan") if name in p.nan_at else float(rng.normal())
            labels = {"value": value, "voxels": len(case.points)}
            fields = {"image.png": image, "noise.npy": rng.random(4)}
            sample = Sample(spec, fields, labels, {}, {"mean": float(image.mean())})
            yield from self._spoilt(sample)

    def _misbehave(self, name: str) -> None:
        p = self.params
        if name in p.raise_at:
            raise RuntimeError("ordered to fail")
        if name in p.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if name in p.crash_at:
            crash()
        if name in p.hang_at:
            time.sleep(FOR_EVER)
        while name in p.wait_at and not Path(p.go).exists():
            time.sleep(0.05)
        if name in p.hold_at:
            hold_the_interpreter()
        if name in p.eat_at:
            eat()
        if name in p.exit_at:
            sys.exit("ordered to exit")
        if name in p.gpu_memory_at:
            raise OutOfMemoryError("CUDA out of memory, ordered")

    def _spoilt(self, sample: Sample) -> Iterator[Sample]:
        p, name = self.params, sample.spec.sample_id
        if name in p.inf_field_at:
            sample.fields["noise.npy"][2] = np.inf
        if name in p.wrong_shape_at:
            sample.fields["image.png"] = np.zeros((2, 3, 4, 5), np.uint8)
        if name in p.wrong_type_at:
            sample.fields["image.png"] = sample.fields["image.png"].tolist()
        if name in p.text_measured_at:
            sample.measured["mean"] = "much"  # type: ignore[assignment]
        if name in p.other_spec_at:
            sample.spec = replace(sample.spec, sample_id="train-9999-00000000")
        if name in p.never_at:
            return
        yield sample
        if name in p.twice_at:
            yield sample
