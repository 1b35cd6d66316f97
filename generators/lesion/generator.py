"""Lesion samples: plaques and tumours of chosen classes put into a CT volume, labelled and measured again.

Order of a sample: draw class, size and place, cut the crop about it, draw the other lesions, then fill one after the
other with tissue, composite, measure; label what was measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.base import Generator, Memory, close_loop
from lesionforge.generators.lesion import pictures
from lesionforge.generators.lesion.classes import CLASSES, LEGEND, PLAQUES
from lesionforge.generators.lesion.drawing import Draft, LesionDrawing
from lesionforge.generators.lesion.filler import Filler
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.scene import CtScene, VolumeAnatomy
from lesionforge.generators.lesion.site import other_place, place, scene_for
from lesionforge.generators.types import DELTA, BadCase, Panel, Rejected, Sample, SampleSpec, Volume

VOLUMES = 8  # whose anatomy is remembered, for the next draw
ROUNDS = 4  # drawings of one lesion, the request corrected in between
CLOSE_HU = 3.0  # HU that are left alone


class LesionGenerator(Generator):
    """Plaques and tumours of chosen classes put into a CT volume, labelled and measured again."""

    Params: ClassVar[type[LesionParams]] = LesionParams
    classes: tuple[str, ...] = CLASSES
    measures: ClassVar[tuple[str, ...]] = (
        *("lesions", "changed_voxels", "hu_in_class", "mean_hu", "contrast_hu", "volume_mm3"),
        *("percent_ds", "area_stenosis", "percent_ds_hu", "area_stenosis_hu"),  # of a plaque: label map, HU
    )
    places: ClassVar[tuple[str, ...]] = ("weights",)
    limits: ClassVar[tuple[str, ...]] = (
        "Coronary labels are of the lumen alone: the vessel's wall, and with it remodelling, is modelled, not seen.",
        "The organs' and lumens' labels are the source's; lesions follow their errors.",
        "Mean HU are those of a lesion's core; thin plaque also holds what the blur mixes in from lumen and fat.",
        "Plaque HU are those of a usual protocol (lumen 284-367 HU); beside brighter lumens only calcium's rise.",
        "Tumours' contrasts are ranges by organ and phase; unenhanced tumours of kidney and pancreas hardly show.",
    )

    def __init__(self, params: LesionParams) -> None:
        self.params = params
        self._filler: Filler | None = None
        if params.backend != "texture":  # weights say what they are
            self._filler = open_backend(params)
            if (known := self._filler.classes) is not None:
                self.classes = tuple(name for name in CLASSES if name in known)
        self._ready = False
        self._anatomies = Memory[VolumeAnatomy](VOLUMES)

    def prepare(self, device: str) -> None:
        """Load the backend's weights."""
        self._filler = self._filler or open_backend(self.params)
        self._filler.prepare(device)
        self._ready = True

    def sample_bytes(self) -> int:
        """Expected size: CT at 2 bytes a voxel (about half of it compressed), labels, JSON and headers."""
        voxels = (self.params.size or 256) ** 3
        share = 0.6 if self.params.compress else 1.0
        return int(voxels * (2 * share * (2 if self.params.keep_source else 1) + 0.02)) + 12_000

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """Every lesion: axial, and for plaques along the vessel."""
        return pictures.panels(fields, meta)

    def generate(self, cases: Sequence[Volume], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        """One sample per spec, in order."""
        drafts = [self.draft(volume, spec) for volume, spec in zip(cases, specs, strict=True)]
        yield from self.painted(cases, specs, drafts)

    def painted(
        self, cases: Sequence[Volume], specs: Sequence[SampleSpec], drafts: Sequence[Draft]
    ) -> Iterator[Sample]:
        """The samples of their drafts, filled with tissue."""
        if not self._ready:
            self.prepare("cpu")
        assert self._filler is not None
        for n in range(max((len(drawings) for _, _, drawings in drafts), default=0)):
            draw_all(self._filler, [drawings[n] for _, _, drawings in drafts if n < len(drawings)])
        for volume, spec, (lesion_class, scene, drawings) in zip(cases, specs, drafts, strict=True):
            yield self._sample(volume, spec, lesion_class, scene, drawings)

    def _anatomy(self, volume: Volume) -> VolumeAnatomy:
        """Where the organs are: a pure function of the volume, remembered."""
        labels = 0 if volume.labels is None else zlib.crc32(np.ascontiguousarray(volume.labels).data)
        key = (volume.source_id, tuple(volume.legend.items()), labels)  # other labels may be of the same CT
        return self._anatomies.get(repr(key), lambda: VolumeAnatomy(volume))

    def draft(self, volume: Volume, spec: SampleSpec) -> Draft:
        """The class, the crop and the shapes of a sample's lesions, without their tissue."""
        p, anatomy = self.params, self._anatomy(volume)
        rng = spec.rng("site")
        possible = [name for name in self.classes if name != CLASSES[0] and anatomy.has(name)]
        if spec.target is None and not possible:
            raise BadCase(f"the volume has no label of what these lie in: {', '.join(self.classes[1:])}")
        lesion_class = spec.target or possible[int(rng.integers(len(possible)))]
        scene, at, first = scene_for(rng, volume, anatomy, p, lesion_class)
        if first is None:
            return lesion_class, scene, []
        drawings = [place(spec.rng("lesion0"), volume, scene, p, first, at)]
        count = p.plaques if lesion_class in PLAQUES else p.early if lesion_class.endswith("early") else p.late
        more = [lesion_class] * (int(rng.integers(count[0], count[1] + 1)) - 1)
        rest = [name for name in possible if name != lesion_class]
        for _ in range(int(rng.integers(p.others[0], p.others[1] + 1)) if rest else 0):
            more.append(rest[int(rng.integers(len(rest)))])
        for n, name in enumerate(more, 1):
            try:
                drawings.append(other_place(spec.rng(f"lesion{n}"), volume, anatomy, scene, p, name, drawings[0]))
            except Rejected:  # the first is what the plan asked for; others come where there is room
                continue
        for drawing in drawings:
            drawing.narrow()
        return lesion_class, scene, drawings

    def _sample(
        self, volume: Volume, spec: SampleSpec, lesion_class: str, scene: CtScene, drawings: list[LesionDrawing]
    ) -> Sample:
        for drawing in drawings:
            drawing.check()
        end = DELTA if self.params.compress else ".npy"
        fields: dict[str, NDArray[Any]] = {f"ct{end}": scene.hu, "label.npy.zst": scene.labels}
        fields["changed.npy.zst"] = scene.changed.view(np.uint8)
        if self.params.keep_source:
            fields[f"source_ct{end}"] = scene.before
        origin = scene.origin(volume)
        labels = {
            "class": lesion_class,
            "lesions": [drawing.label(origin) for drawing in drawings],
            "legend": {str(value): name for value, name in LEGEND.items()},
            "spacing_mm": list(scene.spacing),
            "origin_lps_mm": list(origin),
            "phase": scene.phase,
            "axes": "LPS: array index (i, j, k) runs to the patient's left, posterior, head",
        }
        if left_out := volume.notes.get("labels_left_out"):  # values that the recipe leaves without a name
            labels["labels_left_out"] = left_out
        drawn = {
            "backend": self.params.backend,
            "weights": self._filler.digest if self._filler else None,
            "corner": list(scene.corner),
            "lesions": [drawing.drawn() for drawing in drawings],
        }
        return Sample(spec, fields, labels, drawn, _measured(scene, drawings))


def draw_all(filler: Filler, drawings: Sequence[LesionDrawing]) -> None:
    """Fill a batch of lesions of different scenes; again with what they missed where the backend heeds HU."""
    patches = {drawing: drawing.ask_own(filler, drawing.patch(filler.patch_voxels)) for drawing in drawings}

    def draw(left: list[LesionDrawing], turn: int) -> None:
        for drawing in left if turn else ():
            drawing.correct_hu()
            patches[drawing] = patches[drawing].asked(drawing.asked_hu)
        tissues = filler.fill([patches[d] for d in left], [d.rng() for d in left])
        for drawing, tissue in zip(left, tissues, strict=True):
            drawing.paint(tissue, filler.hole(patches[drawing]))

    close_loop(drawings, draw, lambda d: abs(d.miss_hu) > CLOSE_HU, ROUNDS if filler.heeds_hu else 1)
    for drawing in drawings:
        drawing.finish()


def _measured(scene: CtScene, drawings: list[LesionDrawing]) -> dict[str, float]:
    """Figures of the whole sample, and of its first lesion."""
    out = {
        "lesions": float(len(drawings)),
        "changed_voxels": float(np.count_nonzero(scene.hu != scene.before)),
        "hu_in_class": float(np.mean([d.hu_in_class for d in drawings])) if drawings else 1.0,
    }
    if drawings:
        first = drawings[0]
        out |= {"mean_hu": first.tissue.mean_hu, "contrast_hu": first.tissue.contrast_hu}
        out["volume_mm3"] = first.region.volume_mm3
        if first.narrowing is not None:
            found = first.narrowing
            out |= {"percent_ds": found.label.percent_ds, "area_stenosis": found.label.area_stenosis}
            if found.hu:
                out |= {"percent_ds_hu": found.hu.percent_ds, "area_stenosis_hu": found.hu.area_stenosis}
    return out


def open_backend(params: LesionParams) -> Filler:
    """The recipe's backend."""
    if params.backend == "texture":
        from lesionforge.generators.lesion.texture import TextureFiller

        return TextureFiller(params.capsule)
    from lesionforge.generators.lesion.learned import LearnedFiller

    p = params
    return LearnedFiller(p.weights, p.backend, p.steps, p.strength, p.guidance)
