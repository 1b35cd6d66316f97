"""Making samples: source -> generator -> checks, with redraws, and every failure turned into a reason.

Free of Ray, threads and storage, so that a worker, ``replay`` and ``plan --estimate`` make the same sample.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesionforge.engine import check
from lesionforge.engine.pipeline import Job
from lesionforge.engine.privacy import flags, unnamed
from lesionforge.generators.types import BadCase, Case, Rejected, Sample, SampleSpec
from lesionforge.sinks.index import ROW_KEYS, Row

QUALITY = "quality:"  # begins the reason of a sample that was drawn again until the recipe's limit
MEMORY = "memory:"  # begins the reason of a sample that found no memory left, be it by its own fault or another's


class Maker:
    """Makes samples of one job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.batch_halvings = 0
        self._prepared = False

    def prepare(self) -> None:
        """Load what the generator needs (weights), once; no sample's limits of time and memory cover it."""
        if not self._prepared:
            self.job.generator.prepare(_device(self.job.recipe.resources.gpus))
            self._prepared = True

    def read(self, spec: SampleSpec) -> Case | str:
        """The case of a sample, or the reason why there is none."""
        try:
            case = self.job.sources[spec.source].read(spec.case)
        except BadCase as error:
            return f"source: {error}"
        except MemoryError as error:
            return self.out_of_memory(error)
        except (Exception, SystemExit) as error:  # a reader of somebody else's may raise anything
            return f"source: {describe(error, quote=False)}"
        key = self.job.subject_key
        return unnamed(case, key) if isinstance(case, Case) else f"source: read a {type(case).__name__}, no case"

    def make(self, cases: Sequence[Case], specs: Sequence[SampleSpec]) -> Iterator[Sample | str]:
        """One sample or reason per spec, in order. A whole batch is tried at once; what fails in it, alone."""
        self.prepare()
        if len(specs) == 1:
            yield self._make_one(cases[0], specs[0])
            return
        try:
            samples = check.samples(self.job.generator.generate(cases, specs), specs)
            for sample, case in zip(samples, cases, strict=True):
                self._check(sample, case)
            yield from samples
        except (Exception, SystemExit) as error:
            if _out_of_memory(error):
                self.batch_halvings += 1
            # Results must not depend on who shared the batch: halve down to the one at fault.
            half = len(specs) // 2
            yield from self.make(cases[:half], specs[:half])
            yield from self.make(cases[half:], specs[half:])

    def _make_one(self, case: Case, spec: SampleSpec) -> Sample | str:
        redraws = self.job.recipe.quality.redraws
        reason = ""
        for attempt in range(redraws + 1):
            try:
                drawn = replace(spec, attempt=attempt)
                (sample,) = check.samples(self.job.generator.generate([case], [drawn]), [drawn])
                self._check(sample, case)
                return sample
            except Rejected as error:
                reason = str(error)
            except BadCase as error:
                return f"source: {error}"
            except check.BadOutput as error:
                return f"output: {error}"
            except MemoryError as error:
                return self.out_of_memory(error)
            except (Exception, SystemExit) as error:  # third-party generators may raise anything; the shard goes on
                return f"error: {describe(error)}"
        return f"{QUALITY} {reason} (drawn {redraws + 1} times)"

    def _check(self, sample: Sample, case: Case) -> None:
        """Hold a sample against the recipe's limits, with what the engine itself measured on its case."""
        sample.measured = {**sample.measured, **flags(case)}
        for name, limit in self.job.recipe.quality.limits.items():
            if name not in sample.measured:
                raise ValueError(f"quality.limits names {name!r}; measured are {', '.join(sorted(sample.measured))}")
            value = sample.measured[name]
            if limit.min is not None and not value >= limit.min:
                raise Rejected(f"{name} is {value:.4g}, below {limit.min:g}")
            if limit.max is not None and not value <= limit.max:
                raise Rejected(f"{name} is {value:.4g}, above {limit.max:g}")

    def out_of_memory(self, error: MemoryError) -> str:
        """The reason of a sample for which there was no memory."""
        limit = self.job.recipe.resources.memory
        bound = f" (resources.memory is {limit / 2**20:g} MiB)" if limit else ""
        return f"{MEMORY} {(str(error).splitlines() or ['none left'])[0]}{bound}"[:300]

    def row(self, spec: SampleSpec, case: Case | str) -> Row:
        """The index row of a sample before it is made."""
        row = Row(spec.sample_id, spec.split, spec.variant, spec.source, spec.case, spec.target)
        if not isinstance(case, str):
            row.subject = case.subject
            row.source_id = case.source_id
        return row

    def members(self, sample: Sample, row: Row) -> dict[str, Any]:
        """Everything that goes into the tar for a sample: its fields and the ``json`` that tells all of it."""
        meta: dict[str, Any] = {key: getattr(row, key) for key in ROW_KEYS} | {"redraws": sample.spec.attempt}
        meta |= {"generator": self.job.recipe.generator.name, "recipe": self.job.identity}
        meta |= {"drawn": sample.drawn, "measured": sample.measured}
        if taken := sorted(meta.keys() & sample.labels.keys()):
            raise ValueError(f"labels {', '.join(taken)}: these names are the engine's; rename them in the generator")
        return {**sample.fields, "json": {**sample.labels, **meta}}


def describe(error: BaseException, quote: bool = True) -> str:
    """One line about an exception: type, message, and the file and line it came from (no machine path).

    Args:
        quote: with its message; not where it may quote a source's file or its path (promise P8).
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    message: Mapping[int, str] = dict(enumerate(str(error).splitlines()))
    said = f": {message.get(0, '')}" if quote else ""
    return f"{type(error).__name__}{said}"[:300] + where


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch.cuda's, unimported


def _device(gpus: float) -> str:
    return "cuda" if gpus > 0 else "cpu"
