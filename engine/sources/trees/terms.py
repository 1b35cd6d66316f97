"""ImageCAS and ImageCAS-X, one set of volumes with two sets of labels: their terms, and the segments' names."""

from __future__ import annotations

from collections.abc import Mapping

IMAGECAS = (
    "ImageCAS terms (cite Zeng et al. 2023, arXiv 2211.01607); the set's own labels, which score a Dice of 0.42 "
    "against ImageCAS-X's"
)
IMAGECASX = (
    "ImageCAS-X labels (cite Bransby et al. 2026, Zenodo 21887809) of ImageCAS volumes (cite Zeng et al. 2023, arXiv "
    "2211.01607): see both pages for their terms; ImageCAS' own labels are others, of a Dice of 0.42 against these"
)
#: ImageCAS-X's values; 14 holds D3, D4, OM3 and OM4.
SEGMENTS: Mapping[int, str] = dict(
    enumerate(
        ("LM", "LAD", "LCx", "D1", "D2", "OM1", "OM2", "IM", "RCA", "R-PDA", "R-PLA", "L-PDA", "L-PLA", "other"), 1
    )
)
RIGHT = (9, 10, 11)
