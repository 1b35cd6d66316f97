"""The beating and breathing heart as a pure function of time: where each point of a tree is.

In systole the base comes down to the apex, the walls come in, base and apex turn against each other, and the whole
heart swings on the great vessels; so vessels move in every view. The sizes are those that a registration measures in
real runs: 3-5 mm median excursion over a cycle, 45-65 mm/s at the fastest.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.vessels import Floats, Vessels
from lesionforge.generators.kernels import jit

SYSTOLE: Final = 0.35  # of the cycle, from end-diastole
_FILLED, _ATRIUM = 0.53, 0.88  # early filling ends, the atrium contracts
_DIASTASIS = 0.16  # of the contraction that is left between them
_AXIS = (0.5486, -0.7021, -0.4540)  # base to apex, LPS: 38 degrees left of anterior, 27 down


@dataclass(frozen=True)
class Motion:
    """One heart's motion about its own long axis; time 0 is end-diastole, where every point is at rest.

    Attributes:
        base_mm: LPS (3,), middle of the atrioventricular plane.
        axis: unit vector (3,), base to apex.
        length_mm: from the base to the apex.
        cycle_s: duration of a heartbeat.
        shortening_mm: how far the base comes down.
        radial: share by which the distance from the axis shrinks.
        twist_deg: at the apex and the base, about the axis, at end-systole.
        swing_mm: LPS (3,), how far the heart moves as a whole; ``swing_lag``: by which share of the cycle later.
        restless_mm: LPS (3, 2), sizes of what goes on in diastasis as well, at twice and three times the heart rate.
        breath_mm, breath_s: LPS (3,) from expiration to inspiration, and the period; a breath that is held drifts.
        held: whether it is.
    """

    base_mm: tuple[float, float, float]
    axis: tuple[float, float, float]
    length_mm: float
    cycle_s: float
    shortening_mm: float
    radial: float
    twist_deg: tuple[float, float]
    swing_mm: tuple[float, float, float]
    swing_lag: float
    restless_mm: tuple[tuple[float, float], ...]
    breath_mm: tuple[float, float, float]
    breath_s: float
    held: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, vessels: Vessels) -> Motion:
        """The motion of a tree's heart; rates are 55 to 95 beats a minute."""
        axis = np.array(_AXIS) + rng.normal(0.0, 0.06, 3)
        axis /= math.sqrt(float((axis * axis).sum()))
        along = (vessels.points * axis).sum(axis=1)
        low, high = np.quantile(along, [0.1, 0.99]).tolist()
        middle = np.median(vessels.points, axis=0)
        base = middle + (low - float((middle * axis).sum())) * axis
        held = bool(rng.random() < 0.75)
        swing = rng.normal(0.0, 1.0, 3)
        swing *= rng.uniform(1.2, 3.2) / math.sqrt(float((swing * swing).sum()))
        breath = np.array([0.2, -0.35, -1.0]) * (rng.uniform(0.5, 3.0) if held else rng.uniform(4.0, 10.0))
        return cls(
            base_mm=_three(base),
            axis=_three(axis),
            length_mm=max(high - low, 30.0),
            cycle_s=60.0 / rng.uniform(55.0, 95.0),
            shortening_mm=rng.uniform(5.0, 11.0),
            radial=rng.uniform(0.06, 0.11),
            twist_deg=(rng.uniform(4.0, 10.0), -rng.uniform(1.5, 4.5)),
            swing_mm=_three(swing),
            swing_lag=rng.uniform(0.02, 0.12),
            restless_mm=tuple((float(a), float(b)) for a, b in rng.normal(0.0, 1.0, (3, 2)) * (0.25, 0.12)),
            breath_mm=_three(breath),
            breath_s=rng.uniform(8.0, 20.0) if held else rng.uniform(3.0, 5.5),
            held=held,
        )

    def at(self, points: Floats, time_s: float) -> Floats:
        """Where points (n, 3) in LPS mm, at rest, are at a time: (n, 3)."""
        phase = time_s / self.cycle_s
        moved = contraction(phase - self.swing_lag) - contraction(-self.swing_lag)
        two, three = (math.sin(2.0 * math.pi * k * phase) for k in (2, 3))
        # breath held: slowly on, never back within a run
        breath = math.sin(0.5 * math.pi * min(time_s / self.breath_s, 1.0)) if self.held else 0.0
        if not self.held:
            breath = 0.5 - 0.5 * math.cos(2.0 * math.pi * time_s / self.breath_s)
        shift = [
            self.swing_mm[k] * moved + self.restless_mm[k][0] * two + self.restless_mm[k][1] * three
            + self.breath_mm[k] * breath
            for k in range(3)
        ]  # fmt: skip
        out = np.empty_like(points)
        sizes = (self.length_mm, self.shortening_mm, self.radial, *(math.radians(t) for t in self.twist_deg))
        where = np.array([self.base_mm, self.axis, shift])
        _beat(np.ascontiguousarray(points), where, np.array(sizes), contraction(phase), out)
        return out

    def to_json(self) -> dict[str, Any]:
        """The drawn values."""
        return asdict(self)


def contraction(phase: float) -> float:
    """How far the heart has contracted, 0 at end-diastole to 1 at end-systole; period 1, without edges.

    Up over systole, down in early filling, a pause (diastasis), and the rest as the atrium contracts.
    """
    t = phase - math.floor(phase)
    if t < SYSTOLE:
        return _eased(t / SYSTOLE)
    if t < _FILLED:
        return 1.0 - (1.0 - _DIASTASIS) * _eased((t - SYSTOLE) / (_FILLED - SYSTOLE))
    return _DIASTASIS * (1.0 - _eased(max(t - _ATRIUM, 0.0) / (1.0 - _ATRIUM)))


def _eased(share: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * share)


def _three(v: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = v.tolist()
    return x, y, z


@jit
def _beat(points: Floats, where: Floats, sizes: Floats, contracted: float, out: Floats) -> None:
    """``where``: base, axis and shift (3, 3); ``sizes``: length, shortening, radial share, turns at apex and base."""
    for n in range(len(points)):
        x, y, z = points[n, 0] - where[0, 0], points[n, 1] - where[0, 1], points[n, 2] - where[0, 2]
        a, b, c = where[1, 0], where[1, 1], where[1, 2]
        along = x * a + y * b + z * c
        x -= along * a
        y -= along * b
        z -= along * c
        height = min(max(along / sizes[0], -0.3), 1.1)  # 0 at the base, 1 at the apex
        turn = contracted * (sizes[4] + (sizes[3] - sizes[4]) * height)
        near = 1.0 - contracted * sizes[2]
        cosine, sine = near * math.cos(turn), near * math.sin(turn)
        along += contracted * sizes[1] * (1.0 - height)
        out[n, 0] = where[0, 0] + where[2, 0] + along * a + cosine * x + sine * (b * z - c * y)
        out[n, 1] = where[0, 1] + where[2, 1] + along * b + cosine * y + sine * (c * x - a * z)
        out[n, 2] = where[0, 2] + where[2, 2] + along * c + cosine * z + sine * (a * y - b * x)
