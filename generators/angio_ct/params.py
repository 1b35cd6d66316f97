"""What can be chosen about a sample across modalities: the plaques of ``lesion``, and how they are filmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from lesionforge.generators.biplane.params import BiplaneParams, ViewCount
from lesionforge.generators.carm.view import View
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import Side


@dataclass(frozen=True)
class FilmParams(Parameters):
    """The angiograms of a sample. C-arm angles and distances are drawn as those of ``biplane``.

    Attributes:
        image: ``angiogram`` (PNG, grey: Beer-Lambert in front of a procedural chest, with noise), ``silhouette``
            (PNG, 0 and 255) or ``line_integral`` (NPY float32, mm of lumen along each ray).
        count: number of views, 2 to 4.
        angles: ``paper`` or ``code``: which range the left tree's second cranial angle comes from.
        detector: pixels along each edge of the detector.
        cell_mm: edge of the cells that the lumen is projected in; one of 1 mm is some cells wide.
    """

    image: Literal["angiogram", "silhouette", "line_integral"] = "angiogram"
    count: ViewCount = 2
    angles: Literal["paper", "code"] = "paper"
    detector: Annotated[int, Interval(ge=128, le=4096)] = 512
    cell_mm: Annotated[float, Interval(ge=0.1, le=0.5)] = 0.2

    def draw(self, rng: np.random.Generator, side: Side) -> list[View]:
        """The views of one sample, from the side's ranges."""
        carm = BiplaneParams(views=self.count, angles=self.angles, detector=self.detector)
        return carm.draw_views(rng, side)


@dataclass(frozen=True)
class AngioCtParams(LesionParams):
    """Parameters of the ``angio_ct`` generator: those of ``lesion``, and ``views``.

    Attributes:
        views: how the vessels are filmed.
        ds_by: as of ``lesion``; here the label map, whose lumen is what the X-rays see.
    """

    ds_by: Literal["hu", "label"] = "label"

    views: FilmParams = field(default_factory=FilmParams)
