"""One run: all that is drawn once, and the frames that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.cine.contrast import Injection, Weights, phases
from lesionforge.generators.cine.devices import Device
from lesionforge.generators.cine.film import Film
from lesionforge.generators.cine.flow import Flow
from lesionforge.generators.cine.labels import CATHETER, DEVICE, Site, codes
from lesionforge.generators.cine.motion import Motion, contraction
from lesionforge.generators.cine.reflux import Reflux
from lesionforge.generators.cine.tubes import Canvas, Projected, Tubes, project
from lesionforge.generators.cine.vessels import Floats, Vessels
from lesionforge.generators.cine.views import Pan, Stand
from lesionforge.generators.phantom.angiogram.vessels import attenuation_per_px

FINEST_MM = 0.45  # healthy radius of the thinnest vessels that full contrast is waited for in
LEAST = 0.018  # share of the grey level by which a vessel must be darker to be labelled
STREAM, STREAMS, LEAN = 5.0, 0.2, 0.3  # points over which contrast stays alike; by how much it varies, and across
EMPTY, FILLED, LEAD_S = 0.75, -0.1, 0.25  # of the wall's absorbance that a bore lacks; how soon it is filled
ENTER_MM = 3.0  # within which the ostium's contrast thickens: it has no blunt end


@dataclass(frozen=True)
class Frame:
    """One frame: picture, mask, its labels, and where the tree's points are: row, column, x, y, z of each."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    label: dict[str, Any]
    track: NDArray[np.float32]


class Run:
    """A tree before a view, filled by an injection.

    Args:
        rng: draws how contrast streams.
        vessels: the tree with its lesions.
        begins_s: the heart's time at the first frame.
        stand: view and place.
        times_s: of the frames.
        strength: displayed contrast mu * D of a vessel of 10 px.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        vessels: Vessels,
        flow: Flow,
        motion: Motion,
        begins_s: float,
        stand: Stand,
        injection: Injection,
        pan: Pan | None,
        times_s: Floats,
        strength: float,
    ) -> None:
        self.vessels, self.flow, self.motion = vessels, flow, motion
        self._reach = flow.reach.astype(np.float64)
        self.stand, self.injection, self.pan = stand, injection, pan
        self.times_s, self.begins_s, self.strength = times_s, begins_s, strength
        self.graded = [lesion for lesion in vessels.lesions if lesion.kind != "diffuse"]
        self.view = stand.view
        self.rest = vessels.points + stand.shift_mm  # about the isocentre
        scale = self.view.magnification / self.view.pixel_mm[0]
        count = len(vessels.points)
        # One draw along the whole array: the streams of neighbouring branches have nothing to do with each other.
        streams = scipy.ndimage.gaussian_filter1d(rng.standard_normal((2, count + 60)), STREAM, axis=1)[:, 30:-30]
        streams = np.clip(streams * math.sqrt(STREAM * 2 * math.sqrt(math.pi)), -2, 2)
        dense = strength * attenuation_per_px(2 * vessels.healthy * scale) * scale  # per mm
        enter = np.minimum(vessels.along / ENTER_MM, 1.0)
        self.dense = dense * (0.35 + 0.65 * enter) * vessels.fade * (1 + STREAMS * streams[0])
        self.lean = LEAN * streams[1]
        self.concentrations = [self._concentration(t) for t in times_s.tolist()]
        steps = np.concatenate([[0.0], np.sqrt((np.diff(vessels.points, axis=0) ** 2).sum(1))])
        weights = Weights.of(np.minimum(steps, 2.0), vessels.healthy * (vessels.fade > 0.5), self._reach, FINEST_MM)
        self.shares = np.array([round(weights.share(c), 6) for c in self.concentrations])
        self.phases, self.begin, self.end = phases(self.shares)

    def _concentration(self, time_s: float) -> Floats:
        f = self.flow
        beat = contraction((time_s + self.begins_s) / self.motion.cycle_s)
        return self.injection.at(time_s, f.arrival_s, f.dispersion_s, self._reach, beat)

    @property
    def into(self) -> Floats:
        """Unit vector (3,) from the ostium into the tree."""
        way: Floats = self.rest[min(10, len(self.rest) - 1)] - self.rest[0]
        way = way / max(math.sqrt(float((way * way).sum())), 1e-9)
        return way

    def points_at(self, frame: int) -> Floats:
        """The vessels' points (n, 3) in a frame, LPS mm about the isocentre."""
        moved = self.motion.at(self.vessels.points, float(self.times_s[frame]) + self.begins_s) + self.stand.shift_mm
        return moved + self.pan.shift_mm(self.moved(frame), self.view) if self.pan else moved

    def moved(self, frame: int) -> tuple[int, int]:
        """Rows and columns by which the table has moved the picture."""
        return self.pan.at(float(self.times_s[frame])) if self.pan else (0, 0)

    def in_field(self, field: NDArray[np.bool_], frame: int) -> float:
        """Share of the tree's length, fine twigs apart, that lies in the open field."""
        at = project(self.points_at(frame), self.vessels.parent, self.view.constants())
        named = self.vessels.segment >= 0
        row, col = np.floor(at.row[named] + 0.5).astype(int), np.floor(at.col[named] + 0.5).astype(int)
        inside = (row >= 0) & (row < field.shape[0]) & (col >= 0) & (col < field.shape[1])
        inside[inside] = field[row[inside], col[inside]]
        return float(inside.mean())


