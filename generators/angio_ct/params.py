"""What can be chosen about a sample across modalities: the plaques of ``lesion``, and how they are filmed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from lesionforge.generators.biplane.params import MAX_VIEWS, MIN_VIEWS, BiplaneParams
from lesionforge.generators.carm import View
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import Side


@dataclass(frozen=True)
class FilmParams:
    """The angiograms of a sample. C-arm angles and distances are drawn as those of ``biplane``.

    Attributes:
        image: ``angiogram`` (PNG, grey: Beer-Lambert in front of a procedural chest, with noise), ``silhouette``
            (PNG, 0 and 255) or ``line_integral`` (NPY float32, mm of lumen along each ray).
        count: number of views, 2 to 4.
        angles: ``paper`` or ``code``: which range the left tree's second cranial angle comes from.
        detector: pixels along each edge of the detector.
        cell_mm: edge of the cells that the lumen is projected in.
    """

    # Read by pydantic in the engine; a plain dict, so that generators need no pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    image: Literal["angiogram", "silhouette", "line_integral"] = "angiogram"
    count: int = 2
    angles: Literal["paper", "code"] = "paper"
    detector: int = 512
    cell_mm: float = 0.2

    def __post_init__(self) -> None:
        if not MIN_VIEWS <= self.count <= MAX_VIEWS:
            raise ValueError(f"views.count is {self.count}: give {MIN_VIEWS} to {MAX_VIEWS}")
        if not 128 <= self.detector <= 4096:
            raise ValueError(f"views.detector is {self.detector}: give 128 to 4096 pixels an edge")
        if not 0.1 <= self.cell_mm <= 0.5:
            raise ValueError(f"views.cell_mm is {self.cell_mm:g}: give 0.1 to 0.5, a lumen of 1 mm is some cells wide")

    def draw(self, rng: np.random.Generator, side: Side) -> list[View]:
        """The views of one sample, from the side's ranges."""
        carm = BiplaneParams(views=self.count, angles=self.angles, detector=self.detector)
        return carm.draw_views(rng, side)


@dataclass(frozen=True)
class AngioCtParams(LesionParams):
    """Parameters of the ``angio_ct`` generator: those of ``lesion``, and ``views``."""

    views: FilmParams = field(default_factory=FilmParams)
