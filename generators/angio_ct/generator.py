"""Samples across modalities: plaques put into a CT volume, and the same vessels filmed by a C-arm.

Order of a sample: the lesion sample, the lumen that it leaves open in the whole volume, views, projection, and what
each view shows of each plaque.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.angio_ct import pictures
from lesionforge.generators.angio_ct.lumen import LumenCells, fine, narrowed_tree, side_at, sided
from lesionforge.generators.angio_ct.params import AngioCtParams
from lesionforge.generators.angio_ct.shadow import PlaqueSegment, shadows
from lesionforge.generators.base import Generator
from lesionforge.generators.carm.projector import project_views, silhouette
from lesionforge.generators.carm.view import View
from lesionforge.generators.lesion.classes import PLAQUES
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import Display
from lesionforge.generators.types import Panel, Sample, SampleSpec, Side, Volume, severity_class

CONTRAST = 0.18  # displayed attenuation of a mm of lumen: .45 for a vessel of 2.5 mm
CONTRAST_SD = 0.2  # of its logarithm, between runs


class AngioCt(Generator):
    """Plaques put into a CT volume, and the same narrowed vessels filmed by a C-arm."""

    Params: ClassVar[type[AngioCtParams]] = AngioCtParams
    classes: ClassVar[tuple[str, ...]] = ("healthy", *PLAQUES)
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
        self._threads: int | None = None

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
        volumes = [sided(volume) for volume in cases]
        requests = [self._request(spec) for spec in specs]
        for volume, spec, sample in zip(volumes, specs, self._lesions.generate(volumes, requests), strict=True):
            yield self._filmed(volume, replace(sample, spec=spec))

    def _request(self, spec: SampleSpec) -> SampleSpec:
        """Where the plan leaves the class open, a plaque: the volume may show organs as well."""
        if spec.target is not None:
            return spec
        return replace(spec, target=PLAQUES[int(spec.rng("class").integers(len(PLAQUES)))])

    def _filmed(self, volume: Volume, sample: Sample) -> Sample:
        """The sample with its views."""
        spec, labels, label = sample.spec, sample.labels, sample.fields["label.npy.zst"]
        plaques = [lesion for lesion in labels["lesions"] if lesion["class"] in PLAQUES]
        middle = [
            o + n / 2 * s for o, n, s in zip(labels["origin_lps_mm"], label.shape, volume.spacing_mm, strict=True)
        ]
        side = side_at(volume, plaques[0]["mld_lps_mm"] if plaques else middle)
        tree = narrowed_tree(volume, label, sample.drawn["corner"], plaques, side)
        lumen = fine(tree, self.params.views.cell_mm)
        views = self.params.views.draw(spec.rng("views"), side)
        integrals = project_views(lumen.cells, lumen.grid, views, threads=self._threads)
        for lesion in plaques:
            lesion["severity_class"] = severity_class(lesion["measured_ds"])
            lesion["side"] = side_at(volume, lesion["mld_lps_mm"])
            lesion["projections"] = []
            if lesion["side"] == side:
                segment = PlaqueSegment.of(lesion, lumen.isocentre_mm)
                lesion["projections"] = shadows(segment, lumen, views, integrals, self._threads)
        return replace(
            sample,
            fields=sample.fields | self._images(spec, lumen, views, integrals),
            labels=labels | _geometry(side, lumen, views),
            measured=sample.measured | _measured(plaques, len(views), tree.points - lumen.isocentre_mm, views),
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


def _measured(
    plaques: list[dict[str, Any]], count: int, points: NDArray[np.float64], views: list[View]
) -> dict[str, float]:
    """Of the whole sample, and of the first plaque in the view that shows it best (least overlap, foreshortening)."""
    seen = np.all([view.sees(points) for view in views], axis=0)
    shown = plaques[0]["projections"] if plaques else []
    out = {
        "visible_views": float(sum(record["visible"] for record in shown)) if plaques else float(count),
        "visible_fraction": float(seen.mean()),
    }
    read = [record for record in shown if record["densitometric_ds"] is not None]
    if not read:  # nothing is hidden without a plaque; one that no view shows is hidden altogether
        return out | dict.fromkeys(("overlap", "foreshortening"), 1.0 if plaques else 0.0)
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
