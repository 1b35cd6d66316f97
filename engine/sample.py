"""Making samples: source -> generator -> checks, with redraws, and every failure turned into a reason.

Free of Ray, threads and storage, so that a worker, ``replay`` and ``plan --estimate`` make the same sample.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.engine.backgrounds import Unseen
from lesionforge.engine.blame import Suspect
from lesionforge.engine.faults import Fault, find
from lesionforge.engine.kept import KeptCases, shelve
from lesionforge.engine.pipeline import Pipeline, UnknownLimit, Unprepared
from lesionforge.engine.recipe import Limit
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.pictures.picture import flags
from lesionforge.generators.types import BadCase, Given, Rejected, Sample, SampleSpec, Scene, significant
from lesionforge.sinks.index import ROW_KEYS, Row
from lesionforge.sinks.png import png
from lesionforge.sinks.quarantine import MAX_TEXT, Kind, Quarantined

BEHIND = {"background", "background_subject"}  # labels that say which frame lies behind a sample's case


class BadOutput(Exception):
    """A generator returned something else than its contract says; the message names the field and the value."""


class Maker:
    """Makes samples of one pipeline."""

    def __init__(self, pipeline: Pipeline, kept: bool = False) -> None:
        """``kept``: cases may come from this machine's cache. Who makes a sample again to try it reads them anew."""
        self.pipeline = pipeline
        self._read = KeptCases(pipeline).read if kept else pipeline.read
        if kept:
            shelve(pipeline)
        self.batch_halvings = 0
        self._prepared = False
        pipeline.generator.judge = self._judge

    def prepare(self) -> None:
        """Load what the generator needs (weights), once; no sample's limits of time and memory cover it.

        Neither do they cover the encoder's start: on a busy machine Numba's import takes longer than many a sample.

        Raises:
            Fault: where the surroundings are to blame.
            Unprepared: where they are not.
        """
        if not self._prepared:
            for first in (np.zeros((2, 4), np.uint8), np.arange(8, dtype=np.uint8).reshape(2, 4)):
                png(first)  # each way of encoding: runs, and what has none
            try:
                self.pipeline.generator.prepare(_device(self.pipeline.recipe.resources.gpus))
            except Exception as error:
                if find(error):
                    raise
                raise Unprepared(f"generator {self.pipeline.recipe.generator.name}: {describe(error)}") from error
            self.pipeline.check_weights()
            self._prepared = True

    def read(self, spec: SampleSpec) -> Given | Quarantined:
        """The case of a sample, or the reason why there is none.

        Raises:
            Fault: where the surroundings are to blame.
        """
        try:
            case = self._read(spec)
        except (Exception, SystemExit) as error:  # a reader of somebody else's may raise anything
            why: BaseException = error
            where, about = f"sources.{spec.source}, case {spec.case}", ""
            if isinstance(error, Unseen) and error.__cause__:
                where, why, about = str(error), error.__cause__, "background: "
            if isinstance(why, MemoryError):
                return self.out_of_memory(why, where)
            if isinstance(why, SourceError):  # which its opening would have said
                raise Fault("place", f"{where}: {why}") from None
            text = str(why) if isinstance(why, BadCase) else describe(why, quote=False)
            return self._reason("source", about + text, why, where)
        return case if isinstance(case, Given) else Quarantined("source", f"read a {type(case).__name__}, no case")

    def make(self, cases: Sequence[Given], specs: Sequence[SampleSpec]) -> Iterator[Sample | Quarantined]:
        """One sample or reason per spec, in order. A whole batch is tried at once; what fails in it, alone.

        Raises:
            Fault: where the surroundings are to blame.
        """
        self.prepare()
        if len(specs) == 1:
            yield self._make_one(cases[0], specs[0])
            return
        try:
            samples = checked(self.pipeline.generator.generate(cases, specs), specs)
            for sample, case in zip(samples, cases, strict=True):
                self._check(sample, case)
            yield from samples
        except UnknownLimit:  # the recipe's fault, not a sample's
            raise
        except (Exception, SystemExit) as error:
            if (fault := find(error)) and fault.kind == "memory":
                self.batch_halvings += 1
            # Results must not depend on who shared the batch: halve down to the one at fault.
            half = len(specs) // 2
            yield from self.make(cases[:half], specs[:half])
            yield from self.make(cases[half:], specs[half:])

    def _make_one(self, case: Given, spec: SampleSpec) -> Sample | Quarantined:
        redraws = self.pipeline.recipe.quality.redraws
        reason = ""
        for attempt in range(redraws + 1):
            try:
                drawn = replace(spec, attempt=attempt)
                (sample,) = checked(self.pipeline.generator.generate([case], [drawn]), [drawn])
                self._check(sample, case)
                return sample
            except UnknownLimit:
                raise
            except Rejected as error:
                reason = str(error)
            except BadCase as error:
                return self._reason("source", str(error), error, spec.sample_id)
            except BadOutput as error:
                return Quarantined("output", str(error))
            except MemoryError as error:
                return self.out_of_memory(error, spec.sample_id)
            except (Exception, SystemExit) as error:  # third-party generators may raise anything; the shard goes on
                return self._reason("error", describe(error), error, spec.sample_id)
        return Quarantined("quality", f"{reason} (drawn {redraws + 1} times)")

    def _check(self, sample: Sample, case: Given) -> None:
        """Hold a sample against the recipe's limits, with what the engine itself measured on its case.

        Numbers are rounded first, so that what is decided and what is written is the same on every CPU.
        """
        sample.measured = rounded({**sample.measured, **flags(case)})
        sample.labels, sample.drawn = rounded(sample.labels), rounded(sample.drawn)
        if isinstance(case, Scene):
            if taken := sorted(BEHIND & sample.labels.keys()):
                raise BadOutput(f"labels {', '.join(taken)}: these names are the engine's; rename them")
            told = {"background": case.background.source_id, "background_subject": case.background.subject}
            sample.labels = {**sample.labels, **told}
        self.pipeline.check_limits(sample.measured)
        for name, limit in self.pipeline.recipe.quality.limits.items():
            if name not in sample.measured:  # writing is looked for in frames only
                raise UnknownLimit(
                    f"quality.limits.{name}: of a {type(case).__name__} nobody measures it; leave it out"
                )
            hold(name, sample.measured[name], limit)

    def _judge(self, spec: SampleSpec, measured: Mapping[str, float]) -> None:
        """Hold what a generator measures before it has made a sample against the recipe's limits.

        The last draw is made whole all the same: a reason is that of all figures, whichever are known first.
        """
        quality = self.pipeline.recipe.quality
        if spec.attempt < quality.redraws:
            for name, limit in quality.limits.items():
                if name in measured:
                    hold(name, rounded(measured[name]), limit)

    def _reason(self, kind: Kind, text: str, error: BaseException, where: str) -> Quarantined:
        """Why a sample could not be made, as far as that may be its own fault.

        Raises:
            Fault: where it cannot.
        """
        fault = find(error)
        if fault is None:
            return Quarantined(kind, text)
        if not fault.own:
            raise fault.at(where) from None
        about = "background " if text.startswith("background: ") else ""
        said = f"{about}cannot be read: {fault.text}" if kind == "source" and fault.kind == "storage" else text
        return Suspect(kind, said, fault.at(where))

    def out_of_memory(self, error: MemoryError, where: str) -> Quarantined:
        """The reason of a sample for which there was no memory: the recipe's limit is its own fault, the node's not."""
        text = (str(error).splitlines() or ["none left"])[0]
        limit = self.pipeline.recipe.resources.memory
        if limit is None:
            return self._reason("memory", text[: MAX_TEXT - len("memory: ")], error, where)
        text += f" (resources.memory is {limit / 2**20:g} MiB)"
        return Quarantined("memory", text[: MAX_TEXT - len("memory: ")])

    def row(self, spec: SampleSpec, case: Given | Quarantined) -> Row:
        """The index row of a sample before it is made."""
        row = Row(spec.sample_id, spec.split, spec.variant, spec.source, spec.case, spec.target)
        if not isinstance(case, Quarantined):
            row.subject = case.subject
            row.source_id = case.source_id
        return row

    def members(self, sample: Sample, row: Row) -> dict[str, Any]:
        """Everything that goes into the tar for a sample: its fields and the ``json`` that tells all of it."""
        meta: dict[str, Any] = {key: getattr(row, key) for key in ROW_KEYS} | {"redraws": sample.spec.attempt}
        meta |= {"generator": self.pipeline.recipe.generator.name, "recipe": self.pipeline.identity}
        meta |= {"drawn": sample.drawn, "measured": sample.measured}
        if taken := sorted(meta.keys() & sample.labels.keys()):
            raise ValueError(f"labels {', '.join(taken)}: these names are the engine's; rename them in the generator")
        return {**sample.fields, "json": {**sample.labels, **meta}}


