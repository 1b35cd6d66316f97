"""Backends ``difftumor``, ``medddpm``, ``promptlesion`` and ``promptlesion-mask``: lesions drawn by fitted networks.

Nothing here imports torch before a model is made or loaded, but for ``networks``.
"""

from generators.lesion.learned.filler import LearnedFiller


def open_filler(backend: str, weights: str | None) -> LearnedFiller:
    """The filler of a recipe's backend and weights, by the sampler that the weights were fitted for."""
    return LearnedFiller(weights, backend)


__all__ = ["LearnedFiller", "open_filler"]
