"""Does a generator keep its contract? What it returns is checked before it is encoded, field by field."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from numbers import Real
from typing import Any

from lesionforge.generators.types import Sample, SampleSpec


class BadOutput(Exception):
    """A generator returned something else than its contract says; the message names the field and the value."""


def samples(made: Iterable[Any], specs: Sequence[SampleSpec]) -> list[Sample]:
    """The samples of one call of a generator, one per spec.

    Arrays are left to ``sinks.encode``, which looks at every value of them anyway.

    Raises:
        BadOutput: for another number of samples, another type, somebody else's sample, or a number that is none.
    """
    out = list(islice(made, len(specs) + 1))  # a generator without an end is met as one too many
    if len(out) != len(specs):
        count = f"more than {len(specs)}" if len(out) > len(specs) else str(len(out))
        raise BadOutput(f"{count} samples for {len(specs)} asked for")
    for sample, spec in zip(out, specs, strict=True):
        _sample(sample, spec)
    return out


def _sample(sample: Any, spec: SampleSpec) -> None:
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
        if not isinstance(value, Real):
            raise BadOutput(f"measured.{name} is {str(value)[:80]!r}, not a number")


def _finite(path: str, value: Any) -> None:
    if isinstance(value, Real) and not math.isfinite(float(value)):
        raise BadOutput(f"{path} is {value}")
    if isinstance(value, Mapping):
        for name, item in value.items():
            _finite(f"{path}.{name}", item)
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            _finite(f"{path}.{n}", item)
