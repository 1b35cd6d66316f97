"""What can be chosen about a drawn stenosis, and the distributions its shape is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from lesionforge.generators.parameters import Parameters, Range
from lesionforge.generators.types import SeverityClass

Share = Annotated[float, Interval(ge=0, le=1)]
Diameters = Annotated[float, Interval(ge=0.5, le=10)]
EDGES = (50.0, 70.0)  # %DS where the class changes
SHIPPED = "shipped:"  # before the digest of the finder's weights that the package holds


@dataclass(frozen=True)
class StenosisParams(Parameters):
    """Parameters of the ``stenosis`` generator.

    Attributes:
        backend: ``attenuation`` (physics on the real pixels, CPU, no weights) or ``diffusion`` (inpainting network).
        weights: folder of the ``diffusion`` backend's fitted weights.
        site: ``new`` (healthy vessel), ``regrade`` (the source's own lesions made tighter) or ``both``.
        mild_ds, moderate_ds, severe_ds: range of the percent diameter stenosis asked for in each class.
        margin: how many points a request keeps off the class edges 50 and 70.
        occlusion: share of severe lesions that are total (100 %).
        natural: shares of the classes mild, moderate, severe where the recipe asks for none. DiGDA's own patients
            have 1 severe lesion to 7.9 moderate ones.
        length: length of the lesion in healthy diameters, end to end, at least 20 px; drawn log-uniformly. At half of
            its narrowing a lesion is two fifths as long; real ones are .9 to 3.6 diameters long there.
        severe_length: the same for severe lesions.
        eccentric: share of lesions narrowed from one side more than the other.
        depth: how much of its depth a narrowed section keeps: with k left of the width, k^(1 - depth) of the opacity
            is left (0: circular, 1: as dark as before). Real tight lesions keep a thread of contrast: a round section
            would fade to a gap. No reading knows of it. The ``diffusion`` backend draws no section of ours: 0.
        lesions: range of the number of lesions drawn; the first is the sample's target, the rest are natural.
        vessels: who finds the vessels of frames that come without a mask: the ``finder`` (a small network; needs
            torch), which tells catheters apart, or Sato's filter for dark ``ridges``, which does not.
        finder: folder of the finder's weights, as ``lesionforge fit finder`` writes; those that are shipped where there
            is none.
        catheters: whether the source's masks may hold catheters: the finder then takes out those that it sees.
        min_width: least healthy diameter in px of a vessel that gets a lesion.
        tolerance: most points of %DS between request and measurement.
        keep_source: store the untouched frame beside the edited one.
    """

    backend: Literal["attenuation", "diffusion"] = "attenuation"
    weights: str | None = None
    site: Literal["new", "regrade", "both"] = "new"
    mild_ds: Range[Annotated[float, Interval(ge=10, le=50)]] = (30, 50)
    moderate_ds: Range[Annotated[float, Interval(ge=50, le=70)]] = (50, 70)
    severe_ds: Range[Annotated[float, Interval(ge=70, le=95)]] = (70, 90)
    margin: Annotated[float, Interval(ge=0, le=9)] = 5
    occlusion: Share = 0.05
    natural: tuple[Share, Share, Share] = (0, 0.89, 0.11)
    length: Range[Diameters] = (2.3, 9)
    severe_length: Range[Diameters] = (2.3, 9)
    eccentric: Share = 0.6
    depth: Range[Share] = (0.4, 0.7)
    lesions: Range[Annotated[int, Interval(ge=1, le=5)]] = (1, 1)
    vessels: Literal["finder", "ridges"] = "finder"
    finder: str | None = None
    catheters: bool = False
    min_width: Annotated[float, Interval(ge=5, le=40)] = 5
    tolerance: Annotated[float, Interval(ge=1, le=20)] = 5
    keep_source: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.isclose(sum(self.natural), 1):
            raise ValueError(f"natural is {self.natural}: give the shares of mild, moderate and severe, summing to 1")
        if self.backend == "diffusion" and not self.weights:
            raise ValueError("backend diffusion needs weights: the folder that `lesionforge fit stenosis` wrote")
        for name in ("mild_ds", "moderate_ds", "severe_ds"):
            low, high = self._asked(name)
            if low > high:
                raise ValueError(f"{name} is {getattr(self, name)}: margin {self.margin:g} leaves nothing of it")

    def _asked(self, name: str) -> tuple[float, float]:
        """A class's range less the margin at the class edges."""
        low, high = getattr(self, name)
        below = max([e + self.margin for e in EDGES if e <= low], default=low)
        above = min([e - self.margin for e in EDGES if e >= high], default=high)
        return max(low, below), min(high, above)

    def draw_ds(self, rng: np.random.Generator, target: str | None) -> tuple[SeverityClass, float]:
        """Class and percent diameter stenosis to ask for."""
        classes: tuple[SeverityClass, ...] = ("mild", "moderate", "severe")
        if target is None:
            severity = classes[int(rng.choice(3, p=np.asarray(self.natural) / sum(self.natural)))]
        elif target in classes:
            severity = classes[classes.index(target)]
        else:
            raise ValueError(f"target {target!r} is no severity class: mild, moderate or severe")
        total = rng.random() < self.occlusion
        ds = float(rng.uniform(*self._asked(f"{severity}_ds")))
        return severity, 100.0 if severity == "severe" and total else ds
