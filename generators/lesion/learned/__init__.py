"""Backends ``difftumor``, ``medddpm``, ``promptlesion`` and ``promptlesion-mask``: lesions drawn by fitted networks.

Nothing here imports torch before a model is made or loaded, but for ``networks``.
"""

from lesionforge.generators.lesion.learned.filler import LearnedFiller

__all__ = ["LearnedFiller"]
