"""A generator that writes out all it is given: what a case carries can be found in the dataset, if anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from lesionforge.generators.base import Generator
from lesionforge.generators.types import Angiogram, BadCase, Case, Panel, Rejected, Sample, SampleSpec


@dataclass(frozen=True)
class NosyParams:
    """``complain``: raise with all that is known in place of making every third sample."""

    complain: bool = True


class Nosy(Generator):
    Params: ClassVar[type[NosyParams]] = NosyParams
    classes: tuple[str, ...] = ()

    def sample_bytes(self) -> int:
        return 40_000

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        return [Panel(str(meta["subject"]), {"image": fields["image.png"]})]

    def generate(self, cases: Sequence[Case], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        for case, spec in zip(cases, specs, strict=True):
            known = {field.name: repr(getattr(case, field.name)) for field in fields(case)}
            fault = (BadCase, Rejected, RuntimeError)[spec.case % 3]
            if self.params.complain and spec.variant == 1 and spec.case % 2:
                raise fault(f"this is {known}")
            image = case.image if isinstance(case, Angiogram) else np.zeros((128, 128), np.uint8)
            box = {"box": [40.0, 40.0, 60.0, 60.0], "severity_class": "severe", "synthetic": True}
            yield Sample(spec, {"image.png": image}, {"lesions": [box], "known": known}, {"spec": repr(spec)}, {})
