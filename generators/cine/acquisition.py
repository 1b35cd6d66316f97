"""All that is drawn once for a sample: from a case and the sample's own random numbers to a run ready to be filmed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.base import Memory
from lesionforge.generators.cine import scenery
from lesionforge.generators.cine.anatomy import vessels_of
from lesionforge.generators.cine.backdrop import Backdrop
from lesionforge.generators.cine.contrast import REACHED, Injection
from lesionforge.generators.cine.devices import Device, draw_devices
from lesionforge.generators.cine.disease import Request, diseased
from lesionforge.generators.cine.film import Exposure, Film, contrast_of
from lesionforge.generators.cine.flow import flow, modelled_ifr
from lesionforge.generators.cine.motion import Motion
from lesionforge.generators.cine.params import CineParams, Severity, class_of
from lesionforge.generators.cine.reflux import Reflux
from lesionforge.generators.cine.run import FINEST_MM, Camera, Run
from lesionforge.generators.cine.thinned import thinned
from lesionforge.generators.cine.vessels import Artery, Vessels
from lesionforge.generators.cine.views import Pan, Stand, chosen
from lesionforge.generators.phantom.angiogram.detector import Collimator
from lesionforge.generators.types import Angiogram, BadCase, CoronaryTree, Rejected, SampleSpec, significant, stream

CONTRAST = 0.25, 0.42, (0.1, 0.5)  # of a vessel of 10 px: median, spread of its logarithm, bounds
REFLUX = 0.45  # share of runs with reflux
PAN_PX = 0.14  # of the picture, most that the table moves
COLLIMATED = 0.75  # share of runs with a collimator, of those whose table moves
EVERY = 8  # of the centreline's points one is told: 4 mm


@dataclass(frozen=True)
class Acquisition:
    """A run ready to be filmed.

    Attributes:
        ifr: of each artery, modelled.
        kept, numbers: the run's points that are told, and which of the tree's they are.
    """

    run: Run
    severity: Severity
    ifr: dict[Artery, float]
    fps: float
    devices: list[Device]
    reflux: Reflux | None
    film: Film
    kept: NDArray[np.int64]
    numbers: NDArray[np.int64]

    def camera(self) -> Camera:
        """Ready to take the frames."""
        return Camera(self.run, [d for d in self.devices if d.moves], self.reflux, self.film, self.kept)

    def drawn(self) -> dict[str, Any]:
        """Every parameter that was drawn, as JSON."""
        run = self.run
        return {
            "severity": self.severity,
            "shift_mm": [significant(x) for x in run.stand.shift_mm.tolist()],
            "motion": run.motion.to_json() | {"begins_s": run.begins_s},
            "injection": asdict(run.injection),
            "pan": asdict(run.pan) if run.pan else None,
            "strength": significant(run.strength),
            "exposure": asdict(self.film.exposure),
            "devices": [d.kind for d in self.devices],
            "reflux": self.reflux is not None,
            "veil": significant(self.film.backdrop.veil),
        }


def acquire(
    p: CineParams, tree: CoronaryTree, behind: Angiogram | None, spec: SampleSpec, memory: Memory[Backdrop]
) -> Acquisition:
    """Draw all of a sample but its frames; ``behind``: a real frame, whose vessels are taken out once.

    Raises:
        Rejected, BadCase: see ``Generator.make``.
    """
    vessels, severity = _patient(p, tree, spec)
    ifr = {artery: significant(value) for artery, value in modelled_ifr(vessels).items()}
    real = scenery.real(memory, behind, p.size) if behind else None
    told = behind.view_deg if behind else None
    gap = scenery.opening(real) if real else None
    stand = Stand.draw(spec.rng("view"), chosen(p.views), vessels, p.size, p.ostium, told, gap)

    rng = spec.rng("time")
    frames, fps = p.draw_frames(rng)
    filling = flow(vessels, spec.rng("flow"))
    waited = (filling.reach > REACHED) & (vessels.healthy > FINEST_MM)
    slowest = float(np.quantile(filling.arrival_s[waited], 0.95)) + 0.3
    injection = Injection.draw(rng, frames / fps, slowest, p.washout)
    moves = rng.random() < p.pan and p.frames != 1 and not (real and scenery.has_rim(real))
    pan = Pan.draw(rng, frames / fps, round(PAN_PX * p.size)) if moves else None
    motion = Motion.draw(spec.rng("motion"), vessels)
    begins = float(rng.uniform(0, motion.cycle_s))

    if real is None:
        backdrop = scenery.chest(spec.rng("background"), stand.view, moves)
    else:
        backdrop = scenery.mirrored(real) if moves else real
    rng = spec.rng("exposure")
    exposure = Exposure.draw(rng)
    strength = _strength(rng, contrast_of(backdrop))
    starts = vessels.starts[vessels.branch]
    vessels, filling, numbers = thinned(vessels, filling)
    times = np.arange(frames) / fps
    run = Run(spec.rng("streams"), vessels, filling, motion, begins, stand, injection, pan, times, strength)

    rng = spec.rng("devices")
    devices = draw_devices(rng, vessels, run.rest, stand.view, p.devices)
    backdrop = scenery.with_devices(backdrop, [d for d in devices if not d.moves], stand.view)
    reflux = Reflux.draw_puffs(rng, injection, run.into, strength, frames / fps) if rng.random() < REFLUX else None
    collimator = Collimator.draw(rng, p.size) if moves and rng.random() < COLLIMATED else None
    count = 1 if p.frames == 1 else frames
    film = Film(spec.rng("grain"), backdrop, (p.size, p.size), exposure, count, collimator)
    kept = np.flatnonzero((numbers - starts[numbers]) % EVERY == 0)
    return Acquisition(run, severity, ifr, fps, devices, reflux, film, kept, numbers[kept])


def _patient(p: CineParams, tree: CoronaryTree, spec: SampleSpec) -> tuple[Vessels, Severity]:
    """The tree's vessels, the same in all its runs, with lesions, and the class of the worst of these."""
    key = hashlib.blake2b(tree.source_id.encode(), digest_size=32).digest()
    if p.same_lesions and spec.target:
        raise BadCase(f"same_lesions grades a tree once, not as {spec.target}: leave out the recipe's balance")

    def rng(stage: str) -> np.random.Generator:
        return stream(key, f"cine/{stage}") if p.same_lesions else spec.rng(stage)

    severity, wanted = p.draw_severities(rng("severity"), spec.target)
    vessels = diseased(vessels_of(tree, stream(key, "cine/vessels")), [Request(ds) for ds in wanted], rng("disease"))
    worst = max((lesion.percent_ds for lesion in vessels.lesions if lesion.kind != "diffuse"), default=0.0)
    if class_of(worst) != severity:
        raise Rejected(f"asked for {severity}, the worst lesion has {worst:.0f} %DS")
    return vessels, severity


def _strength(rng: np.random.Generator, above: float) -> float:
    """Absorbance of a vessel of 10 px; ``above``: share of the grey level that an opaque one would take away."""
    middle, spread, (least, most) = CONTRAST
    shown = min(max(middle * math.exp(spread * float(rng.standard_normal())), least), most, 0.85 * above)
    return -math.log(1 - shown / above)
