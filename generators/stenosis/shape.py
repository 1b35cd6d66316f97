"""The shape of one lesion along its vessel."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.types import SeverityClass, stream

Rows = NDArray[np.float64]
# How real lesions narrow their vessel: 307 of ARCADE's train frames, graded by DiGDA's experts, by
# ``python -m tests.benchmarks.lesion_shapes``. The share of the greatest narrowing at KNOTS, in lengths at half of it,
# is MEAN plus normal multiples (sd SPREAD) of the principal FORMS: which shoulder is longer, whether a second lesion or
# diffuse disease lies beside, on which side, how square the lesion is, shoulders.
KNOTS = np.linspace(-1.25, 1.25, 11)
MEAN = np.array([0.17, 0.17, 0.24, 0.46, 0.72, 0.96, 0.72, 0.46, 0.24, 0.17, 0.17])
FORMS = np.array(
    [
        [0.05, 0.13, 0.33, 0.52, 0.33, 0.0, -0.33, -0.52, -0.33, -0.13, -0.05],
        [0.47, 0.45, 0.25, 0.04, -0.08, 0.0, -0.08, 0.04, 0.25, 0.45, 0.47],
        [0.5, 0.46, 0.09, -0.17, -0.08, 0.0, 0.08, 0.17, -0.09, -0.46, -0.5],
        [0.35, 0.0, -0.55, -0.22, 0.16, 0.03, 0.16, -0.22, -0.55, 0.0, 0.35],
        [0.42, -0.27, -0.43, 0.2, 0.15, 0.0, -0.15, -0.2, 0.43, 0.27, -0.42],
    ]
)
SPREAD = np.array([0.49, 0.39, 0.37, 0.26, 0.22])
FLAT = 0.05  # share of the length about the minimum that is at full narrowing, at least
STUMP = 1.5  # an occlusion is closed where a lesion of its form would take two thirds of its greatest narrowing
ROUGH = 0.08  # sd of the walls' irregularity half-way down a shoulder, as a share of the narrowing
ROUGH_PX = 2.0  # its extent along the vessel
SMOOTH_PX = 1.5  # sd of the Gaussian that rounds the corners at the knots
LEAST_PX = 20.0  # length of the shortest lesion: the meter rounds the tip of a shorter one
VISIBLE = 0.3  # a lesion is seen where it takes at least this share of its greatest narrowing


@dataclass(frozen=True)
class Shape:
    """A lesion in units of the healthy diameter, before place and severity are known.

    ``length`` in diameters, end to end. ``form`` (5,): multiples of FORMS. ``stump``: an occlusion. ``eccentric``
    -1 ... 1: 0 narrows both walls alike, +-1 leaves one of them in place. ``depth``: see ``FrameNarrowing``. ``seed``
    of the walls' irregularity.
    """

    length: float
    form: tuple[float, ...]
    stump: bool
    eccentric: float
    depth: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, params: StenosisParams, severity: SeverityClass, total: bool) -> Shape:
        """Draw a lesion of a class; ``total`` for an occlusion."""
        low, high = params.severe_length if severity == "severe" else params.length
        one_sided = rng.random() < params.eccentric and not total  # stumps taper about their middle
        return cls(
            length=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
            form=tuple(float(v) for v in SPREAD * rng.standard_normal(len(SPREAD))),
            stump=total,
            eccentric=float(rng.uniform(0.3, 1) * rng.choice((-1, 1)) if one_sided else rng.uniform(-0.25, 0.25)),
            depth=0.0 if total or params.backend == "diffusion" else float(rng.uniform(*params.depth)),
            seed=int(rng.integers(2**32)),
        )

    def half(self, diameter: float) -> int:
        """Rows to either side of the minimum that the lesion reaches on a vessel of this healthy diameter in px."""
        return math.ceil(max(self.length * diameter, LEAST_PX) / 2)

    def on(self, diameter: float) -> Profile:
        """The lesion on a vessel of this healthy diameter in px."""
        half = self.half(diameter)
        s = np.arange(-half, half + 1)
        knots = MEAN.copy()
        for much, form in zip(self.form, FORMS, strict=True):
            knots += much * form
        x = s / half
        share = np.interp(x * KNOTS[-1], KNOTS, np.clip(knots, 0, 1))
        share = np.maximum(share, np.clip((3 * FLAT - np.abs(x)) / (2 * FLAT), 0, 1))
        share = scipy.ndimage.gaussian_filter1d(share, SMOOTH_PX, mode="nearest")
        share = np.clip(share / share[half] * (STUMP if self.stump else 1), 0, 1)
        rng = stream(self.seed.to_bytes(8, "little"), "walls")
        wobble = scipy.ndimage.gaussian_filter1d(rng.standard_normal(len(s)), ROUGH_PX, mode="wrap")
        wobble *= np.sqrt(2 * np.sqrt(np.pi) * ROUGH_PX)  # unit variance again
        share = np.clip(share + 4 * ROUGH * wobble * share * (1 - share), 0, 1)
        ends = np.clip(2.5 * (1 - np.abs(x)), 0, 1)
        return Profile(share * ends * ends * (3 - 2 * ends), self.eccentric)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for ``Sample.drawn``."""
        return asdict(self) | {"form": list(self.form)}


@dataclass(frozen=True)
class Profile:
    """Narrowing along a vessel at steps of about 1 px, severity left open.

    ``share`` (2 m + 1,) of the greatest narrowing at rows -m ... m from the minimum: 1 there, 0 at both ends.
    """

    share: Rows
    eccentric: float

    @property
    def half(self) -> int:
        """m."""
        return len(self.share) // 2

    def at(self, place: NDArray[np.int64]) -> Rows:
        """``share`` at rows counted from the minimum; 0 beyond the ends."""
        return np.interp(place, np.arange(-self.half, self.half + 1), self.share, left=0, right=0)

    def seen(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The rows where the eye sees the lesion."""
        return np.asarray(self.at(place) >= VISIBLE)

    def rows(self, at: int, percent_ds: float, diameter: Rows, fade: Rows) -> tuple[Rows, Rows]:
        """``keep`` and ``shift`` (n,) of ``FrameNarrowing`` for a stretch of n rows with the minimum at row ``at``.

        ``fade`` (n,): how far the place allows the narrowing, 0 ... 1.
        """
        keep = 1 - percent_ds / 100 * self.at(np.arange(len(fade)) - at) * fade
        return keep, self.eccentric * (1 - keep) * diameter / 2
