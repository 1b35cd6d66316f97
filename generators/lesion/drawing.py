"""One lesion on its way from a request to a label: its shape on the voxels, its tissue, what it measures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion import blend, lumen, measure
from lesionforge.generators.lesion.bed import Course
from lesionforge.generators.lesion.blend import push
from lesionforge.generators.lesion.classes import (
    LEGEND,
    VALUE,
    WATER_HU,
    home,
)
from lesionforge.generators.lesion.filler import Filler, Necrosis, OwnHu, Patch
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.phase import NECROSIS_HU, NECROSIS_SHARE, NECROTIC, contrast_range, draw_contrast
from lesionforge.generators.lesion.plaque import Plaque
from lesionforge.generators.lesion.scene import Box, CtScene, box_about, overlap
from lesionforge.generators.lesion.tumour import Tumour, radius_mm
from lesionforge.generators.lesion.vessels import STEP_MM
from lesionforge.generators.types import Rejected

MARGIN_MM = 8.0  # of background about the blended mask in a patch
ALIVE_HU = 20.0  # of solid tissue over dead


class LesionDrawing:
    """A lesion in a scene. Its label is set when it is made; its tissue when ``paint`` is called."""

    def __init__(
        self,
        scene: CtScene,
        params: LesionParams,
        lesion: Tumour | Plaque,
        box: Box,
        mask: NDArray[np.bool_],
        rng: np.random.Generator,
        course: Course | None = None,
    ) -> None:
        self.scene, self.params, self.lesion, self.course = scene, params, lesion, course
        self.lesion_class = lesion.lesion_class
        self.width_mm: float | None
        self._noise = rng.bit_generator.random_raw(2)  # the same noise in every round
        volume = int(mask.sum()) * scene.voxel_mm3
        self.radius_mm = radius_mm(volume)
        if isinstance(lesion, Plaque):
            self.sigma_mm, self.width_mm = lesion.edge_mm(volume), None
        else:
            self.width_mm = float(rng.uniform(*params.blend)) * self.radius_mm
            self.sigma_mm = self.width_mm / blend.EDGE
        where = np.argwhere(mask) + [s.start for s in box]
        self.low, self.high = where.min(axis=0), where.max(axis=0)
        self.at: tuple[int, int, int] = tuple(where[len(where) // 2].tolist())
        self.centre = where.mean(axis=0)
        organ = home(self.lesion_class)
        if isinstance(lesion, Tumour) and params.mass_effect:
            push(scene, tuple(np.rint(self.centre).astype(int).tolist()), self.radius_mm, params.mass_effect)
        scene.labels[box][mask] = VALUE[self.lesion_class]
        scene.take(self.low, self.high)
        self.necrosis: Necrosis | None = None
        self.requested_hu = self._request(rng, organ)
        self.asked_hu = self.requested_hu
        self.own_hu: OwnHu | None = None  # the backend's, in place of the class's
        self.box = self._patch_box(0)
        self.region: measure.Region
        self.tissue: measure.Tissue
        self.narrowing: measure.PlaqueNarrowing | None = None

    def _request(self, rng: np.random.Generator, organ: str) -> float:
        """Mean HU of the core: by the class's distribution, or by the organ's level and its phase."""
        if isinstance(self.lesion, Plaque):
            return self.lesion.mean_hu
        near = self._patch_box(0)
        around = self.scene.hu[near][self.scene.labels[near] == VALUE[organ]]
        level = float(np.median(around)) if len(around) else float(self.scene.hu[self.at])
        solid = max(level + draw_contrast(rng, organ, self.scene.phase), WATER_HU)
        chance, share, dead = (
            float(rng.uniform()),
            float(rng.uniform(*NECROSIS_SHARE)),
            float(rng.uniform(*NECROSIS_HU)),
        )
        often = NECROTIC[organ] if self.params.necrosis is None else self.params.necrosis
        if self.params.backend == "texture" and self.lesion_class.endswith("late") and chance < often:
            self.necrosis, solid = Necrosis(share, dead), max(solid, dead + ALIVE_HU)
            return (1 - share) * solid + share * dead
        return solid

    def _patch_box(self, least: int) -> Box:
        """The lesion, what its blur reaches, a margin, and ``least`` voxels an edge where the scene is so large."""
        spacing, shape = self.scene.spacing, self.scene.hu.shape
        margin = blend.reach(self.sigma_mm, spacing) + np.ceil(MARGIN_MM / np.array(spacing)).astype(np.int64)
        low, high = np.maximum(self.low - margin, 0), np.minimum(self.high + margin + 1, shape)
        edge = np.maximum(high - low, np.minimum(least, shape))
        start = np.clip((low + high - edge) // 2, 0, shape - edge)
        return box_about(start, start + edge - 1, shape)

    def patch(self, least: int) -> Patch:
        """What a backend is given."""
        self.box = self._patch_box(least)
        self.base = self.scene.hu[self.box].copy()
        others = self.scene.labels[self.box].copy()
        ends = zip(self.low.tolist(), self.high.tolist(), self.box, strict=True)
        inner = tuple(slice(a - s.start, b + 1 - s.start) for a, b, s in ends)
        parts, _ = scipy.ndimage.label(others == VALUE[self.lesion_class])
        here = tuple(x - s.start for x, s in zip(self.at, self.box, strict=True))
        mask = np.zeros(others.shape, bool)
        mask[inner] = parts[inner] == parts[here]
        others[mask] = VALUE[home(self.lesion_class)]
        self.region = measure.region(self.scene.labels, self.lesion_class, self.box, self.at, self.scene.spacing)
        if self.course:
            kept = np.zeros(mask.shape, bool)
            inner, outer = overlap(self.course.bed.box, self.box)
            kept[outer] = self.course.bed.kept[inner]
        else:
            kept = blend.beyond(mask, others == VALUE[home(self.lesion_class)], self.scene.spacing)
        self._weight = blend.weights(mask, self.sigma_mm, self.scene.spacing, self.width_mm)
        self._weight[kept] = 0
        return Patch(
            hu=self.base.astype(np.float32),
            mask=mask,
            others=others,
            legend=LEGEND,
            lesion_class=self.lesion_class,
            spacing_mm=self.scene.spacing,
            radius_mm=self.radius_mm,
            mean_hu=self.asked_hu,
            necrosis=self.necrosis,
            core=self.region.core,
            kept=kept,
        )

    def ask_own(self, filler: Filler, patch: Patch) -> Patch:
        """Ask for what the backend's lesions of the class measure, where it has HU of its own."""
        rng = np.random.Generator(np.random.Philox(key=self._noise).jumped())
        if (own := filler.own_hu(patch, rng)) is None:
            return patch
        self.own_hu, self.requested_hu, self.asked_hu = own, own.mean, own.mean
        if self.course and isinstance(self.lesion, Plaque):
            low, high = self.lesion.class_hu
            if not low <= own.mean <= high:  # its shape was chosen to read as asked with HU of the class
                self.course = replace(self.course, ds_by="label")
        return patch.asked(own.mean)

    def rng(self) -> np.random.Generator:
        """The same stream in every round, so that rounds differ by the request alone."""
        return np.random.Generator(np.random.Philox(key=self._noise))

    def paint(self, tissue: NDArray[np.float32], hole: NDArray[np.bool_] | None) -> None:
        """Composite a backend's tissue into the scene, as it is in the backend's ``hole``, and measure it."""
        scene, weight = self.scene, self._weight if hole is None else hole.astype(np.float32)
        scene.hu[self.box] = blend.composite(self.base, tissue, weight)
        scene.changed[self.box] |= weight > 0
        self.tissue = self.region.read(scene.hu)

    def narrow(self) -> None:
        """Measure what a plaque leaves of its vessel, once all lesions of the scene have their place."""
        if at := self.course:
            self.narrowing = measure.narrowing(self.scene.labels, at.vessel, at.rows, self.scene.spacing)

    def finish(self) -> None:
        """Measure that on its tissue, once this is final."""
        if (at := self.course) and self.narrowing is not None:
            found = lumen.read(self.scene.hu, self.scene.spacing, at.vessel, at.rows)
            self.narrowing = replace(self.narrowing, hu=found)

    def correct_hu(self) -> None:
        """Ask for what was missed as well, within what the tissue can be."""
        self.asked_hu += self.miss_hu
        if isinstance(self.lesion, Plaque) and self.own_hu is None:
            self.asked_hu = float(np.clip(self.asked_hu, *self.lesion.tissue_hu))

    @property
    def miss_hu(self) -> float:
        """Request less reading."""
        return self.requested_hu - self.tissue.mean_hu

    @property
    def hu_in_class(self) -> bool:
        """Whether the core measures what its class is said to: by the backend where it has HU of its own."""
        if own := self.own_hu:
            return own.low - self.params.hu_tolerance <= self.tissue.mean_hu <= own.high + self.params.hu_tolerance
        if isinstance(self.lesion, Plaque):
            low, high = self.lesion.class_hu
            return low <= self.tissue.mean_hu <= high
        low, high = contrast_range(home(self.lesion_class), self.scene.phase)
        level = self.tissue.mean_hu - self.tissue.contrast_hu
        high = max(high, WATER_HU - level)
        if self.necrosis:
            low, high = min(low, self.necrosis.hu - level), max(high, self.necrosis.hu + ALIVE_HU - level)
        slack = self.params.hu_tolerance
        return low - slack <= self.tissue.contrast_hu <= high + slack

    def check(self) -> None:
        """Refuse what is out of tolerance.

        Raises:
            Rejected: it names the number.
        """
        p, lesion = self.params, self.lesion

        def refused(found: float, asked: float, unit: str, by: str) -> Rejected:
            return Rejected(f"{found:.0f} {unit} measured, {asked:.0f} asked for ({by})")

        if isinstance(lesion, Tumour) and abs(self.region.volume_mm3 / lesion.volume_mm3 - 1) > p.volume_tolerance:
            raise refused(self.region.volume_mm3, lesion.volume_mm3, "mm3", f"volume_tolerance {p.volume_tolerance:g}")
        if self.narrowing and self.course and isinstance(lesion, Plaque):
            by_hu = self.course.ds_by == "hu"
            found = self.narrowing.hu if by_hu else self.narrowing.label
            if found and abs(found.percent_ds - lesion.percent_ds) > p.ds_tolerance and (p.check_hu or not by_hu):
                raise refused(found.percent_ds, lesion.percent_ds, "%DS", f"ds_tolerance {p.ds_tolerance:g}")
        if not p.check_hu:
            return
        if abs(self.miss_hu) > p.hu_tolerance:
            raise refused(self.tissue.mean_hu, self.requested_hu, "HU", f"check_hu, hu_tolerance {p.hu_tolerance:g}")
        if not self.hu_in_class:
            raise Rejected(f"{self.tissue.mean_hu:.0f} HU are not those of a {self.lesion_class} lesion")

    def label(self, origin: tuple[float, float, float]) -> dict[str, Any]:
        """What a training job needs to know of it. Boxes are voxel indices of the crop, the upper end excluded."""
        out = self.shape(origin) | {
            "requested_hu": self.requested_hu,
            "measured_hu": self.tissue.mean_hu,
            "contrast_hu": self.tissue.contrast_hu,
            "hu_in_class": self.hu_in_class,
            "radius_mm": radius_mm(self.region.volume_mm3),
            "measured_volume_mm3": self.region.volume_mm3,
        }
        if not (narrowing := self.narrowing) or not (found := narrowing.hu):
            return out
        return out | {
            "measured_ds_hu": found.percent_ds,
            "area_stenosis_hu": found.area_stenosis,
            "reference_hu_mm": found.reference_mm,
            "mld_hu_mm": found.mld_mm,
            "mla_hu_mm2": found.area_mm2,
        }

    def shape(self, origin: tuple[float, float, float]) -> dict[str, Any]:
        """The part of its label that is known before its tissue."""
        lesion, narrowing = self.lesion, self.narrowing
        x, y, z = (float(o + c * s) for o, c, s in zip(origin, self.centre, self.scene.spacing, strict=True))
        out: dict[str, Any] = {
            "class": self.lesion_class,
            "label": VALUE[self.lesion_class],
            "centre_voxel": [round(float(c), 2) for c in self.centre],
            "centre_lps_mm": [round(v, 3) for v in (x, y, z)],
            "box": [*self.low.tolist(), *(self.high + 1).tolist()],
            "requested_volume_mm3": lesion.volume_mm3 if isinstance(lesion, Tumour) else None,
        }
        if isinstance(lesion, Tumour):
            out |= {"exophytic": lesion.exophytic, "phase": self.scene.phase, "blend_mm": self.width_mm}
            out |= {"necrosis_share": self.necrosis.share if self.necrosis else 0.0}
        if isinstance(lesion, Plaque) and narrowing is not None and self.course is not None:
            every, found = max(1, round(1 / STEP_MM)), narrowing.label
            points = self.course.vessel.points + np.array(origin)
            out |= {
                "requested_ds": lesion.percent_ds,
                "requested_ds_by": self.course.ds_by,
                "measured_ds": found.percent_ds,
                "area_stenosis": found.area_stenosis,
                "reference_mm": found.reference_mm,
                "mld_mm": found.mld_mm,
                "mla_mm2": found.area_mm2,
                "mld_lps_mm": np.round(points[found.row], 3).tolist(),
                "length_mm": lesion.length_mm,
                "requested_arc_deg": lesion.arc_deg,
                "measured_arc_deg": narrowing.arc_deg,
                "remodelling": lesion.remodelling,
                "outer_ratio": narrowing.outer_ratio,
                "wall_mm_modelled": lesion.wall_mm,
                "centreline_lps_mm": np.round(points[::every], 2).tolist(),
            }
        return out

    def drawn(self) -> dict[str, Any]:
        """What was drawn for it."""
        out: dict[str, Any] = {"class": self.lesion_class, "sigma_mm": self.sigma_mm, "asked_hu": self.asked_hu}
        if isinstance(self.lesion, Plaque):
            return out | {
                "eccentric": self.lesion.eccentric,
                "angle": self.lesion.angle,
                "arc_deg": self.lesion.arc_deg,
            }
        return out | {"axes": self.lesion.shape.axes.tolist(), "exophytic": self.lesion.exophytic}


Draft = tuple[str, CtScene, list[LesionDrawing]]  # of a sample: its class, its crop, and the lesions in it
