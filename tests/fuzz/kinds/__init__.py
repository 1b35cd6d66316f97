"""What is mutated: a module per kind, each with three functions.

``build(rng, folder)`` writes one input, the sound one where ``rng.sound`` is; ``run(rng, folder)`` has the product
read it, and returns the reasons of what was quarantined; ``told(message)`` says whether an error names its file or
field.
"""

from __future__ import annotations

import importlib
from typing import Any

#: Kind -> share of the inputs.
KINDS = ("nifti", "gzips", "ct_volumes", "dicom", "ct_series", "pictures", "coco", "boxes", "recipes", "tars")
KINDS = (*KINDS, "indexes", "documents", "segments", "bombs")
WEIGHTS = (15, 8, 14, 18, 10, 13, 12, 9, 10, 6, 7, 2, 4, 2)


def load(kind: str) -> Any:
    """The module of a kind."""
    return importlib.import_module(f"tests.fuzz.kinds.{kind}")