def checked(output: Iterable[Any], specs: Sequence[SampleSpec]) -> list[Sample]:
    """The samples of one call of a generator, one per spec.

    Arrays are left to ``sinks.encode``, which looks at every value of them anyway.

    Raises:
        BadOutput: for another number of samples, another type, somebody else's sample, or a number that is none.
    """
    out = list(islice(output, len(specs) + 1))  # a generator without an end is met as one too many
    if len(out) != len(specs):
        count = f"more than {len(specs)}" if len(out) > len(specs) else str(len(out))
        raise BadOutput(f"{count} samples for {len(specs)} asked for")
    for sample, spec in zip(out, specs, strict=True):
        _check_sample(sample, spec)
    return out


def hold(name: str, value: float, limit: Limit) -> None:
    """Raise ``Rejected`` where a figure is outside its limit."""
    if limit.min is not None and not value >= limit.min:
        raise Rejected(f"{name} is {value:.4g}, below {limit.min:g}")
    if limit.max is not None and not value <= limit.max:
        raise Rejected(f"{name} is {value:.4g}, above {limit.max:g}")


def _check_sample(sample: Any, spec: SampleSpec) -> None:
    if not isinstance(sample, Sample):
        raise BadOutput(f"a {type(sample).__name__} in place of a Sample")
    if sample.spec != spec:
        what = getattr(sample.spec, "sample_id", sample.spec)
        raise BadOutput(f"spec is that of {what!r}" + (", altered" if what == spec.sample_id else ""))
    for part in ("fields", "labels", "drawn", "measured"):
        values = getattr(sample, part)
        if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
            raise BadOutput(f"{part} is {type(values).__name__} {str(values)[:80]}, not a dict by name")
        if part != "fields":
            _finite(part, values)
    measured: Mapping[str, Any] = sample.measured
    for name, value in measured.items():
        if not isinstance(value, float | Real):
            raise BadOutput(f"measured.{name} is {str(value)[:80]!r}, not a number")


