"""What can be chosen about an inserted lesion, and the ranges that its geometry is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from lesionforge.generators.lesion.classes import EARLY_MM
from lesionforge.generators.parameters import Parameters, Range

Backend = Literal["texture", "difftumor", "medddpm", "promptlesion", "promptlesion-mask"]

SHIPPED = "promptlesion"  # the backend whose weights come with the package

Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Interval(ge=1, le=20)]
LateMm = Annotated[float, Interval(ge=EARLY_MM, le=60)]
LengthMm = Annotated[float, Interval(ge=2, le=40)]
ArcDeg = Annotated[float, Interval(ge=60, le=360)]


@dataclass(frozen=True)
class LesionParams(Parameters):
    """Parameters of the ``lesion`` generator. The classes come from the recipe's ``balance``.

    Attributes:
        backend: ``texture`` (CPU, no weights), or a learned one.
        weights: folder of a learned backend's fitted weights; null (``promptlesion``): those of the package, of every
            class, for voxels of .5 mm (plaques) and 2 mm (tumours).
        steps: of a learned backend's sampler, a divisor of the noise levels; null: as its weights say.
        strength: of a learned backend's sampler: 0 returns the background as the autoencoder has it, 1 starts from
            noise alone; null: as its weights say.
        guidance: of a learned backend's sampler: 1 takes the prompt as it is, 0 none; null: as its weights say.
        size: edge of the stored crop about the first lesion in voxels, cut where the volume is smaller; null: all.
        early, late, plaques: range of the number of lesions of the sample's own class, by its kind.
        others: range of the number of lesions of other classes in the same crop, of any kind that has room there.
        early_mm: equivalent radius of early tumours, at most 10 mm.
        liver_mm, kidney_mm, pancreas_mm: equivalent radius of late tumours of that organ, above 10 mm.
        axes: ratio of each semi-axis to the others before they are scaled to the volume.
        late_axes: the same of late tumours, which grow longer.
        bend: elastic deformation, its standard deviation as a share of the radius.
        exophytic: share of the kidney's tumours that reach out of it.
        length_mm: length of a plaque along the vessel.
        calcified_mm: the same of calcified ones, most of them short (log-uniform), some along much of the vessel.
        spotty: share of calcified plaques that are spots in the wall: under 3 mm and 90 degrees, of 2 to 15 %DS,
            whatever ``percent_ds`` says.
        same_vessel: share of a sample's further plaques that lie on the first one's stretch of vessel, where there is
            room.
        percent_ds: diameter stenosis that a plaque causes, by the area of the lumen.
        ds_by: where ``percent_ds`` and ``ds_tolerance`` are read: ``hu``, on the HU with their blooming, or ``label``,
            on the label map. Mixed plaque, what no shape makes read so behind the scan's blur, and what a fitted model
            draws denser or softer than its class is, go by the label map in any case; the json's ``requested_ds_by``
            tells. Both readings are stored.
        remodelling: outer diameter of the vessel at the plaque / before it.
        wall_mm: thickness of the healthy wall. No source labels it: it is modelled.
        eccentric: 1: the lumen keeps its far wall; 0: narrowed from all around.
        arc_deg: part of the wall that a plaque takes; widened where the stenosis needs it.
        calcified_arc_deg: the same of calcified ones.
        min_lumen_mm: least diameter of a vessel that gets a plaque.
        blend: how far to either side of its edge a tumour is blended in, as a share of its radius, at most a third.
        psf_mm: sigma of the scanner's blur, which draws the edge of a plaque, at most a third of its radius.
        phase: of the organs' contrast, which decides on that of tumours; auto: by the HU of aorta or organs.
        capsule: share of tumours with a brighter rim.
        necrosis: share of late tumours of the texture backend with a necrotic core; null: by organ, 30 to 60 %.
        mass_effect: how far tissue is pushed aside at a tumour's edge, as a share of its radius; then the voxels
            within two radii change, not those of the blended mask alone, and their grain is softer.
        hu_tolerance: most HU between the mean asked for in a lesion's core and the one measured.
        volume_tolerance: most relative difference between a tumour's volume asked for and measured.
        ds_tolerance: most points between a plaque's percent diameter stenosis asked for and measured.
        check_hu: draw lesions again whose HU are out of tolerance or of their class, and plaques whose %DS on the HU
            is. Fitted models are held to HU of the lesions they have seen; those of voxels draw to the HU asked for,
            others often miss them, and may need it off. All of it is measured anyway.
        keep_source: store the untouched crop beside the edited one.
        compress: store volumes as ``.delta.npy.zst`` (half the size; the card shows how to read it) in place of
            ``.npy``. Label maps always are ``.npy.zst``.
    """

    backend: Backend = "texture"
    weights: str | None = None
    steps: Annotated[int, Interval(ge=1, le=1000)] | None = None
    strength: Share | None = None
    guidance: Annotated[float, Interval(ge=0, le=20)] | None = None
    size: Annotated[int, Interval(ge=16, le=1024)] | None = 128
    early: Range[Count] = (1, 3)
    late: Range[Count] = (1, 1)
    plaques: Range[Count] = (1, 2)
    others: Range[Annotated[int, Interval(ge=0, le=20)]] = (0, 0)
    early_mm: Range[Annotated[float, Interval(ge=1, le=EARLY_MM)]] = (4, 9.5)
    liver_mm: Range[LateMm] = (10.5, 32)
    kidney_mm: Range[LateMm] = (10.5, 25)
    pancreas_mm: Range[LateMm] = (10.5, 15)
    axes: Range[Annotated[float, Interval(ge=0.2, le=5)]] = (0.75, 1.25)
    late_axes: Range[Annotated[float, Interval(ge=0.2, le=5)]] = (0.75, 1.6)
    bend: Range[Annotated[float, Interval(ge=0, le=0.4)]] = (0.05, 0.2)
    exophytic: Share = 0.5
    length_mm: Range[LengthMm] = (6, 20)
    calcified_mm: Range[LengthMm] = (3, 25)
    spotty: Share = 0.0
    same_vessel: Share = 0.5
    percent_ds: Range[Annotated[float, Interval(ge=5, le=90)]] = (25, 70)
    ds_by: Literal["hu", "label"] = "hu"
    remodelling: Range[Annotated[float, Interval(ge=0.9, le=2)]] = (1.05, 1.3)
    wall_mm: Range[Annotated[float, Interval(ge=0, le=1.5)]] = (0.3, 0.6)
    eccentric: Range[Share] = (0.6, 1.0)
    arc_deg: Range[ArcDeg] = (180, 360)
    calcified_arc_deg: Range[ArcDeg] = (90, 240)
    min_lumen_mm: Annotated[float, Interval(ge=1, le=6)] = 2.0
    blend: Range[Annotated[float, Interval(ge=0, le=1 / 3)]] = (0.15, 0.33)
    psf_mm: Range[Annotated[float, Interval(ge=0, le=4)]] = (0.3, 0.45)
    phase: Literal["auto", "unenhanced", "arterial", "venous"] = "auto"
    capsule: Share = 0.0
    necrosis: Share | None = None
    mass_effect: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    hu_tolerance: Annotated[float, Interval(ge=1, le=200)] = 15
    volume_tolerance: Annotated[float, Interval(ge=0.01, le=1)] = 0.15
    ds_tolerance: Annotated[float, Interval(ge=1, le=30)] = 8
    check_hu: bool = True
    keep_source: bool = False
    compress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend not in ("texture", SHIPPED) and not self.weights:
            raise ValueError(f"backend {self.backend} needs weights: the folder that `lesionforge fit` wrote")
        if self.backend == "texture" and self.weights:
            raise ValueError("weights: the texture backend has none; leave them out")
        for name in ("steps", "strength", "guidance"):
            if self.backend == "texture" and getattr(self, name) is not None:
                raise ValueError(f"{name}: the texture backend samples from no network; leave it out")
        if self.capsule and self.backend != "texture":
            raise ValueError(f"capsule: only the texture backend draws one, not {self.backend}")
