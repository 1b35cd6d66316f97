"""Backends by name; the learned ones are imported when they are asked for: they need torch."""

from __future__ import annotations

from lesionforge.generators.lesion.filler import Filler
from lesionforge.generators.lesion.params import LesionParams


def open_backend(params: LesionParams) -> Filler:
    """The recipe's backend."""
    if params.backend == "texture":
        from lesionforge.generators.lesion.texture import TextureFiller

        return TextureFiller(params.capsule)
    from lesionforge.generators.lesion.learned import LearnedFiller

    return LearnedFiller(params.weights, params.backend, params.steps, params.strength, params.guidance)