class Camera:
    """Takes a run's frames.

    Args:
        run: what is filmed.
        devices: that move with the heart, the catheter first.
        film: what they are taken on.
        kept: points that are followed.
    """

    def __init__(
        self,
        run: Run,
        devices: list[Device],
        reflux: Reflux | None,
        film: Film,
        kept: NDArray[np.int64],
    ) -> None:
        self.run, self.devices, self.reflux, self.film = run, devices, reflux, film
        v = run.vessels
        n = len(v.points)
        starts = n + np.cumsum([0, *(len(d.points) for d in devices)])
        self._first = n
        parent = [np.arange(first - 1, first + len(d.points) - 1) for first, d in zip(starts, devices, strict=False)]
        for line, device in zip(parent, devices, strict=True):
            line[0] = 0 if device.kind == "catheter" else -1  # the catheter joins the lumen at the ostium
        branch = [np.full(len(d.points), int(v.branch[-1]) + 1 + k) for k, d in enumerate(devices)]
        hollow = [np.full(len(d.points), d.hollow) for d in devices]
        self._tubes = Tubes(
            np.concatenate([v.radii, *(d.radii for d in devices)]),
            np.concatenate([v.branch, *branch]).astype(np.int32),
            np.concatenate([v.parent, *parent]).astype(np.int32),
            np.concatenate([np.zeros(n), *hollow]),
        )
        self._rest = np.concatenate([d.points for d in devices])
        self._anchor = np.concatenate([d.anchor for d in devices])
        self._follow = np.concatenate([d.follow for d in devices])[:, None]
        self._solid = np.concatenate(
            [np.full(len(d.points), CATHETER if d.kind == "catheter" else DEVICE) for d in devices]
        )
        self._codes = codes(v)
        self._sites = [Site(v, lesion) for lesion in run.graded]
        self._canvas = Canvas(run.view.rows, run.view.cols)
        self._constants, self._axes = run.view.constants(), run.view.axes
        self.kept = kept

    def take(self, number: int) -> Frame:
        """One frame, by its number in the run."""
        run, v, canvas = self.run, self.run.vessels, self._canvas
        points = run.points_at(number)
        concentration = run.concentrations[number]
        gone = points - run.rest
        held = self._rest + self._follow * gone[self._anchor]
        moved = run.moved(number)
        if run.pan:  # the table carries what does not go with the heart as well
            held += (1 - self._follow) * run.pan.shift_mm(moved, run.view)
        everything = np.concatenate([points, held])
        at = project(everything, self._tubes.parent, self._constants)
        dense = run.dense * concentration
        own = Projected(*(values[: self._first] for values in at))
        shown = 2 * dense * v.radii * own.stretch
        code = np.where(shown * self.film.contrast > LEAST, self._codes, 0).astype(np.uint8)
        canvas.clear()
        weight = np.concatenate([dense, *(d.dense for d in self.devices)])
        lean = np.concatenate([run.lean, np.zeros(len(held))])
        canvas.draw(
            at, self._tubes, weight, lean, np.concatenate([code, self._solid]).astype(np.uint8), self._empty(number)
        )
        if self.reflux:
            self.reflux.draw(canvas.absorbed, float(run.times_s[number]), own, run.view)
        image = self.film.frame(number, canvas.absorbed, moved)
        mask = np.where(self.film.field, canvas.label, 0).astype(np.uint8)
        label = self._label(number, points, own, at, concentration)
        kept = self.kept
        track = np.column_stack([own.row[kept], own.col[kept], points[kept]]).astype(np.float32)
        return Frame(image, mask, label, track)

    def _empty(self, number: int) -> float:
        """How much less the catheter's bore absorbs than its wall: contrast fills it before it reaches the heart."""
        time, injection = float(self.run.times_s[number]), self.run.injection
        return EMPTY if not injection.onset_s - LEAD_S <= time < injection.end_s else FILLED

    def _label(
        self, number: int, points: Floats, own: Projected, at: Projected, concentration: Floats
    ) -> dict[str, Any]:
        run = self.run
        tube = slice(self._first, self._first + len(self.devices[0].points))
        others = at.row[tube], at.col[tube], self._tubes.radii[tube] * at.scale[tube]
        boxes = []
        for index, site in enumerate(self._sites):
            seen = site.seen(points, own, self._axes, concentration, self.film.field, others)
            if seen:
                boxes.append(seen.to_json(index))
        return {
            "time_s": round(float(run.times_s[number]), 4),
            "phase": run.phases[number],
            "contrast": float(run.shares[number]),
            "boxes": boxes,
        }
