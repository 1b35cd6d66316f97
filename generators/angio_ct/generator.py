"""Samples across modalities: plaques put into a CT volume, and the same vessels filmed by a C-arm.

Order of a sample: the lesions' shapes, the lumen that they leave open in the whole volume, views, projection, and what
each view shows of the first plaque; where that is worth it, tissue, films, and the other plaques.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.angio_ct import pictures
from lesionforge.generators.angio_ct.lumen import LabelledLumen, LumenCells, fine, sided
from lesionforge.generators.angio_ct.params import AngioCtParams
from lesionforge.generators.angio_ct.shadow import PlaqueSegment, shadows
from lesionforge.generators.base import Generator
from lesionforge.generators.carm.projector import project_views, silhouette
from lesionforge.generators.carm.view import View
from lesionforge.generators.lesion.classes import PLAQUES
from lesionforge.generators.lesion.drawing import Draft
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import Display
from lesionforge.generators.types import Panel, Sample, SampleSpec, Side, Volume, severity_class

CONTRAST = 0.18  # displayed attenuation of a mm of lumen: .45 for a vessel of 2.5 mm
CONTRAST_SD = 0.2  # of its logarithm, between runs


@dataclass
class Shot:
    """A lumen in the views of a sample, and its line integrals: what all else is read from."""

    side: Side
    lumen: LumenCells
    views: list[View]
    integrals: list[NDArray[np.float32]]
    threads: int | None
    first: list[dict[str, Any]] = field(default_factory=list)  # what the views show of the first plaque
    measured: dict[str, float] = field(default_factory=dict)

    def of(self, lesion: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What each view shows of a plaque on this tree."""
        segment = PlaqueSegment.of(lesion, self.lumen.isocentre_mm)
        return shadows(segment, self.lumen, self.views, self.integrals, self.threads)


