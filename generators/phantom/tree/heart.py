"""The heart a coronary tree is drawn on: an ovoid in the chest, its size and axes, and the subject's traits.

Fitted to a real tree: the two components of ImageCAS's example label lie on an ellipsoid of semi-axes 55 mm
(long axis), 36 mm (head-wards) and 51 mm (side-wards) with an rms distance of 3.7 mm; its long axis points 34
degrees left of anterior and 20 degrees down, and the atrioventricular groove lies 17 degrees behind its equator.
The population means stand between that supine CT case and the textbook heart (45 degrees left, 35 down).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

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

    @functools.cached_property
    def frame(self) -> tuple[Floats, Floats]:
        """The axes (3, 3) and the semi-axes ahead and behind (2, 3), for kernels."""
        return np.stack(self.axes), np.array([self.ahead, self.behind])

    def at(self, places: Sequence[tuple[float, float, float]]) -> Floats:
        """World points (n, 3) in mm of places; angles in degrees."""
        out: Floats = _at(np.array(places), *self.frame)
        return out

    def clock(self, point: Floats) -> float:
        """The ``phi`` in degrees of a world point (3,)."""
        high, wide = (
            along / (self.ahead if along >= 0.0 else self.behind)[k]
            for k, along in ((k, float((point * self.axes[k]).sum())) for k in (1, 2))
        )
        return math.degrees(math.atan2(wide, high))

    def onto(self, points: Floats, depth: Floats) -> Floats:
        """Move world points (n, 3) along their ray from the centre to ``depth`` (n,) mm under the surface."""
        shares = 1.0 / self._radii(points) - depth / np.sqrt((points * points).sum(axis=1))
        out: Floats = points * shares[:, None]
        return out

    def depth(self, points: Floats) -> Floats:
        """How many mm each world point (n, 3) lies under the surface along its ray; negative outside."""
        length: Floats = np.sqrt((points * points).sum(axis=1)) * (1.0 / self._radii(points) - 1.0)
        return length

    def normal(self, points: Floats) -> Floats:
        """Outward unit normals (n, 3) of the ovoid on the rays of world points (n, 3)."""
        normals: Floats = _charted(points, *self.frame)[:, :3]
        return normals

    def _radii(self, points: Floats) -> Floats:
        """How many radii out world points (n, 3) lie: 1 on the surface."""
        radii: Floats = _charted(points, *self.frame)[:, 3]
        return radii


@jit
def _at(places: Floats, axes: Floats, semi: Floats) -> Floats:
    out = np.zeros((len(places), 3))
    for n in range(len(places)):
        theta, phi, depth = math.radians(places[n, 0]), math.radians(places[n, 1]), places[n, 2]
        x = y = z = 0.0
        for k in range(3):
            unit = math.cos(theta)
            if k > 0:
                unit = math.sin(theta) * (math.cos(phi) if k == 1 else math.sin(phi))
            own = unit * (semi[0, k] if unit >= 0.0 else semi[1, k])
            x, y, z = x + own * axes[k, 0], y + own * axes[k, 1], z + own * axes[k, 2]
        far = math.sqrt(x * x + y * y + z * z)
        out[n, 0], out[n, 1], out[n, 2] = x - depth * (x / far), y - depth * (y / far), z - depth * (z / far)
    return out


@jit
def _charted(points: Floats, axes: Floats, semi: Floats) -> Floats:
    out = np.empty((len(points), 4))
    for n in range(len(points)):
        chart = surface(points[n, 0], points[n, 1], points[n, 2], axes, semi)
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = chart
    return out


@jit
def surface(x: float, y: float, z: float, axes: Floats, semi: Floats) -> tuple[float, float, float, float]:
    """Outward unit normal of the ovoid on the ray of a world point, and how many radii out that lies."""
    a = b = c = rho = 0.0
    for k in range(3):
        own = x * axes[k, 0] + y * axes[k, 1] + z * axes[k, 2]
        edge = semi[0, k] if own >= 0.0 else semi[1, k]
        scaled = own / edge
        rho += scaled * scaled
        a, b, c = a + scaled / edge * axes[k, 0], b + scaled / edge * axes[k, 1], c + scaled / edge * axes[k, 2]
    size = math.sqrt(a * a + b * b + c * c)
    return a / size, b / size, c / size, math.sqrt(rho)


def _normal(rng: np.random.Generator) -> float:
    """A standard normal number cut at two standard deviations."""
    return float(min(max(rng.standard_normal(), -2.0), 2.0))


def _unit(v: Floats) -> Floats:
    out: Floats = v / np.sqrt((v * v).sum())
    return out
