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
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit

Floats = NDArray[np.float64]
Dominance = Literal["right", "left", "co"]

# Right 80 %, left 10 %, co-dominant 10 % of hearts (who supplies the posterior descending artery).
DOMINANCE: tuple[tuple[Dominance, float], ...] = (("right", 0.8), ("left", 0.9), ("co", 1.0))

SUPERDOMINANT, BROAD = 0.34, 1.08  # share of right-dominant hearts, see Heart.varied; how much broader they are
SMALLEST = {"right": 0.6, "co": 0.7, "left": 0.85}  # of a right coronary's calibre: below 2 mm no stenosis is graded
LARGEST_MM = 72.0, 50.0, 64.0  # semi-axes, of Heart.varied: a tree on a larger heart fits no field of view
ECTATIC, ECTASIA = 0.07, (1.2, 1.6)  # share of subjects whose vessels are wide throughout, and the factor


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
    right_calibre: float = 1.0  # the same, of the right tree alone
    root_tortuosity: float = 1.0  # as ``tortuosity``, of the right coronary itself
    twigs: float = 1.0  # factor on how many twigs a vessel has
    superdominant: bool = False  # the right tree goes on to the lateral wall

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

    def varied(self, rng: np.random.Generator) -> Heart:
        """This heart in a population as wide as patients are: size, shape, calibre, ectasia, courses, dominance.

        Large people have large hearts and wide vessels; the right coronary varies most (Dodge 1992: 3.9, sd 0.6 mm).
        """
        body, bend = _normal(rng), 1.9 * math.exp(0.35 * _normal(rng))
        size = 1.0 + 0.09 * body
        scale = [size * (1.0 + 0.05 * _normal(rng)) for _ in self.ahead]
        blunt = [1.0 + 0.06 * _normal(rng) for _ in self.ahead]  # base, floor and right border, apart from the rest
        calibre = self.calibre * (1.0 + 0.06 * body) * (1.0 + 0.1 * _normal(rng))
        right = 1.0 + 0.15 * _normal(rng)
        right = max(right, SMALLEST[self.dominance] / calibre)
        twigs = math.exp(0.35 * _normal(rng))
        wide, far, ectasia = rng.random(), rng.random(), rng.uniform(*ECTASIA)
        beyond = self.dominance == "right" and far < SUPERDOMINANT
        if beyond:
            scale[2] *= BROAD
        long, high, side = (min(s * a, most) for s, a, most in zip(scale, self.ahead, LARGEST_MM, strict=True))
        base, floor, border = (
            min(s * b * a, most) for s, b, a, most in zip(scale, blunt, self.behind, LARGEST_MM, strict=True)
        )
        return replace(
            self,
            ahead=(long, high, side),
            behind=(base, floor, border),
            tortuosity=bend * self.tortuosity,
            root_tortuosity=bend * self.tortuosity,
            calibre=calibre * (ectasia if wide < ECTATIC else 1.0),
            right_calibre=right * (1.2 if beyond and wide >= ECTATIC else 1.0),
            twigs=twigs,
            superdominant=beyond,
        )

    @functools.cached_property
    def frame(self) -> tuple[Floats, Floats]:
        """The axes (3, 3) and the semi-axes ahead and behind (2, 3), for kernels."""
        return np.stack(self.axes), np.array([self.ahead, self.behind])

    @functools.cached_property
    def _columns(self) -> list[list[float]]:
        columns: list[list[float]] = self.frame[0].T.tolist()
        return columns

    def at(self, places: Sequence[tuple[float, float, float]]) -> Floats:
        """World points (n, 3) in mm of places; angles in degrees."""
        out = []
        for theta, phi, depth in places:
            long, wide = math.cos(math.radians(theta)), math.sin(math.radians(theta))
            way = long, wide * math.cos(math.radians(phi)), wide * math.sin(math.radians(phi))
            semi = (self.ahead[k] if unit >= 0.0 else self.behind[k] for k, unit in enumerate(way))
            own = [unit * edge for unit, edge in zip(way, semi, strict=True)]
            point = [sum(part * axis for part, axis in zip(own, row, strict=True)) for row in self._columns]
            far = math.sqrt(sum(q * q for q in point))
            out.append([q - depth * (q / far) for q in point])
        return np.array(out)

    def clock(self, point: Floats) -> float:
        """The ``phi`` in degrees of a world point (3,)."""
        high, wide = (
            along / (self.ahead if along >= 0.0 else self.behind)[k]
            for k, along in ((k, float((point * self.axes[k]).sum())) for k in (1, 2))
        )
        return math.degrees(math.atan2(wide, high))

    def onto(self, points: Floats, depth: Floats) -> Floats:
        """Move world points (n, 3 or more) along their ray from the centre to ``depth`` (n,) mm under the surface."""
        chart = self.chart(points)
        shares = 1.0 / chart[:, 3] - depth / chart[:, 4]
        out: Floats = points[:, :3] * shares[:, None]
        return out

    def depth(self, points: Floats) -> Floats:
        """How many mm each world point (n, 3) lies under the surface along its ray; negative outside."""
        chart = self.chart(points)
        length: Floats = chart[:, 4] * (1.0 / chart[:, 3] - 1.0)
        return length

    def normal(self, points: Floats) -> Floats:
        """Outward unit normals (n, 3) of the ovoid on the rays of world points (n, 3)."""
        return self.chart(points)[:, :3]

    def chart(self, points: Floats) -> Floats:
        """Of world points (n, 3 or more): ``normal``, radii from the centre (1 on the surface), mm from it: (n, 5)."""
        out = np.empty((len(points), 5))
        _chart(points if points.flags.c_contiguous else points.copy(), *self.frame, out)
        return out


@jit
def _chart(points: Floats, axes: Floats, semi: Floats, out: Floats) -> None:
    for n in range(len(points)):
        x = points[n, 0]
        y = points[n, 1]
        z = points[n, 2]
        a = b = c = rho = 0.0
        for k in range(3):
            own = x * axes[k, 0] + y * axes[k, 1] + z * axes[k, 2]
            edge = semi[0, k] if own >= 0.0 else semi[1, k]
            scaled = own / edge
            rho += scaled * scaled
            scaled /= edge
            a += scaled * axes[k, 0]
            b += scaled * axes[k, 1]
            c += scaled * axes[k, 2]
        size = math.sqrt(a * a + b * b + c * c)
        out[n, 0] = a / size
        out[n, 1] = b / size
        out[n, 2] = c / size
        out[n, 3] = math.sqrt(rho)
        out[n, 4] = math.sqrt(x * x + y * y + z * z)


def _normal(rng: np.random.Generator) -> float:
    """A standard normal number cut at two standard deviations."""
    return float(min(max(rng.standard_normal(), -2.0), 2.0))


def _unit(v: Floats) -> Floats:
    out: Floats = v / np.sqrt((v * v).sum())
    return out
