"""Fine vessels that no table names: where branches end they fork on, and along their way they give off twigs.

A fork's daughters leave at the angles of least work for their calibres (Murray 1926; Zamir 1978): the wide one hardly
turns, the fine one turns far. A vessel turns the more the finer it is, and a twig ends where it meets another vessel,
as vessels of one layer do not cross.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from lesionforge.generators.cine.vessels import STEP_MM, Floats
from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.tree.heart import Heart

FINEST_MM: Final = 0.15  # radius at which a vessel starts that is drawn at all: 1.5 px
END_MM: Final = 0.07  # radius at which the last ones end
_CLEAR_MM = 2.0  # kept from other vessels
_LEAVE_STEPS = 7  # a twig is still near its parent there
_CLOSING_STEPS = 30
_SHORTEST_STEPS = 10
_REACH_PER_RADIUS = 62.0  # length of a vessel with all that follows it, over its first radius


@dataclass(frozen=True)
class Stem:
    """One branch: ``points`` (n, 3) mm, ``radii`` (n,) mm, where it leaves (stem and point), SYNTAX name of each point.

    ``ends``: whether its last point is a free end.
    """

    points: Floats
    radii: Floats
    parent: int = -1
    origin: int = -1
    segments: tuple[str, ...] = ()
    ends: bool = True


def slope(radius: float, tortuosity: float) -> float:
    """Size of the turns, in radians, that a vessel of this radius (mm) makes about its course."""
    return tortuosity * 0.34 * min(max((1.75 - radius) / 1.2, 0.08), 1.0)


def sprout(rng: np.random.Generator, heart: Heart, stems: list[Stem], tortuosity: float, richness: float) -> list[Stem]:
    """The stems, and after them their twigs, each after its parent.

    Args:
        rng: draws them.
        heart: about whose centre the stems lie; twigs keep the depth at which they start.
        stems: parents first.
        tortuosity, richness: of the subject, 1 on average.
    """
    out, queue = list(stems), deque(range(len(stems)))
    taken = np.empty((60_000, 3))
    filled = 0
    for stem in stems:
        filled = _take(taken, filled, stem.points)
    while queue and filled < len(taken) - 1000:
        number, going = queue.popleft(), False
        for origin, radius, angle in _buds(rng, out[number], richness):
            twig = _twig(rng, heart, out[number], origin, radius, angle, tortuosity, taken[:filled])
            if twig is not None:
                filled = _take(taken, filled, twig.points)
                queue.append(len(out))
                out.append(replace(twig, parent=number))
                going |= origin == len(out[number].radii) - 1
        if out[number].ends and not going:
            out[number] = replace(out[number], radii=_closing(out[number].radii))
    return out


def _closing(radii: Floats) -> Floats:
    """Radii (n,) that end as fine as the last vessels do: of one that finds no room to fork on."""
    count = min(_CLOSING_STEPS, len(radii) - 1)
    out = radii.copy()
    share = np.arange(1, count + 1) / count
    out[-count:] += (END_MM - radii[-1]) * share * share
    return np.maximum(out, END_MM)


def _take(taken: Floats, filled: int, points: Floats) -> int:
    own = points[::3]
    taken[filled : filled + len(own)] = own
    return filled + len(own)


def _buds(rng: np.random.Generator, stem: Stem, richness: float) -> list[tuple[int, float, float]]:
    """Point, first radius (mm) and angle (radians, signed) of each vessel that leaves a stem."""
    out: list[tuple[int, float, float]] = []
    last = len(stem.radii) - 1
    hand = 1.0 if rng.random() < 0.5 else -1.0
    if stem.ends and stem.radii[last] > 1.25 * FINEST_MM:
        radius = float(stem.radii[last])
        share = rng.uniform(0.5, 0.8)  # of the flow, that is of the cubed radius
        wide, fine = radius * share ** (1 / 3), radius * (1 - share) ** (1 / 3)
        out.append((last, wide, hand * _angle(radius, wide, fine) * rng.uniform(0.6, 1.1)))
        out.append((last, fine, -hand * _angle(radius, fine, wide) * rng.uniform(0.6, 1.1)))
    at = rng.uniform(0.4, 1.2) * _spacing(float(stem.radii[0]), richness)
    while at < last - 4:
        here = float(stem.radii[int(at)])
        radius = min(rng.uniform(0.32, 0.72) * here, rng.uniform(0.17, 0.5))
        if radius >= FINEST_MM:
            out.append((int(at), radius, hand * math.radians(rng.uniform(40.0, 80.0))))
        hand = -hand if rng.random() < 0.75 else hand
        at += rng.uniform(0.45, 1.55) * _spacing(here, richness)
    return out


def _spacing(radius: float, richness: float) -> float:
    """Mean number of steps from one twig to the next."""
    return (6.0 + 6.0 * min(radius, 1.6)) / (richness * STEP_MM)


def _angle(parent: float, own: float, other: float) -> float:
    """Angle in radians between a daughter and its parent that needs least work (Zamir 1978)."""
    cosine = (parent**4 + own**4 - other**4) / (2 * parent**2 * own**2)
    return math.acos(min(max(cosine, -0.2), 0.99))


def _twig(
    rng: np.random.Generator, heart: Heart, stem: Stem, origin: int, radius: float, angle: float, tortuosity: float,
    taken: Floats,
) -> Stem | None:  # fmt: skip
    """One vessel off a stem as far as there is room, or none."""
    whole = _REACH_PER_RADIUS * radius * math.exp(min(max(float(rng.normal(0.0, 0.35)), -0.7), 0.7))
    forks = radius > 1.3 * FINEST_MM and rng.random() < 0.75
    length = whole * (rng.uniform(0.3, 0.6) if forks else 1.0)
    before = max(origin - 4, 0)
    here = stem.points[origin]
    ahead = here - stem.points[before] if origin > before else stem.points[min(4, len(stem.points) - 1)] - here
    swing = slope(radius, tortuosity) * rng.uniform(0.6, 1.4, 2)
    waves = np.array(
        [[rng.uniform(5.0, 10.0), rng.random(), swing[0]], [rng.uniform(12.0, 26.0), rng.random(), swing[1]]]
    )
    count = max(round(length / STEP_MM), _SHORTEST_STEPS) + 1
    axes, semi = heart.frame
    depth = float(heart.depth(here[None])[0])
    straighten = -angle * rng.uniform(0.2, 0.8)
    points = np.empty((count, 3))
    for turn in (angle, -angle):
        side = 1.0 if turn == angle else -1.0
        room = _walk(here, ahead, turn, side * straighten, waves, axes, semi, depth, taken, points)
        if room >= _SHORTEST_STEPS:
            break
    else:
        return None
    forks = forks and room == count
    end = radius * rng.uniform(0.75, 0.9) if forks else END_MM
    share = np.arange(room) / (room - 1)
    radii = radius + (end - radius) * (share if forks else share * share)
    return Stem(points[:room], radii, -1, origin, ends=forks)


@jit
def _walk(
    here: Floats, ahead: Floats, angle: float, straighten: float, waves: Floats, axes: Floats, semi: Floats,
    depth: float, taken: Floats, out: Floats,
) -> int:  # fmt: skip
    """Course (n, 3) of a vessel on the heart at one depth; how many of its points keep clear of the others.

    It turns by ``angle`` off ``ahead``, then back by ``straighten``, and sways: waves (k, 3) of length in mm, phase
    (0..1) and size in radians.
    """
    p, d, near = here.copy(), ahead.copy(), np.empty(3)
    before = 0.0
    for n in range(len(out)):
        out[n, 0], out[n, 1], out[n, 2] = p[0], p[1], p[2]
        if n >= _LEAVE_STEPS:
            for m in range(len(taken)):
                x, y, z = p[0] - taken[m, 0], p[1] - taken[m, 1], p[2] - taken[m, 2]
                if x * x + y * y + z * z < _CLEAR_MM * _CLEAR_MM:
                    return n - 1
        # the outward normal, and how far the point is from the surface along its ray
        rho = 0.0
        near[:] = 0.0
        for k in range(3):
            own = p[0] * axes[k, 0] + p[1] * axes[k, 1] + p[2] * axes[k, 2]
            edge = semi[0, k] if own >= 0.0 else semi[1, k]
            rho += own / edge * (own / edge)
            for c in range(3):
                near[c] += own / edge / edge * axes[k, c]
        size = math.sqrt(near[0] * near[0] + near[1] * near[1] + near[2] * near[2])
        near /= size
        along = STEP_MM * n
        heading = angle + straighten * (1.0 - math.exp(-along / 5.0))
        rise = min(along / 3.0, 1.0)
        for k in range(len(waves)):
            heading += rise * waves[k, 2] * math.sin(2.0 * math.pi * (along / waves[k, 0] + waves[k, 1]))
        turn = heading - before
        before = heading
        inward = d[0] * near[0] + d[1] * near[1] + d[2] * near[2]
        d -= inward * near
        d /= math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
        cosine, sine = math.cos(turn), math.sin(turn)
        u = cosine * d[0] + sine * (near[1] * d[2] - near[2] * d[1])
        v = cosine * d[1] + sine * (near[2] * d[0] - near[0] * d[2])
        w = cosine * d[2] + sine * (near[0] * d[1] - near[1] * d[0])
        d[0], d[1], d[2] = u, v, w
        p += STEP_MM * d
        # back to its depth
        rho = 0.0
        for k in range(3):
            own = p[0] * axes[k, 0] + p[1] * axes[k, 1] + p[2] * axes[k, 2]
            edge = semi[0, k] if own >= 0.0 else semi[1, k]
            rho += own / edge * (own / edge)
        far = math.sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2])
        p *= 1.0 / math.sqrt(rho) - depth / far
    return len(out)
