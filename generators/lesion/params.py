"""What can be chosen about an inserted lesion, and the ranges that its geometry is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from lesionforge.generators.lesion.classes import EARLY_MM

Range = tuple[float, float]
Backend = Literal["texture", "difftumor", "medddpm", "promptlesion", "promptlesion-mask"]
SAMPLER = (("steps", 1, 1000), ("strength", 0, 1), ("guidance", 0, 20))  # what may be asked of a learned backend's


@dataclass(frozen=True)
class LesionParams:
    """Parameters of the ``lesion`` generator. The classes come from the recipe's ``balance``.

    Attributes:
        backend: ``texture`` (CPU, no weights), or a learned one.
        weights: folder of a learned backend's fitted weights.
        steps, strength, guidance: of a learned backend's sampler; null: as its weights say. ``steps`` divides the
            noise levels; ``strength`` 0 returns the background as the autoencoder has it, 1 starts from noise alone;
            ``guidance`` 1 takes the prompt as it is, 0 none.
        size: edge of the stored crop about the first lesion in voxels, cut where the volume is smaller; null: all.
        early, late, plaques: range of the number of lesions of the sample's own class, by its kind.
        others: range of the number of lesions of other classes in the same crop, of any kind that has room there.
        early_mm: equivalent radius of early tumours, at most 10 mm.
        liver_mm, kidney_mm, pancreas_mm: the same of late tumours, above 10 mm.
        axes: ratio of each semi-axis to the others before they are scaled to the volume.
        bend: elastic deformation, its standard deviation as a share of the radius.
        exophytic: share of the kidney's tumours that reach out of it.
        length_mm: length of a plaque along the vessel; ``calcified_mm``: of calcified ones, which are shorter.
        percent_ds: diameter stenosis that a plaque causes, by the area of the lumen.
        remodelling: outer diameter of the vessel at the plaque / before it.
        wall_mm: thickness of the healthy wall. No source labels it: it is modelled.
        eccentric: 1: the lumen keeps its far wall; 0: narrowed from all around.
        arc_deg: part of the wall that a plaque takes; widened where the stenosis needs it. ``calcified_arc_deg``:
            of calcified ones.
        min_lumen_mm: least diameter of a vessel that gets a plaque.
        blend: sigma of a tumour's edge as a share of its radius, at most a third (defect G14).
        psf_mm: sigma of the scanner's blur, which draws the edge of a plaque, at most a third of its radius.
        capsule: share of tumours with a brighter rim.
        mass_effect: how far tissue is pushed aside at a tumour's edge, as a share of its radius; then the voxels
            within two radii change, not those of the blended mask alone, and their grain is softer.
        hu_tolerance: most HU between the mean asked for in a lesion's core and the one measured.
        volume_tolerance: most relative difference between a tumour's volume asked for and measured.
        ds_tolerance: the same for a plaque's percent diameter stenosis, in points.
        check_hu: draw lesions again whose HU are out of tolerance or of their class. Backends that draw HU of their
            own may need it off; ``hu_in_class`` is measured anyway.
        keep_source: store the untouched crop beside the edited one.
        compress: store volumes as ``.npy.gz`` in place of ``.npy``. Label maps always are.
    """

    # Read by pydantic in the engine; a plain dict, so that generators need no pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    backend: Backend = "texture"
    weights: str | None = None
    steps: int | None = None
    strength: float | None = None
    guidance: float | None = None
    size: int | None = 128
    early: tuple[int, int] = (1, 3)
    late: tuple[int, int] = (1, 1)
    plaques: tuple[int, int] = (1, 2)
    others: tuple[int, int] = (0, 0)
    early_mm: Range = (4, 9.5)
    liver_mm: Range = (10.5, 32)
    kidney_mm: Range = (10.5, 25)
    pancreas_mm: Range = (10.5, 15)
    axes: Range = (0.75, 1.25)
    bend: Range = (0.05, 0.2)
    exophytic: float = 0.5
    length_mm: Range = (6, 20)
    calcified_mm: Range = (3, 10)
    percent_ds: Range = (25, 70)
    remodelling: Range = (1.05, 1.3)
    wall_mm: Range = (0.3, 0.6)
    eccentric: Range = (0.6, 1.0)
    arc_deg: Range = (180, 360)
    calcified_arc_deg: Range = (90, 240)
    min_lumen_mm: float = 2.0
    blend: Range = (0.1, 0.25)
    psf_mm: Range = (0.3, 0.45)
    capsule: float = 0.0
    mass_effect: float = 0.0
    hu_tolerance: float = 15
    volume_tolerance: float = 0.15
    ds_tolerance: float = 8
    check_hu: bool = True
    keep_source: bool = False
    compress: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("early", 1.0, 20.0),
            ("late", 1, 20),
            ("plaques", 1, 20),
            ("others", 0, 20),
            ("early_mm", 1, EARLY_MM),
            ("liver_mm", EARLY_MM, 60),
            ("kidney_mm", EARLY_MM, 60),
            ("pancreas_mm", EARLY_MM, 60),
            ("axes", 0.2, 5),
            ("bend", 0, 0.4),
            ("length_mm", 2, 40),
            ("calcified_mm", 2, 40),
            ("percent_ds", 5, 90),
            ("remodelling", 0.9, 2),
            ("wall_mm", 0, 1.5),
            ("eccentric", 0, 1),
            ("arc_deg", 60, 360),
            ("calcified_arc_deg", 60, 360),
            ("blend", 0, 1 / 3),
            ("psf_mm", 0, 1.5),
        ):
            a, b = getattr(self, name)
            if not low <= a <= b <= high:
                raise ValueError(f"{name} is {a:g} ... {b:g}: give a range, low first, within {low:g} ... {high:g}")
        for name, low, high in (
            ("exophytic", 0, 1),
            ("min_lumen_mm", 1, 6),
            ("capsule", 0, 1),
            ("mass_effect", 0, 0.5),
            ("hu_tolerance", 1, 200),
            ("volume_tolerance", 0.01, 1),
            ("ds_tolerance", 1, 30),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"{name} is {value:g}: give {low:g} to {high:g}")
        if self.size is not None and not 16 <= self.size <= 1024:
            raise ValueError(f"size is {self.size}: give 16 to 1024 voxels an edge, or null for the whole volume")
        if self.backend != "texture" and not self.weights:
            raise ValueError(f"backend {self.backend} needs weights: the folder that `lesionforge fit` wrote")
        if self.backend == "texture" and self.weights:
            raise ValueError("weights: the texture backend has none; leave them out")
        for name, low, high in SAMPLER:
            if (chosen := getattr(self, name)) is None:
                continue
            if self.backend == "texture":
                raise ValueError(f"{name}: the texture backend samples from no network; leave it out")
            if not low <= chosen <= high:
                raise ValueError(f"{name} is {chosen:g}: give {low:g} to {high:g}")
        if self.capsule and self.backend != "texture":
            raise ValueError(f"capsule: only the texture backend draws one, not {self.backend}")
