"""Does a generator keep its promises? For the tests of whoever writes one.

    def test_it_keeps_its_promises():
        check_generator(LowDose(LowDoseParams()), [frame])

Each failure is an ``AssertionError`` that names the promise, the sample and what broke it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from lesionforge.generators.base import Generator, faults
from lesionforge.generators.types import Rejected, Sample, SampleSpec, check_field

RNG_SEEDS = (1, 2, 3)  # of the global generators, one for each time that a sample is made


def check_generator(
    generator: Generator, cases: Sequence[Any], targets: Sequence[str | None] = (), attempts: int = 20
) -> list[Sample]:
    """Make samples alone, again by a new instance, and together in another order; show and pack them.

    Args:
        generator: as the engine makes it of its parameters.
        cases: small ones; taken in turn.
        targets: the classes asked for, one sample each; the generator's own where empty, or none (``None``).
        attempts: draws after which a sample must have been accepted.

    Returns:
        The samples, for checks of one's own.

    Raises:
        AssertionError: naming the promise that is broken, and where.
    """
    kind = type(generator)
    for fault in faults(kind):
        raise AssertionError(f"{kind.__name__} is no generator: {fault}")
    targets = targets or generator.classes or (None, None)
    chosen = [cases[n % len(cases)] for n in range(max(len(targets), len(cases)))]
    before = [_digest(case) for case in chosen]
    specs = [_spec(n, targets[n % len(targets)]) for n in range(len(chosen))]
    _seed(RNG_SEEDS[0])
    generator.prepare("cpu")
    alone = [_accepted(generator, case, spec, attempts) for case, spec in zip(chosen, specs, strict=True)]
    _untouched(chosen, before)
    specs = [sample.spec for sample in alone]
    prints = [_prints(sample) for sample in alone]

    _seed(RNG_SEEDS[1])
    again = kind(copy.deepcopy(generator.params))
    again.prepare("cpu")
    for case, spec, known in zip(chosen, specs, prints, strict=True):
        _same("replay: made again by a new instance", _one(again, case, spec), known)
    _seed(RNG_SEEDS[2])
    together = list(again.generate(chosen[::-1], specs[::-1]))[::-1]
    _hold(len(together) == len(specs), f"generate: {len(together)} samples for {len(specs)} specs")
    for sample, spec, known in zip(together, specs, prints, strict=True):
        _hold(sample.spec == spec, f"order: {sample.spec.sample_id} stands where {spec.sample_id} was asked for")
        _same("batch: made together with others, in another order", sample, known)
    _untouched(chosen, before)
    for sample, case in zip(alone, chosen, strict=True):
        _check_values(generator, sample)
        _check_panels(generator, sample, case)
    size = generator.sample_bytes()
    _hold(size is None or (isinstance(size, int) and size > 0), f"sample_bytes: {size!r} is no size in bytes, or None")
    return alone


def _hold(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _untouched(cases: Sequence[Any], digests: Sequence[str]) -> None:
    for case, digest in zip(cases, digests, strict=True):
        _hold(_digest(case) == digest, f"pure: the case {case.source_id} was changed; copy its arrays before an edit")


def _spec(n: int, target: str | None) -> SampleSpec:
    sample_id = f"train-0000-{n:08d}"
    return SampleSpec(sample_id, "train", 0, 0, n, target, hashlib.sha256(sample_id.encode()).digest())


def _seed(number: int) -> None:
    """Of the global generators: what draws from one of them, differs from one making to the next."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)


def _accepted(generator: Generator, case: Any, spec: SampleSpec, attempts: int) -> Sample:
    reason = ""
    for attempt in range(attempts):
        try:
            return _one(generator, case, replace(spec, attempt=attempt))
        except Rejected as error:
            reason = str(error)
    raise AssertionError(f"redraw: {spec.sample_id} was rejected {attempts} times, last as: {reason}")