def rounded(value: Any) -> Any:
    """Plain data with every float in it as ``generators.types.significant`` has it."""
    if isinstance(value, str | int):  # most is: asking for an abstract class takes ten times as long
        return value
    if isinstance(value, float | np.floating):
        return significant(float(value))
    if isinstance(value, dict | Mapping):
        return {name: rounded(item) for name, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _finite(path: str, value: Any) -> None:
    if isinstance(value, str | int):
        return
    if isinstance(value, list | tuple):
        for n, item in enumerate(value):
            _finite(f"{path}.{n}", item)
    elif not isinstance(value, float) and isinstance(value, dict | Mapping):
        for name, item in value.items():
            _finite(f"{path}.{name}", item)
    elif isinstance(value, float | Real) and not math.isfinite(float(value)):
        raise BadOutput(f"{path} is {value}")


def describe(error: BaseException, quote: bool = True) -> str:
    """One line about an exception: type, message, and the file and line it came from (no machine path).

    Args:
        quote: with its message; not where it may quote a source's file or its path (promise P8).
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    message: Mapping[int, str] = dict(enumerate(str(error).splitlines()))
    quoted = f": {message.get(0, '')}" if quote else ""
    return f"{type(error).__name__}{quoted}"[:MAX_TEXT] + where


def _device(gpus: float) -> str:
    return "cuda" if gpus > 0 else "cpu"
