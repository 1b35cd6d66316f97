"""Backends by name; the learned ones are imported when they are asked for: they need torch."""

from __future__ import annotations

from generators.lesion.filler import Filler
from generators.lesion.params import LesionParams


def open_backend(params: LesionParams) -> Filler:
    """The recipe's backend."""
    if params.backend == "texture":
        from generators.lesion.texture import TextureFiller

        return TextureFiller(params.capsule)
    from generators.lesion.learned import LearnedFiller

    return LearnedFiller(params.weights, params.backend, params.steps, params.strength, params.guidance)