def _one(generator: Generator, case: Any, spec: SampleSpec) -> Sample:
    judged = dict[str, float]()
    generator.judge = lambda _, measured: judged.update(measured)
    made = list(generator.generate([case], [spec]))
    _hold(len(made) == 1, f"generate: {len(made)} samples for one spec")
    _hold(isinstance(made[0], Sample), f"generate: a {type(made[0]).__name__} in place of a Sample")
    _hold(made[0].spec == spec, f"generate: the spec of {spec.sample_id} came back altered")
    for name, value in judged.items():
        found = made[0].measured.get(name)
        _hold(found == value, f"judge: {spec.sample_id} is judged by {name} {value}, and measures {found}")
    return made[0]


def _prints(sample: Sample) -> dict[str, str]:
    """A digest of every part of a sample, by name."""
    parts: dict[str, Any] = {f"fields[{name!r}]": value for name, value in sample.fields.items()}
    parts |= {"labels": sample.labels, "drawn": sample.drawn, "measured": sample.measured}
    return {name: _digest(value) for name, value in parts.items()}


def _same(promise: str, sample: Sample, known: Mapping[str, str]) -> None:
    now = _prints(sample)
    differing = sorted(name for name in now.keys() | known.keys() if now.get(name) != known.get(name))
    where = f"{sample.spec.sample_id} differs in {', '.join(differing)}"
    _hold(not differing, f"{promise}, {where}; draw from spec.rng alone")


def _digest(value: Any) -> str:
    if isinstance(value, np.ndarray):
        text = f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    elif is_dataclass(value) and not isinstance(value, type):
        text = str([(field.name, _digest(getattr(value, field.name))) for field in fields(value)])
    elif isinstance(value, Mapping):
        text = str([(repr(key), _digest(item)) for key, item in value.items()])
    elif isinstance(value, list | tuple):
        text = str([_digest(item) for item in value])
    else:
        text = repr(value)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_values(generator: Generator, sample: Sample) -> None:
    """Everything in a sample can be stored, and is what the generator declares."""
    name = sample.spec.sample_id
    _hold(bool(sample.fields), f"encode: {name} has no fields")
    for field, value in sample.fields.items():
        try:
            check_field(field, value)
        except ValueError as error:
            raise AssertionError(f"encode: {name}: {error}") from None
    _json(sample)
    for measure, number in sample.measured.items():
        _hold(isinstance(number, Real), f"measures: {name}: {measure} is {number!r}, not a number")
    unknown = sorted(sample.measured.keys() - set(generator.measures or sample.measured))
    _hold(not unknown, f"measures: {name} has {', '.join(unknown)}, which {type(generator).__name__}.measures lacks")


def _json(sample: Sample) -> dict[str, Any]:
    """The sample's ``json`` member, as it is read back."""
    spec = sample.spec
    meta = {"sample_id": spec.sample_id, "split": spec.split, "variant": spec.variant, "target": spec.target}
    meta |= {**sample.labels, "drawn": sample.drawn, "measured": sample.measured, "redraws": spec.attempt}
    try:
        out: dict[str, Any] = json.loads(json.dumps(meta, allow_nan=False, default=_plain))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"encode: labels, drawn or measured of {spec.sample_id} are no JSON: {error}") from None
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot stand in JSON")


def _check_panels(generator: Generator, sample: Sample, case: Any) -> None:
    """People can look at it: uint8 layers (H, W), of one shape in each panel."""
    name = sample.spec.sample_id
    meta = {"subject": case.subject, "source_id": case.source_id, **_json(sample)}
    try:
        panels = generator.panels({**sample.fields, "json": meta}, meta)
    except Exception as error:
        raise AssertionError(f"panels: {name} cannot be shown: {type(error).__name__}: {error}") from error
    _hold(bool(panels), f"panels: {name} has none to show")
    for panel in panels:
        layers = list(panel.layers.items())
        _hold(bool(layers), f"panels: {name}: {panel.title!r} is empty")
        for layer, picture in layers:
            good = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 2
            _hold(good, f"panels: {name}: layer {layer!r} of {panel.title!r} is no uint8 (H, W) array")
            _hold(picture.shape == layers[0][1].shape, f"panels: {name}: layers of {panel.title!r} differ in shape")
