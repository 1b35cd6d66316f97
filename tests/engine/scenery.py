"""A generator that shows what lies behind its cases."""

from typing import Any, ClassVar

import numpy as np

from lesionforge.generators.base import Generator
from lesionforge.generators.types import CoronaryTree, Sample, SampleSpec, Scene


class Scenery(Generator):
    """The background, darker where the case's own stream says so."""

    backgrounds: ClassVar[bool] = True

    def make(self, case: Any, spec: SampleSpec) -> Sample:
        assert isinstance(case, Scene)
        image = case.background.image - spec.rng("shade").integers(0, 2, case.background.image.shape, dtype=np.uint8)
        voxels = len(case.case.points) if isinstance(case.case, CoronaryTree) else 0
        return Sample(spec, {"image.png": image}, {"voxels": voxels}, {}, {})


class Taken(Scenery):
    """Says itself what the engine says."""

    def make(self, case: Any, spec: SampleSpec) -> Sample:
        sample = super().make(case, spec)
        sample.labels["background"] = "mine"
        return sample
