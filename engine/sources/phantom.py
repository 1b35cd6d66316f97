"""Procedural subjects, the embedded default: no download, any number of them.

``phantom:coronary`` gives coronary trees as labels of CT show them, ``phantom:angiogram`` X-ray frames of whole trees,
``phantom:ccta`` CT angiograms of the chests these lie in, ``phantom:abdomen`` portal-venous CT of the abdomen.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from lesionforge.engine.sources.base import Source, SourceError
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import Angiogram, BadCase, CoronaryTree, Side, Volume

KINDS = ("coronary", "angiogram", "ccta", "abdomen")
CT = ("ccta", "abdomen")
MAX_VOXELS = 2**28
MAX_COUNT = 2**60
Edge = Annotated[int, Interval(ge=16)]
Spacing = Annotated[float, Interval(ge=0.2, le=10)]


@dataclass(frozen=True)
class PhantomOptions(Parameters):
    """Which subjects, and how they are seen.

    Attributes:
        count: subjects, each with the trees of ``sides``.
        sides: the trees; an angiogram shows one of them, a CT volume both.
        stenoses: narrowings in every tree.
        series: tells collections apart: the same number gives the same subjects whatever the recipe's seed.
        voxel_mm: edge of the voxels that ``phantom:coronary`` draws the lumen in.
        size: rows and columns of ``phantom:angiogram``.
        shape: voxels of a CT volume along LPS axes, 16 or more each; the phantom's own where absent.
        spacing_mm: edges of these voxels; the phantom's own where absent.
        about: what the field of view of ``phantom:ccta`` is centred on: the heart, or the proximal main vessel of a
            side.
        kernel: of the CT's reconstruction.
        noise_hu: standard deviation of the CT's noise; drawn per subject where absent.
        disease: CT of ill subjects: labelled plaques or tumours that no backend of ``lesion`` has drawn.
    """

    count: Annotated[int, Interval(ge=1, le=MAX_COUNT)] = 100
    sides: tuple[Side, ...] = ("left", "right")
    stenoses: Annotated[int, Interval(ge=0, le=4)] = 0
    series: Annotated[int, Interval(ge=0)] = 0
    voxel_mm: Annotated[float, Interval(ge=0.2, le=1)] = 0.4
    size: Annotated[int, Interval(ge=128, le=2048)] = 512
    shape: tuple[Edge, Edge, Edge] | None = None
    spacing_mm: tuple[Spacing, Spacing, Spacing] | None = None
    about: Literal["heart", "left", "right"] = "heart"
    kernel: Literal["soft", "medium", "sharp"] = "medium"
    noise_hu: Annotated[float, Interval(ge=0, le=200)] | None = None
    disease: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sides or len(set(self.sides)) < len(self.sides):
            raise ValueError(f"sides {list(self.sides)}: name left, right or both, each once")
        if self.shape is not None and math.prod(self.shape) > MAX_VOXELS:
            raise ValueError(f"shape is {list(self.shape)}: give {MAX_VOXELS} voxels in all at most")


class Phantom(Source):
    """Subjects by number; both trees of one subject lie on the same heart, and each angiogram shows one of them.

    A CT volume is a case of its own and shows both; its trees come with it, so a lesion put into it can be projected.
    ``phantom:coronary`` varies the heart of its subject as widely as patients vary and shows what a label would.
    """

    Options: ClassVar[type[PhantomOptions]] = PhantomOptions
    public_place = True
    keeps = True
    licence = "CC0-1.0 (procedural, made by lesionforge)"

    def __init__(self, place: str, options: PhantomOptions) -> None:
        if place not in KINDS:
            raise SourceError(f"no such phantom: {place!r}; there is {', '.join(f'phantom:{k}' for k in KINDS)}")
        if options.disease and place not in CT:
            raise SourceError(f"disease: true is for phantom:ccta and phantom:abdomen; leave it out of phantom:{place}")
        super().__init__(place, options)
        self.kind = place
        self.subjects = options.count
        self.cases_per_subject = 1 if place in CT else len(options.sides)
        self.kin = f"phantom {options.series}"

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
            return phantom_abdomen(
                key, name, shape=shape, spacing_mm=spacing, kernel=o.kernel, noise_hu=o.noise_hu, disease=o.disease
            )
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
            disease=o.disease,
        )
