"""The heart a coronary tree is drawn on: an ovoid in the chest, its size and axes, and the subject's traits.

Fitted to a real tree: the two components of ImageCAS's example label lie on an ellipsoid of semi-axes 55 mm
(long axis), 36 mm (head-wards) and 51 mm (side-wards) with an rms distance of 3.7 mm; its long axis points 34
degrees left of anterior and 20 degrees down, and the atrioventricular groove lies 17 degrees behind its equator.
The population means stand between that supine CT case and the textbook heart (45 degrees left, 35 down).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Dominance = Literal["right", "left", "co"]

# Right 80 %, left 10 %, co-dominant 10 % of hearts (who supplies the posterior descending artery).
DOMINANCE: tuple[tuple[Dominance, float], ...] = (("right", 0.8), ("left", 0.9), ("co", 1.0))


@dataclass(frozen=True)
class Heart:
    """An ovoid of six semi-axes centred on the origin of the world (LPS, mm), and what marks its subject.

    A place on it is (``theta``, ``phi``, ``depth``): ``theta`` degrees from the apex (the atrioventricular groove
    lies near 107), ``phi`` degrees on the clock a viewer sees in LAO (0 at 12 o'clock, +90 at the left
    ventricle's lateral wall, -90 at the right heart border), ``depth`` mm under the surface.
    """

    axes: tuple[Floats, Floats, Floats]  # unit vectors: base to apex, head-wards, lateral (left and posterior)
    ahead: tuple[float, float, float]  # semi-axes in mm on the positive side of each axis
    behind: tuple[float, float, float]  # and on the negative side
    dominance: Dominance
    tortuosity: float  # factor on the wander of every vessel, 1 on average
    calibre: float  # factor on every diameter, 1 on average

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Heart:
        """Draw one subject's heart. Spreads are between-subject standard deviations, cut at two."""
        azimuth = math.radians(38.0 + 7.0 * _normal(rng))
        elevation = math.radians(27.0 + 6.0 * _normal(rng))
        roll = math.radians(6.0 * _normal(rng))
        size = 1.0 + 0.06 * _normal(rng)
        long, high, wide = (size * m * (1.0 + 0.04 * _normal(rng)) for m in (56.0, 39.0, 50.0))
        apex = np.array(
            [
                math.cos(elevation) * math.sin(azimuth),
                -math.cos(elevation) * math.cos(azimuth),
                -math.sin(elevation),
            ]
        )
        up = _unit(np.array([0.0, 0.0, 1.0]) - apex[2] * apex)
        side = np.cross(up, apex)
        turned = math.cos(roll) * up + math.sin(roll) * side
        chance = rng.random()
        return cls(
            axes=(apex, turned, np.cross(turned, apex)),
            ahead=(long, high, wide),
            # the heart is blunter at its base and lies flat on the diaphragm
            behind=(0.9 * long, 0.85 * high, wide),
            dominance=next(name for name, upto in DOMINANCE if chance < upto),
            tortuosity=math.exp(0.3 * _normal(rng)),
            calibre=1.0 + 0.09 * _normal(rng),
        )

    def at(self, theta: float, phi: float, depth: float = 0.0) -> Floats:
        """World point (3,) in mm of one place; angles in degrees."""
        t, p = math.radians(theta), math.radians(phi)
        return self._out(np.array([math.cos(t), math.sin(t) * math.cos(p), math.sin(t) * math.sin(p)]), depth)

    def clock(self, point: Floats) -> float:
        """The ``phi`` in degrees of a world point (3,)."""
        own = self._direction(point)
        return math.degrees(math.atan2(float(own[2]), float(own[1])))

    def onto(self, points: Floats, depth: Floats | float = 0.0) -> Floats:
        """Move world points (n, 3) along their ray from the centre to ``depth`` mm under the surface."""
        return self._out(self._direction(points), depth)

    def depth(self, points: Floats) -> Floats:
        """How many mm each world point (n, 3) lies under the surface along its ray; negative outside."""
        surface = self._out(self._direction(points), 0.0)
        length: Floats = _norm(surface) - _norm(points)
        return length

    def normal(self, points: Floats) -> Floats:
        """Outward unit normals (n, 3) of the ovoid on the rays of world points (n, 3)."""
        u = self._direction(points)
        u = u / self._semi(u)
        return _unit(sum((u[..., k, None] * self.axes[k] for k in range(3)), np.zeros(u.shape)))

    def _direction(self, points: Floats) -> Floats:
        """Unit vectors in the ovoid's own frame, each axis scaled by its semi-axis (the sphere's chart)."""
        own = np.stack([(points * axis).sum(axis=-1) for axis in self.axes], axis=-1)
        return _unit(own / self._semi(own))

    def _semi(self, own: Floats) -> Floats:
        return np.where(own >= 0.0, np.array(self.ahead), np.array(self.behind))

    def _out(self, unit: Floats, depth: Floats | float) -> Floats:
        own = unit * self._semi(unit)
        world = sum((own[..., k, None] * self.axes[k] for k in range(3)), np.zeros(own.shape))
        inward = np.asarray(depth)[..., None] * _unit(world)
        out: Floats = world - inward
        return out


def _normal(rng: np.random.Generator) -> float:
    """A standard normal number cut at two standard deviations."""
    return float(min(max(rng.standard_normal(), -2.0), 2.0))


def _norm(v: Floats) -> Floats:
    out: Floats = np.sqrt((v * v).sum(axis=-1))
    return out


def _unit(v: Floats) -> Floats:
    out: Floats = v / _norm(v)[..., None]
    return out
