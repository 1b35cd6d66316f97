"""The generator of ``trees.yaml``: what reconstruction reads, and no more."""

from __future__ import annotations

from typing import Any

from lesionforge.generators.base import Generator
from lesionforge.generators.biplane.generator import Biplane
from lesionforge.generators.types import Sample, SampleSpec


class LeanBiplane(Biplane):
    """Samples without their hulls, which are two thirds of the bytes and follow from the silhouettes."""

    def make(self, case: Any, spec: SampleSpec) -> Sample:
        """See ``Biplane.make``."""
        made = super().make(case, spec)
        for name in [name for name in made.fields if name.startswith("hull")]:
            del made.fields[name]
        return made

    panels = Generator.panels  # those of ``Biplane`` show the hull
