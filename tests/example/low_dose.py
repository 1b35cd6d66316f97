"""Angiograms as a lower dose would have given them: quantum noise, its dose drawn by class."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lesionforge.generators import Angiogram, Generator, Interval, Parameters, Range, Sample, SampleSpec


@dataclass(frozen=True)
class LowDoseParams(Parameters):
    """What a recipe may set.

    Attributes:
        photons: detected per grey level at full dose.
        half, tenth: range of the dose in each class, as a share of the full one.
    """

    photons: Annotated[float, Interval(ge=1, le=1000)] = 20
    half: Range[Annotated[float, Interval(ge=0.01, le=1)]] = (0.4, 0.6)
    tenth: Range[Annotated[float, Interval(ge=0.01, le=1)]] = (0.05, 0.15)


class LowDose(Generator):
    """Adds quantum noise to an angiogram."""

    Params = LowDoseParams
    classes = ("half", "tenth")
    limits = ("Quantum noise alone: no electronic noise, no blur of the detector.",)
    measures = ("noise_grey",)

    def make(self, case: Angiogram, spec: SampleSpec) -> Sample:
        dose = spec.rng("dose").uniform(*getattr(self.params, spec.target or "half"))  # drawn first, then applied
        scale = self.params.photons * dose
        image = np.rint(spec.rng("noise").poisson(case.image * scale) / scale).clip(0, 255).astype(np.uint8)
        noise = float(np.std(image - case.image.astype(float)))
        return Sample(spec, {"image.png": image, "source.png": case.image}, {}, {"dose": dose}, {"noise_grey": noise})
