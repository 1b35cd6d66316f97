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
ROUGH = 0.08  # sd of the walls' irregularity half-way down a shoulder, as a share of the narrowing
ROUGH_PX = 2.5  # its extent along the vessel
LEAST_PX = 20.0  # length of the shortest lesion: the meter rounds the tip of a shorter one
VISIBLE = 0.3  # a lesion is seen where it takes at least this share of its greatest narrowing


@dataclass(frozen=True)
class Shape:
    """A lesion in units of the healthy diameter, before place and severity are known.

    ``length`` in diameters, end to end. ``lean`` -.5 ... .5: how much longer the first shoulder is than the second.
    ``plateau``: share of the length at full narrowing. ``sharp``: exponent of the cosine shoulders. ``eccentric``
    -1 ... 1: 0 narrows both walls alike, +-1 leaves one of them in place. ``depth``: see ``FrameNarrowing``. ``seed``
    of the walls' irregularity.
    """

    length: float
    lean: float
    plateau: float
    sharp: float
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
            lean=float(rng.uniform(-0.15, 0.15)),
            plateau=float(rng.uniform(0.3, 0.5) if total else rng.uniform(0, 0.1 if severity == "severe" else 0.25)),
            sharp=float(rng.uniform(0.6, 1.0) if total else rng.uniform(1.0, 1.4)),
            eccentric=float(rng.uniform(0.4, 1) * rng.choice((-1, 1)) if one_sided else rng.uniform(-0.25, 0.25)),
            depth=0.0 if total or params.backend == "diffusion" else float(rng.uniform(*params.depth)),
            seed=int(rng.integers(2**32)),
        )

    def half(self, diameter: float) -> int:
        """Rows to either side of the minimum that the lesion reaches on a vessel of this healthy diameter in px."""
        return math.ceil(max(self._ends(diameter)))

    def _ends(self, diameter: float) -> tuple[float, float]:
        length = max(self.length * diameter, LEAST_PX)
        return length * (0.5 + self.lean), length * (0.5 - self.lean)

    def on(self, diameter: float) -> Profile:
        """The lesion on a vessel of this healthy diameter in px."""
        ends, half = self._ends(diameter), self.half(diameter)
        s = np.arange(-half, half + 1)
        x = np.abs(s) / np.where(s < 0, ends[0], ends[1])
        down = np.clip((x - self.plateau) / (1 - self.plateau), 0, 1)
        share = (0.5 + 0.5 * np.cos(np.pi * down)) ** self.sharp
        rng = stream(self.seed.to_bytes(8, "little"), "walls")
        wobble = scipy.ndimage.gaussian_filter1d(rng.standard_normal(len(s)), ROUGH_PX, mode="wrap")
        wobble *= np.sqrt(2 * np.sqrt(np.pi) * ROUGH_PX)  # unit variance again
        return Profile(np.clip(share + 4 * ROUGH * wobble * share * (1 - share), 0, 1), self.eccentric)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for ``Sample.drawn``."""
        return asdict(self)


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

    def rows(self, n: int, at: int, percent_ds: float, diameter: Rows) -> tuple[Rows, Rows]:
        """``keep`` and ``shift`` (n,) of ``FrameNarrowing`` for a stretch of n rows with the minimum at row ``at``."""
        keep = 1 - percent_ds / 100 * self.at(np.arange(n) - at)
        return keep, self.eccentric * (1 - keep) * diameter / 2
