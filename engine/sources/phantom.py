"""Procedural subjects, the embedded default: no download, any number of them.

``phantom:coronary`` gives coronary trees, ``phantom:angiogram`` X-ray frames of the same trees, ``phantom:ccta`` CT
angiograms of the chests they lie in, ``phantom:abdomen`` portal-venous CT of the abdomen.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from lesionforge.engine.sources.base import Source, SourceError
from lesionforge.generators.types import Angiogram, BadCase, CoronaryTree, Side, Volume

KINDS = ("coronary", "angiogram", "ccta", "abdomen")
CT = ("ccta", "abdomen")
MAX_VOXELS = 2**28
MAX_COUNT = 2**60


@dataclass(frozen=True)
class PhantomOptions:
    """``count`` subjects, each with the trees of ``sides``; ``stenoses`` narrowings in every tree.

    ``series`` tells collections apart: the same number gives the same subjects whatever the recipe's seed.
    ``voxel_mm``: edge of the voxels that ``phantom:coronary`` draws the lumen in. ``size``: rows and columns of
    ``phantom:angiogram``.

    Of CT: ``shape`` and ``spacing_mm`` of the volume along LPS axes (the phantom's own where absent), ``about`` what
    the field of view of ``phantom:ccta`` is centred on (the heart, or the proximal main vessel of a side), ``kernel``
    of the reconstruction, ``noise_hu`` its noise's standard deviation (drawn per subject where absent).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    count: int = 100
    sides: tuple[Side, ...] = ("left", "right")
    stenoses: int = 0
    series: int = 0
    voxel_mm: float = 0.4
    size: int = 512
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    about: Literal["heart", "left", "right"] = "heart"
    kernel: Literal["soft", "medium", "sharp"] = "medium"
    noise_hu: float | None = None

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
        if self.shape is not None and (min(self.shape) < 16 or math.prod(self.shape) > MAX_VOXELS):
            raise ValueError(
                f"shape is {list(self.shape)}: give 16 voxels an edge or more, {MAX_VOXELS} in all at most"
            )
        if self.spacing_mm is not None and not all(0.2 <= mm <= 10 for mm in self.spacing_mm):
            raise ValueError(f"spacing_mm is {list(self.spacing_mm)}: give 0.2 to 10 mm along each axis")
        if self.noise_hu is not None and not 0 <= self.noise_hu <= 200:
            raise ValueError(f"noise_hu is {self.noise_hu}: give 0 to 200 HU")


class Phantom(Source):
    """Subjects by number; both trees of one subject lie on the same heart, and each angiogram shows one of them.

    A CT volume is a case of its own and shows both. Subject n of ``phantom:ccta`` has the trees of subject n of
    ``phantom:coronary``, so a lesion put into the CT can be projected.
    """

    Options: ClassVar[type[PhantomOptions]] = PhantomOptions
    public_place = True
    licence = "CC0-1.0 (procedural, made by lesionforge)"

    def __init__(self, place: str, options: PhantomOptions) -> None:
        if place not in KINDS:
            raise SourceError(f"no such phantom: {place!r}; there is {', '.join(f'phantom:{k}' for k in KINDS)}")
        super().__init__(place, options)
        self.kind = place
        self.subjects = options.count
        self.cases_per_subject = 1 if place in CT else len(options.sides)

    def fingerprint(self) -> str:
        """The options say all; they are in the identity already."""
        return "procedural"

    def read(self, case: int) -> CoronaryTree | Angiogram | Volume:
        """Grow one tree, film it where angiograms are wanted, or scan both."""
        subject, part = divmod(case, self.cases_per_subject)
        name = f"phantom/{self.options.series}/{subject}"
        key = hashlib.blake2b(name.encode(), digest_size=32).digest()
        o = self.options
        try:  # imported late: a plan of phantoms needs none of it
            if self.kind in CT:
                return self._scan(key, name)
            if self.kind == "angiogram":
                from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram

                return phantom_angiogram(key, o.sides[part], name, stenoses=o.stenoses, size=o.size)
            from lesionforge.generators.phantom.tree.coronary import phantom_tree

            return phantom_tree(key, o.sides[part], name, stenoses=o.stenoses, voxel_mm=o.voxel_mm)
        except ValueError as error:  # no room left for that many stenoses
            raise BadCase(str(error)) from None

    def _scan(self, key: bytes, name: str) -> Volume:
        o = self.options
        if self.kind == "abdomen":
            from lesionforge.generators.phantom.ct.abdomen import phantom_abdomen

            shape, spacing = o.shape or (144, 112, 96), o.spacing_mm or (2.5, 2.5, 2.5)
            return phantom_abdomen(key, name, shape=shape, spacing_mm=spacing, kernel=o.kernel, noise_hu=o.noise_hu)
        from lesionforge.generators.phantom.ct.ccta import phantom_ccta

        shape, spacing = o.shape or (128, 128, 128), o.spacing_mm or (1.0, 1.0, 1.0)
        return phantom_ccta(
            key,
            name,
            shape=shape,
            spacing_mm=spacing,
            about=o.about,
            kernel=o.kernel,
            noise_hu=o.noise_hu,
            stenoses=o.stenoses,
        )