class AngioCt(Generator):
    """Plaques put into a CT volume, and the same narrowed vessels filmed by a C-arm."""

    Params: ClassVar[type[AngioCtParams]] = AngioCtParams
    classes: tuple[str, ...] = ("healthy", *PLAQUES)
    measures: ClassVar[tuple[str, ...]] = (
        *LesionGenerator.measures,
        *("visible_views", "visible_fraction", "overlap", "foreshortening", "densitometric_ds"),
    )
    places: ClassVar[tuple[str, ...]] = ("weights",)
    limits: ClassVar[tuple[str, ...]] = (
        *(text for text in LesionGenerator.limits if "tumours" not in text),
        "The angiograms show the labelled lumen alone: twigs thinner than a voxel are in neither modality.",
        "They show one moment of full contrast of one tree, the one with the first plaque: no motion, flow, catheter "
        "or collimator, and calcium casts no shadow.",
        "The tree's bounding box is centred on the isocentre; real patients are positioned less well.",
        "densitometric_ds is read from noiseless line integrals along the known centreline, and wrong where vessels "
        "overlap: see overlap and foreshortening.",
    )

    def __init__(self, params: AngioCtParams) -> None:
        self.params = params
        self._lesions = LesionGenerator(params)
        self.classes = tuple(name for name in self.classes if name in self._lesions.classes)
        self._threads: int | None = None
        self._last: tuple[Volume, LabelledLumen] | None = None

    def prepare(self, device: str) -> None:
        """Open the lesions' backend; note the worker's share of cores."""
        self._lesions.prepare(device)
        self._threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or None

    def sample_bytes(self) -> int:
        """Expected size: the lesion sample's, and views (about 150 kB a frame of 512 x 512, 8 kB a silhouette)."""
        film = self.params.views
        share = {"angiogram": 0.6, "silhouette": 0.03, "line_integral": 4.0}[film.image]
        return self._lesions.sample_bytes() + int(film.count * share * film.detector**2) + 2000

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """The first plaque in CT, axial and along the vessel, and in every view."""
        return pictures.panels(fields, meta)

    def generate(self, cases: Sequence[Volume], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        """One sample per spec, in order."""
        lumens = [self._lumen(volume) for volume in cases]
        volumes = [lumen.volume for lumen in lumens]
        requests = [self._request(spec) for spec in specs]
        drafts = [self._lesions.draft(volume, spec) for volume, spec in zip(volumes, requests, strict=True)]
        shots = [self._shot(*of_one) for of_one in zip(lumens, specs, drafts, strict=True)]
        samples = self._lesions.painted(volumes, requests, drafts)
        for lumen, spec, shot, sample in zip(lumens, specs, shots, samples, strict=True):
            yield self._filmed(lumen, shot, replace(sample, spec=spec))

    def _lumen(self, volume: Volume) -> LabelledLumen:
        """Of the last case, which redraws come back to."""
        if self._last is None or self._last[0] is not volume:
            self._last = volume, LabelledLumen(sided(volume))
        return self._last[1]

    def _request(self, spec: SampleSpec) -> SampleSpec:
        """Where the plan leaves the class open, a plaque: the volume may show organs as well."""
        if spec.target is not None:
            return spec
        return replace(spec, target=PLAQUES[int(spec.rng("class").integers(len(PLAQUES)))])

    def _shot(self, lumen: LabelledLumen, spec: SampleSpec, draft: Draft) -> Shot:
        """The views of a sample that has no tissue yet.

        Raises:
            Rejected: where they do not show its first plaque as the recipe's limits ask.
        """
        _, scene, drawings = draft
        origin = scene.origin(lumen.volume)
        plaques = [drawing.shape(origin) for drawing in drawings if drawing.lesion_class in PLAQUES]
        middle = [o + n / 2 * s for o, n, s in zip(origin, scene.labels.shape, scene.spacing, strict=True)]
        side = lumen.side_at(plaques[0]["mld_lps_mm"] if plaques else middle)
        points = lumen.narrowed(side, scene.labels, scene.corner)
        cells = fine(points, scene.spacing, self.params.views.cell_mm)
        views = self.params.views.draw(spec.rng("views"), side)
        integrals = project_views(cells.cells, cells.grid, views, threads=self._threads)
        shot = Shot(side, cells, views, integrals, self._threads)
        seen = np.all([view.sees(points - cells.isocentre_mm) for view in views], axis=0)
        shot.first = shot.of(plaques[0]) if plaques else []
        shot.measured = _measured(shot.first, len(views), float(seen.mean()))
        self.judge(spec, shot.measured)
        return shot

    def _filmed(self, lumen: LabelledLumen, shot: Shot, sample: Sample) -> Sample:
        """The sample with its views."""
        plaques = [lesion for lesion in sample.labels["lesions"] if lesion["class"] in PLAQUES]
        for lesion in plaques:
            lesion["severity_class"] = severity_class(lesion["measured_ds"])
            lesion["side"] = lumen.side_at(lesion["mld_lps_mm"])
            lesion["projections"] = shot.first if lesion is plaques[0] else []
            if lesion is not plaques[0] and lesion["side"] == shot.side:
                lesion["projections"] = shot.of(lesion)
        return replace(
            sample,
            fields=sample.fields | self._images(sample.spec, shot.lumen, shot.views, shot.integrals),
            labels=sample.labels | _geometry(shot.side, shot.lumen, shot.views),
            measured=sample.measured | shot.measured,
        )

    def _images(
        self, spec: SampleSpec, lumen: LumenCells, views: list[View], integrals: list[NDArray[np.float32]]
    ) -> dict[str, NDArray[Any]]:
        out: dict[str, NDArray[Any]] = {}
        for n, (view, integral) in enumerate(zip(views, integrals, strict=True)):
            if self.params.views.image == "line_integral":
                out[f"view{n}.npy"] = integral
            elif self.params.views.image == "silhouette":
                out[f"view{n}.png"] = silhouette(integral, lumen.cells, lumen.grid, view) * np.uint8(255)
            else:
                out[f"view{n}.png"] = film(integral, view, spec, n)
        return out


def _geometry(side: Side, lumen: LumenCells, views: list[View]) -> dict[str, Any]:
    return {
        "side": side,
        "isocentre_lps_mm": lumen.isocentre_mm.tolist(),
        "views": [{"name": view.name, **view.to_json()} for view in views],
    }


def _measured(shown: list[dict[str, Any]], count: int, visible_fraction: float) -> dict[str, float]:
    """Of the whole sample, and of the first plaque in the view that shows it best (least overlap, foreshortening)."""
    out = {
        "visible_views": float(sum(record["visible"] for record in shown) if shown else count),
        "visible_fraction": visible_fraction,
    }
    read = [record for record in shown if record["densitometric_ds"] is not None]
    if not read:  # nothing is hidden without a plaque; one that no view shows is hidden altogether
        return out | dict.fromkeys(("overlap", "foreshortening"), 1.0 if shown else 0.0)
    best = min(read, key=lambda record: record["overlap"] + record["foreshortening"])
    return out | {key: best[key] for key in ("overlap", "foreshortening", "densitometric_ds")}


def film(integral: NDArray[np.float32], view: View, spec: SampleSpec, number: int) -> NDArray[np.uint8]:
    """Grey levels (rows, cols), vessels dark: Beer-Lambert before a chest, then the display's blur and noise.

    Args:
        integral: mm of lumen along each ray.
        view: of C-arm and detector.
        spec: the sample, whose streams draw chest, contrast and display.
        number: of the view.
    """
    # An open field: what is on the detector is in the picture, as the labels say.
    display = replace(Display.draw(spec.rng(f"film{number}/display"), view.rows), collimator=None)
    background, dimming = display.scale(chest(spec.rng(f"film{number}/chest"), view))
    run = float(spec.rng(f"film{number}/contrast").normal(0, CONTRAST_SD))
    strength = CONTRAST / dimming * math.exp(min(max(run, -2 * CONTRAST_SD), 2 * CONTRAST_SD))
    image, _ = display.show(spec.rng(f"film{number}/noise"), background + strength * integral.astype(np.float64))
    return image
