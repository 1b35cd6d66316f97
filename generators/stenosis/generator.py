"""Stenosis samples: a lesion of chosen severity drawn into an angiogram, and measured again on the pixels.

Order of a sample: measure the frame's vessels (once a machine), draw severity, shape and site, draw the lesion,
measure it, correct what is asked of the editor by the miss, draw again; label what was measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.base import Generator, Memory
from lesionforge.generators.stenosis import boxes, pictures
from lesionforge.generators.stenosis.choice import choose
from lesionforge.generators.stenosis.drawing import StenosisDrawing, draw_all
from lesionforge.generators.stenosis.editor import Editor
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.stenosis.shape import Shape
from lesionforge.generators.stenosis.sites import FOUND, FrameAnatomy, FrameVessel
from lesionforge.generators.stenosis.texture import Texture
from lesionforge.generators.stenosis.vessels import VesselMasks
from lesionforge.generators.types import Angiogram, BadCase, Panel, Rejected, Sample, SampleSpec, severity_class
from lesionforge.generators.vessel.densitometry import Lumen

FRAMES = 256  # frames whose measured vessels are held in a process, some 60 kB each


class StenosisGenerator(Generator):
    """Stenoses of chosen severity drawn into an angiogram, and measured again on its pixels."""

    Params: ClassVar[type[StenosisParams]] = StenosisParams
    classes: tuple[str, ...] = ("mild", "moderate", "severe")
    balanced: ClassVar[tuple[str, ...]] = ("moderate", "severe")  # the classes that training sets want evenly
    measures: ClassVar[tuple[str, ...]] = ("percent_ds", "miss", "d_ref_px", "w_over_sigma", "cnr")
    places: ClassVar[tuple[str, ...]] = ("weights", "finder")
    limits: ClassVar[tuple[str, ...]] = (
        "Lesions lie on vessels that the source's mask shows, or that are found where it has none, at least min_width "
        "wide; at forks the wall beside the branch stays.",
        "measured_ds is the percent diameter stenosis that two meters read off the finished pixels, the lumen's area "
        "by densitometry and, from 9 px of width up, its diameter by the edges, on the scale of experts' grades (their "
        "mean; kept only where both agree within two standard deviations).",
        "The scale was set by medians of lesions that DiGDA's experts graded: a reading of 40 % is their 60, of 56 % "
        "their 80; what they would say of one lesion differs from it by some 10 points.",
        "Readings wander by about 10 points on healthy vessels; places that read under 12 are taken.",
        "Above 90 %DS and for vessels under 6 px no reading is to be believed.",
        "Behind a total occlusion the vessel stays filled, as by collaterals.",
        "The source's own lesions keep their boxes and are not graded.",
    )

    memory: Memory[FrameAnatomy]

    def __init__(self, params: StenosisParams) -> None:
        self.params = params
        self._editor: Editor | None = None
        self._masks: VesselMasks | None = None
        self.memory = Memory[FrameAnatomy](FRAMES, (FrameAnatomy, FrameVessel, Lumen, Texture))

    def prepare(self, device: str) -> None:
        """Open the backend, and the finder where frames come without a mask."""
        self._vessels.prepare()
        self._editor = _open(self.params)
        self._editor.prepare(device)

    def sample_bytes(self) -> int:
        """Expected size: two frames of 512 x 512 as PNG at about 120 kB, two masks, JSON and headers."""
        return 120_000 * (2 if self.params.keep_source else 1) + 10_000

    @property
    def notes(self) -> Sequence[str]:
        """Who tells vessels, where the sources' masks do not."""
        note = self._vessels.note if self.unmasked or self.params.catheters else ""
        return [f"vessels: {note}"] if note else []

    @property
    def shipped(self) -> Mapping[str, str]:
        """The finder's weights, where it decides."""
        return self._vessels.shipped

    @property
    def _vessels(self) -> VesselMasks:
        if self._masks is None:  # the engine says after the constructor whether frames are unmasked
            self._masks = VesselMasks(self.params, self.unmasked)
        return self._masks

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """The frame, and every drawn lesion before and after."""
        return pictures.panels(fields, meta)

    def generate(self, cases: Sequence[Angiogram], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        """One sample per spec, in order."""
        if self._editor is None:
            self.prepare("cpu")
        assert self._editor is not None
        frames = [self._vessels.of(case) for case in cases]
        drawings = [self._draw(frame, spec) for frame, spec in zip(frames, specs, strict=True)]
        for n in range(max(map(len, drawings), default=0)):
            batch = [d[n] for d in drawings if n < len(d)]
            for d in drawings:
                if 0 < n < len(d):
                    d[n].start_from(d[n - 1])
            draw_all(self._editor, batch, self.params.tolerance)
        for case, frame, spec, drawing in zip(cases, frames, specs, drawings, strict=True):
            yield self._sample(frame, spec, drawing, self._vessels.by(case))

    def _anatomy(self, frame: Angiogram) -> FrameAnatomy:
        """The frame's measured vessels, remembered under a hash of what they are measured on."""
        key = hashlib.sha256(repr((frame.image.shape, self.params.min_width)).encode())
        key.update(repr([[float(edge) for edge in lesion.box] for lesion in frame.lesions]).encode())
        key.update(np.ascontiguousarray(frame.image).data)
        key.update(b"" if frame.mask is None else np.packbits(frame.mask).data)
        key.update(b"found" if frame.notes.get(FOUND) else b"")
        return self.memory.get(key.hexdigest(), lambda: FrameAnatomy.of(frame, self.params.min_width))

    def _draw(self, frame: Angiogram, spec: SampleSpec) -> list[StenosisDrawing]:
        """Severity, shape and site of every lesion of a sample."""
        p = self.params
        anatomy = self._anatomy(frame)
        if not len(anatomy.places) and p.site == "new":
            raise BadCase(f"no stretch of vessel of {p.min_width:g} px or more is clear enough for a lesion")
        rng = spec.rng("lesions")
        count = int(rng.integers(p.lesions[0], p.lesions[1] + 1))
        out: list[StenosisDrawing] = []
        for n in range(count):
            rng = spec.rng(f"lesion{n}")
            severity, requested = p.draw_ds(rng, spec.target if n == 0 else None)
            shape = Shape.draw(rng, p, severity, requested >= 100)
            site = choose(rng, frame, anatomy, p, shape, requested, [d.site for d in out])
            if site is None and n == 0:
                raise Rejected(f"none of the places tried is healthy over a lesion {shape.length:.1f} diameters long")
            if site is None:
                continue
            drawing = StenosisDrawing(frame, anatomy, site, shape, severity, requested, spec.rng(f"noise{n}"))
            if not any(boxes.overlap(drawing.edit_box, d.edit_box) for d in out):  # else it would change their reading
                out.append(drawing)
        return out

    def _sample(self, frame: Angiogram, spec: SampleSpec, drawings: list[StenosisDrawing], by: str) -> Sample:
        for drawing in drawings:
            drawing.check(self.params.tolerance)
        target = drawings[0]
        if severity_class(target.measured.percent_ds) != target.severity:
            raise Rejected(f"asked for {target.severity}, {target.measured.percent_ds:.1f} %DS measured")
        last = drawings[-1]
        assert frame.mask is not None
        fields: dict[str, NDArray[Any]] = {"image.png": last.after}
        if self.params.keep_source:
            fields["source.png"] = frame.image
        fields["mask.png"] = last.mask_after * np.uint8(255)
        fields["source_mask.png"] = frame.mask * np.uint8(255)
        regraded = {d.site.known for d in drawings}
        known = [
            {
                "box": list(lesion.box),
                "edit_box": None,
                "severity_class": lesion.severity_class,
                "requested_ds": None,
                "measured_ds": None,
                "source_ds": lesion.percent_ds,
                "synthetic": False,
            }
            for i, lesion in enumerate(frame.lesions)
            if i not in regraded
        ]
        labels = {
            "lesions": [d.label() for d in drawings] + known,
            "requested": {"percent_ds": target.requested},
            "side": frame.side,
            "view_deg": list(frame.view_deg) if frame.view_deg else None,
            "pixel_mm": frame.pixel_mm,
            "mask_is_complete": frame.mask_is_complete,
        }
        # The recipe knows weights by their folder's name alone; what they hold is said here.
        weights = self._editor.digest if self._editor else None
        drawn = {
            "backend": self.params.backend,
            "weights": weights,
            "vessels": by,
            "lesions": [d.drawn() for d in drawings],
        }
        return Sample(spec, fields, labels, drawn, target.figures())


def _open(params: StenosisParams) -> Editor:
    if params.backend == "attenuation":
        from lesionforge.generators.stenosis.attenuation import AttenuationEditor

        return AttenuationEditor()
    from lesionforge.generators.stenosis.diffusion import DiffusionEditor

    editor: Editor = DiffusionEditor(params.weights)
    return editor
