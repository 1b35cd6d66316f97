"""What an abdomen phantom's organs are painted on: bent coordinates, noise, the HU of the subject's tissues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats

Point = tuple[Floats, Floats, Floats]
BEND_MM = 25.0  # more than any place is moved by: four deviations of the noise


class Tissues(Protocol):
    """HU of the organs (``abdomen.Phase``)."""

    @property
    def liver(self) -> float: ...
    @property
    def kidney(self) -> float: ...
    @property
    def medulla(self) -> float: ...
    @property
    def pancreas(self) -> float: ...
    @property
    def spleen(self) -> float: ...
    @property
    def aorta(self) -> float: ...
    @property
    def veins(self) -> float: ...


@dataclass(frozen=True)
class AbdomenScene:
    """A canvas or a part of it: bent coordinates, depth inside the cavity, noise of two sizes."""

    canvas: Canvas
    p: Point
    cavity: Floats
    lumps: Floats
    fine: Floats

    def within(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> AbdomenScene | None:
        """The part between two corners and ``BEND_MM`` more, since places bend so far; None where there is none."""
        part = self.canvas.crop([v - BEND_MM for v in low], [v + BEND_MM for v in high])
        if part is None:
            return None
        x, y, z = (q[part.at] for q in self.p)
        return AbdomenScene(part, (x, y, z), self.cavity[part.at], self.lumps[part.at], self.fine[part.at])
