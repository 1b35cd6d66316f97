"""Procedural subjects, the embedded default: no download, any number of them.

``phantom:coronary`` gives coronary trees, ``phantom:angiogram`` X-ray frames of the same trees.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from engine.sources.base import SourceError
from generators.types import Angiogram, BadCase, CoronaryTree, Side

KINDS = ("coronary", "angiogram")
MAX_COUNT = 2**60


@dataclass(frozen=True)
class PhantomOptions:
    """``count`` subjects, each with the trees of ``sides``; ``stenoses`` narrowings in every tree.

    ``series`` tells collections apart: the same number gives the same subjects whatever the recipe's seed.
    ``voxel_mm``: edge of the voxels that ``phantom:coronary`` draws the lumen in. ``size``: rows and columns of
    ``phantom:angiogram``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    count: int = 100
    sides: tuple[Side, ...] = ("left", "right")
    stenoses: int = 0
    series: int = 0
    voxel_mm: float = 0.4
    size: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_COUNT:
            raise ValueError(f"count is {self.count}: give 1 or more subjects")
        if not self.sides or len(set(self.sides)) < len(self.sides):
            raise ValueError(f"sides {list(self.sides)}: name left, right or both, each once")
        if not 0 <= self.stenoses <= 4:
            raise ValueError(f"stenoses is {self.stenoses}: a tree has room for 0 to 4")
        if not 0.2 <= self.voxel_mm <= 1:
            raise ValueError(f"voxel_mm is {self.voxel_mm}: give 0.2 to 1 mm")
        if not 128 <= self.size <= 2048:
            raise ValueError(f"size is {self.size}: give 128 to 2048 pixels an edge")


class Phantom:
    """Subjects by number; both trees of one subject lie on the same heart, and each angiogram shows one of them."""

    Options: ClassVar[type[PhantomOptions]] = PhantomOptions
    public_place = True
    licence = "CC0-1.0 (procedural, made by lesionforge)"

    def __init__(self, place: str, options: PhantomOptions) -> None:
        if place not in KINDS:
            raise SourceError(f"no such phantom: {place!r}; there is {', '.join(f'phantom:{k}' for k in KINDS)}")
        self.kind = place
        self.options = options
        self.subjects = options.count
        self.cases_per_subject = len(options.sides)

    def fingerprint(self) -> str:
        """The options say all; they are in the identity already."""
        return "procedural"

    def read(self, case: int) -> CoronaryTree | Angiogram:
        """Grow one tree, and film it where angiograms are wanted."""
        subject, part = divmod(case, self.cases_per_subject)
        name = f"phantom/{self.options.series}/{subject}"
        key = hashlib.blake2b(name.encode(), digest_size=32).digest()
        o = self.options
        try:  # imported late: a plan of phantoms needs none of it
            if self.kind == "angiogram":
                from generators.phantom.angiogram import phantom_angiogram

                return phantom_angiogram(key, o.sides[part], name, stenoses=o.stenoses, size=o.size)
            from generators.phantom.tree import phantom_tree

            return phantom_tree(key, o.sides[part], name, stenoses=o.stenoses, voxel_mm=o.voxel_mm)
        except ValueError as error:  # no room left for that many stenoses
            raise BadCase(str(error)) from None
