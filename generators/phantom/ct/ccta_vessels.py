"""The great vessels of a CCTA phantom, placed so that they meet the coronary ostia and swallow no other vessel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats
from lesionforge.generators.phantom.ct.ccta_heart import FAT, Blood, world
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import Branch

ROOT_MM = 14.5  # radius of the aortic root
RISE = np.array([-0.16, -0.22, 1.0])  # the ascending aorta's direction
Trees = tuple[tuple[Branch, ...], ...]


@dataclass(frozen=True)
class Pipe:
    """A chain of capsules: way points (n, 3) in LPS mm and radii (n,) in mm."""

    way: Floats
    radii: Floats

    def meets(self, points: Floats, margin: float) -> int:
        """How many of the points (n, 3) lie nearer than ``margin`` mm to its wall, or inside."""
        inside = np.zeros(len(points), bool)
        for a, b, ra, rb in zip(self.way[:-1], self.way[1:], self.radii[:-1], self.radii[1:], strict=True):
            d = b - a
            t = np.clip(((points - a) * d).sum(1) / float((d * d).sum()), 0.0, 1.0)
            gap = points - a - t[:, None] * d
            inside |= np.sqrt((gap * gap).sum(1)) < ra + t * (rb - ra) + margin
        return int(inside.sum())


@dataclass(frozen=True)
class GreatVessels:
    """Aorta, pulmonary artery and superior vena cava of one subject."""

    aorta: Pipe
    pulmonary: Pipe
    branches: tuple[Pipe, ...]  # of the pulmonary artery
    cava: Pipe

    @classmethod
    def of(cls, heart: Heart, trees: Trees) -> GreatVessels:
        """Placed by the trees (healthy branches of the left and the right one)."""
        points = np.concatenate([b.points for branches in trees for b in branches])
        root = _root(trees, points)
        outflow = world(heart, (-10.0, 5.0, 8.0))
        top = root + 48.0 * RISE
        way = [outflow, root - 6.0 * RISE, root + 6.0 * RISE, root + 22.0 * RISE, top, _off(top, 6, 16, 14),
               _off(top, 22, 40, 16), (8.0, 56.0, top[2] - 2.0), (6.0, 62.0, 20.0), (2.0, 60.0, -60.0),
               (-8.0, 58.0, -200.0)]  # fmt: skip
        radii = [10.0, ROOT_MM - 1.0, ROOT_MM, 13.5, 14.0, 14.0, 13.0, 12.0, 11.0, 10.5, 10.0]
        cone = world(heart, (0.0, 24.0, -16.0))
        tries = (
            _trunk(cone, root + np.array([x, y, z]))
            for x, y, z in itertools.product((16.0, 22.0, 28.0), (-30.0, -24.0, -18.0), (4.0, 12.0))
        )
        pulmonary = min(tries, key=lambda pipe: pipe.meets(points, 2.5))
        fork = pulmonary.way[-1]
        sides = (
            np.stack([fork, _off(fork, 22.0, 22.0, 6.0), _off(fork, 45.0, 30.0, -6.0)]),
            np.stack([fork, _off(root, -8.0, 27.0, 32.0), _off(root, -45.0, 32.0, 22.0)]),
        )
        thinner = np.array([10.5, 9.0, 6.0])
        cava = np.stack([_off(root, -25.0, 9.0, -14.0), _off(root, -28.0, 8.0, 120.0)])
        return cls(
            Pipe(np.stack([np.asarray(w, np.float64) for w in way]), np.array(radii)),
            pulmonary,
            tuple(Pipe(way, thinner) for way in sides),
            Pipe(cava, np.array([9.5, 9.5])),
        )

    def bed(self, canvas: Canvas) -> None:
        """The fat that the vessels run in, painted before the heart."""
        for pipe in (self.aorta, self.pulmonary, *self.branches, self.cava):
            if near := canvas.tube(pipe.way, pipe.radii, 5.0):
                part, depth = near
                part.paint(depth, FAT, 0, -5.0)

    def paint(self, canvas: Canvas, blood: Blood, names: dict[str, int]) -> None:
        """The vein and the artery of the lungs, painted on the heart, walls first where no chamber opens into them."""
        _pipes(canvas, (self.cava,), blood.right + 90.0, 0, names["right_atrium"])
        stem = (self.pulmonary, *self.branches)
        _pipes(canvas, stem, blood.right + 20.0, names["pulmonary_artery"], names["right_ventricle"])

    def paint_aorta(self, canvas: Canvas, blood: Blood, names: dict[str, int]) -> None:
        """The aorta, over all but the coronaries."""
        _pipes(canvas, (self.aorta,), blood.left, names["aorta"], names["left_ventricle"])


def _pipes(canvas: Canvas, pipes: Sequence[Pipe], hu: float, label: int, opens: int) -> None:
    """Vessels of one ``label`` with a wall, but for where they open into the chamber ``opens``."""
    found = [near for pipe in pipes if (near := canvas.tube(pipe.way, pipe.radii, 1.4))]
    if not found:
        return
    depth = np.full(canvas.hu.shape, -np.inf)
    for part, own in found:
        np.maximum(depth[part.at], own, out=depth[part.at])
    depth[canvas.labels == opens] = -np.inf
    canvas.paint(depth, 60.0, 0, -1.4)
    canvas.paint(depth, hu, label)


def _off(point: Floats, x: float, y: float, z: float) -> Floats:
    """A point moved by so many mm."""
    out: Floats = point + np.array([x, y, z])
    return out


def _trunk(cone: Floats, middle: Floats) -> Pipe:
    return Pipe(np.stack([cone, middle, _off(middle, -2.0, 26.0, 30.0)]), np.array([9.0, 11.5, 12.0]))


def _root(trees: Trees, points: Floats) -> Floats:
    """Centre (3,) of the circle through both ostia, on the side on which fewer vessels would run through it."""
    starts = [branches[0].points[0] for branches in trees]
    middle, chord = (starts[0] + starts[1]) / 2, (starts[1] - starts[0])[:2]
    half = math.sqrt(float((chord * chord).sum())) / 2
    across = np.array([-chord[1], chord[0], 0.0]) / (2 * half)
    off = math.sqrt(max((ROOT_MM - 0.5) ** 2 - half**2, 9.0))
    sides = [middle + sign * off * across for sign in (1.0, -1.0)]
    radii = np.full(2, ROOT_MM)
    return min(sides, key=lambda c: Pipe(np.stack([c - 20.0 * RISE, c + 20.0 * RISE]), radii).meets(points, 0.0))
