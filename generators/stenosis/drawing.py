"""One lesion on its way from a request to a label: drawn, measured, corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.base import close_loop
from lesionforge.generators.stenosis import boxes
from lesionforge.generators.stenosis.closure import Measured, measure, ungraded
from lesionforge.generators.stenosis.editor import Editor, FrameNarrowing
from lesionforge.generators.stenosis.shape import Profile, Shape
from lesionforge.generators.stenosis.sites import FrameAnatomy, Site, segment_at
from lesionforge.generators.types import Angiogram, Rejected, SeverityClass, severity_class

ROUNDS = 4  # drawings of one lesion, the request corrected in between
SPARE = 14  # rows beyond the lesion's ends: means along the vessel reach so far
CLOSE = 3.0  # points of %DS between request and reading that are left alone: most of it is the meter's own error
GAIN = 0.7  # share of a miss that the next round makes up for; more would be drawing the meter's noise
STRETCH = 15.0  # points that the editor may be asked for beside the request: more would be drawing for the meter
AGREE = 2.0  # standard deviations that readings of one lesion may differ by
THREAD = 0.6  # least share of the requested lumen that is drawn: severe lesions must not look like occlusions


class StenosisDrawing:
    """A lesion to be drawn into ``before``; ``after``, ``mask_after`` and ``measured`` hold the best drawing so far."""

    def __init__(
        self,
        frame: Angiogram,
        anatomy: FrameAnatomy,
        site: Site,
        shape: Shape,
        severity: SeverityClass,
        requested: float,
        rng: np.random.Generator,
    ) -> None:
        assert frame.mask is not None
        if site.side:  # a branch leaves there: its wall stays
            shape = replace(shape, eccentric=float(site.side))
        self.frame, self.anatomy, self.site, self.shape = frame, anatomy, site, shape
        self.severity, self.requested = severity, requested
        self.before, self.mask_before = frame.image, frame.mask
        self.profile: Profile = shape.on(site.before.d_ref_px)
        self.half = max(self.profile.half, site.half)
        self._noise = rng.bit_generator.random_raw(2)  # the same noise in every round
        # A known lesion is narrow already: of the healthy diameter (1 - already) remains, and is narrowed further.
        already = site.before.percent_ds / 100 if site.known is not None else 0.0
        # Of the area the meter's reading squared must be left, of the width drawn all that the depth does not take.
        left = min(1.0, (1 - ungraded(requested) / 100) / (1 - already))
        self._first = 100 * (1 - left ** (2 / (2 - shape.depth)))
        self.editor_ds = requested if requested >= 100 else self._bounded(self._first)
        self.drawn_ds = self.editor_ds
        self._memo = dict[str, Any]()
        self._fade = anatomy.vessels[site.vessel].fade(site)
        self.after = frame.image
        self.measured: Measured
        lumen = anatomy.vessels[site.vessel].lumen
        rows = slice(max(0, site.at - self.profile.half), site.at + self.profile.half + 1)
        self.edit_box = boxes.edit(
            lumen.points[rows],
            lumen.normals[rows],
            lumen.diameter[rows],
            frame.image.shape,
            anatomy.texture.jpeg is not None,
        )
        self.segment = segment_at(frame, *lumen.points[site.at])

    @property
    def rng(self) -> np.random.Generator:
        """The same stream in every round, so that rounds differ by the request alone."""
        return np.random.Generator(np.random.Philox(key=self._noise))

    def start_from(self, other: StenosisDrawing) -> None:
        """Draw into another drawing's result."""
        self.before, self.mask_before = other.after, other.mask_after

    def _bounded(self, percent_ds: float) -> float:
        low = 1.0 if self.site.known is not None else self._first - STRETCH
        high = min(self._first + STRETCH, 100 - THREAD * (100 - self._first))
        return float(np.clip(percent_ds, low, high))

    @property
    def miss(self) -> float:
        """Request less reading, points of %DS."""
        return self.requested - self.measured.percent_ds

    @property
    def mask_after(self) -> NDArray[np.bool_]:
        """The vessel narrowed as it was drawn."""
        return self.narrowing(self.drawn_ds).narrowed

    def narrowing(self, percent_ds: float) -> FrameNarrowing:
        """What an editor needs to know to draw ``percent_ds``."""
        site, frame = self.site, self.frame
        lumen = self.anatomy.vessels[site.vessel].lumen
        start = max(0, site.at - self.profile.half - SPARE)
        rows = slice(start, site.at + self.profile.half + SPARE + 1)
        at = site.at - start
        points, normals, diameter = lumen.points[rows], lumen.normals[rows], lumen.diameter[rows]
        keep, shift = self.profile.rows(at, percent_ds, diameter, self._fade[rows])
        return FrameNarrowing(
            points=points,
            normals=normals,
            diameter=diameter,
            keep=keep,
            shift=shift,
            at=at,
            depth=self.shape.depth,
            percent_ds=percent_ds,
            severity=self.severity,
            psf_sigma=lumen.psf_sigma,
            texture=self.anatomy.texture,
            edit_box=self.edit_box,
            mask=self.mask_before,
            segment=self.segment,
            side=frame.side,
            view_deg=frame.view_deg,
            free=self.anatomy.vessels[site.vessel].free[rows],
            memo=self._memo,
        )

    def try_patch(self, lesion: FrameNarrowing, patch: NDArray[np.uint8]) -> None:
        """Measure a drawing and keep it if it is the nearest to the request so far."""
        x0, y0, x1, y1 = lesion.edit_box
        image = self.before.copy()
        image[y0:y1, x0:x1] = patch
        site = self.site
        vessel = self.anatomy.vessels[site.vessel]
        found = measure(image, vessel.lumen, vessel.radii, site.at, self.half)
        miss = self.requested - found.percent_ds
        if not hasattr(self, "measured") or not abs(miss) >= abs(self.miss):
            self.after, self.measured, self.drawn_ds = image, found, lesion.percent_ds
        if np.isfinite(miss) and self.requested < 100:
            self.editor_ds = self._bounded(lesion.percent_ds + GAIN * miss)

    def check(self, tolerance: float) -> None:
        """Raise ``Rejected`` for a lesion that does not measure as requested."""
        reading = self.measured.density.raw
        if self.requested >= 100:
            if not self.measured.percent_ds >= 80:
                raise Rejected(f"an occlusion reads {self.measured.percent_ds:.0f} %DS")
        elif not abs(self.miss) <= tolerance:
            raise Rejected(f"{self.requested:.1f} %DS requested, {self.measured.percent_ds:.1f} measured")
        if not np.isfinite(reading.d_ref_px):
            raise Rejected(reading.why)
        if self.requested < 100 and self.measured.apart > AGREE:
            raise Rejected(f"density and edges read {self.measured.apart:.1f} standard deviations apart")

    def label(self) -> dict[str, Any]:
        """The lesion's entry in the labels."""
        lesion = self.narrowing(self.drawn_ds)
        points, normals, diameter = lesion.points, lesion.normals, lesion.diameter
        x, y = (float(v) for v in points[lesion.at] + lesion.shift[lesion.at] * normals[lesion.at])
        seen = self.profile.seen(np.arange(len(lesion.keep)) - lesion.at)
        measured, density, edges = self.measured, self.measured.density, self.measured.edges
        reading = density.raw
        return {
            "box": list(boxes.square(x, y, float(seen.sum()))),
            "tight_box": list(boxes.tight(points[seen], normals[seen], diameter[seen], self.frame.image.shape)),
            "edit_box": list(lesion.edit_box),
            "severity_class": severity_class(self.measured.percent_ds),
            "requested_ds": self.requested,
            "measured_ds": measured.percent_ds,
            "measured_ds_sd": measured.sd,
            "densitometric_ds": reading.percent_ds,
            "densitometric_sd": density.sd,
            "area_stenosis": reading.area_stenosis,
            "geometric_ds": edges.raw.percent_ds if edges else None,
            "geometric_sd": edges.sd if edges else None,
            "synthetic": True,
            "regraded": self.site.known is not None,
            "width_px": self.site.before.d_ref_px,
            "d_ref_px": reading.d_ref_px,
            "mld_px": reading.d_ref_px * (1 - self.measured.percent_ds / 100),
            "mld_xy": [x + 0.5, y + 0.5],
            "length_px": reading.length_px,
            "w_over_sigma": reading.w_over_sigma,
            "cnr": reading.cnr,
            "segment": lesion.segment,
        }

    def drawn(self) -> dict[str, Any]:
        """Every parameter drawn."""
        return {
            "vessel": self.site.vessel,
            "at": self.site.at,
            "percent_ds_before": self.site.before.percent_ds,
            "requested_ds": self.requested,
            "asked_of_editor": self.drawn_ds,
            **self.shape.to_json(),
        }

    def figures(self) -> dict[str, float]:
        """For the recipe's quality limits."""
        r = self.measured.density.raw
        return {
            "percent_ds": self.measured.percent_ds,
            "miss": abs(self.miss),
            "d_ref_px": r.d_ref_px,
            "w_over_sigma": r.w_over_sigma,
            "cnr": r.cnr,
        }


def draw_all(editor: Editor, drawings: Sequence[StenosisDrawing], tolerance: float) -> None:
    """Draw, measure, correct the request by the miss; the best of a few rounds stays."""

    def draw(left: list[StenosisDrawing], turn: int) -> None:
        lesions = [d.narrowing(d.editor_ds) for d in left]
        patches = editor.edit([d.before for d in left], lesions, [d.rng for d in left])
        for drawing, lesion, patch in zip(left, lesions, patches, strict=True):
            drawing.try_patch(lesion, patch)

    close_loop(drawings, draw, lambda d: d.requested < 100 and not abs(d.miss) <= min(CLOSE, tolerance), ROUNDS)
