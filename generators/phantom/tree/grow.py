"""Growing a tree: the table's vessels and their twigs, breadth first, keeping clear of one another."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.tree.calibre import MIN_RADIUS_MM, reach, snap, taper
from lesionforge.generators.phantom.tree.curve import STEP_MM, course, tangent
from lesionforge.generators.phantom.tree.heart import Floats, Heart
from lesionforge.generators.phantom.tree.limbs import Limb, limbs, root_diameter_mm
from lesionforge.generators.types import Branch, Side

TAKE_OFF = (30.0, 75.0)  # degrees between a side branch and its parent at the origin
TRUNK_TAPER = 0.96  # end over start radius of a trunk, side branches apart
_CLEAR_MM = 2.8  # centreline distance kept from other vessels, but for the first stretch of a branch
_CROWDED_MM = 2.0  # a named branch with less than this, at its best try, is left out
_FIRST_MM = 6.0
_TRIES = 6


@dataclass(frozen=True)
class _Shoot:
    """A branch with its course, waiting for its radii and its side branches."""

    limb: Limb
    points: Floats
    parent: int
    index: int  # on the parent's centreline
    ratio: float
    level: int  # 0 root, 1 trunk, ...
    start_mm: float = 0.0  # first radius


def grow(rng: np.random.Generator, heart: Heart, side: Side) -> tuple[Branch, ...]:
    """The healthy branches of one tree, a parent always before its children."""
    table = limbs(side, heart.dominance, heart.superdominant)
    mean = 0.5 * root_diameter_mm(side, heart.dominance) * heart.calibre
    if side == "right":
        mean *= heart.right_calibre
    start = snap(mean * (1.0 + 0.05 * min(max(float(rng.standard_normal()), -2.0), 2.0)))
    root = _Shoot(table[0], _root(rng, heart, table[0]), -1, -1, 1.0, 0, start)
    queue, branches, taken = deque([root]), list[Branch](), [root.points[::2]]
    while queue:
        shoot = queue.popleft()
        shoots = _named(rng, heart, table, shoot, len(branches), taken)
        shoots += _twigs(rng, heart, shoot, len(branches), taken, [s.index for s in shoots])
        radii, kept = _calibre(rng, shoot, shoots)
        names = {s.limb.name: s.index for s in kept}
        branches.append(
            Branch(shoot.limb.name, shoot.points, radii, _segments(shoot, names), shoot.parent),
        )
        queue.extend(kept)
        taken.extend(s.points[::2] for s in kept)
    return tuple(branches)


def _root(rng: np.random.Generator, heart: Heart, limb: Limb) -> Floats:
    way = heart.at(_jitter(rng, limb))
    if limb.length_mm is not None:
        low, high = limb.length_mm
        length = min(max(0.5 * (low + high) + 0.25 * (high - low) * float(rng.standard_normal()), low), high)
        leg = way[0] - way[-1]
        way = np.stack([way[-1] + length * leg / _far(leg), way[-1]])
    slow, fast = (heart.root_tortuosity * amplitude for amplitude in limb.wander)
    return course(rng, heart, way, wander=slow, wiggle=fast, free=False)


def _jitter(rng: np.random.Generator, limb: Limb) -> list[tuple[float, float, float]]:
    """The way points of one subject: the whole vessel shifted, then each point a little."""
    shift = rng.normal(0.0, 2.5, 2)
    own = rng.normal(0.0, 1.2, (len(limb.way), 2))
    stop = max(round(rng.uniform(*limb.cut) * len(limb.way)), min(2, len(limb.way)))
    return [
        (theta + shift[0] + own[k, 0], phi + shift[1] + own[k, 1], depth)
        for k, (theta, phi, depth) in enumerate(limb.way[:stop])
    ]


def _named(
    rng: np.random.Generator, heart: Heart, table: tuple[Limb, ...], shoot: _Shoot, number: int, taken: list[Floats]
) -> list[_Shoot]:
    """The table's side branches and terminal branches of one vessel."""
    out: list[_Shoot] = []
    last = len(shoot.points) - 1
    for limb in table:
        if limb.parent != shoot.limb.name or rng.random() >= limb.chance:
            continue
        index = round(rng.uniform(*limb.start) * last)
        while index < last and any(abs(index - s.index) < _gap(shoot) for s in out):
            index += 1
        others = taken + [s.points[::2] for s in out]
        best, room = None, -1.0
        for _ in range(_TRIES):
            turn = 0.0
            if limb.lead is not None:
                turn = heart.clock(shoot.points[index]) + limb.lead - limb.way[0][1]
            way = heart.at([(theta, phi + turn, depth) for theta, phi, depth in _jitter(rng, limb)])
            points = _branch_off(rng, heart, shoot, index, way, limb)
            clear = _clearance(points, others)
            if clear > room:
                best, room = points, clear
            if room >= _CLEAR_MM:
                break
        if best is not None and (room >= _CROWDED_MM or limb.start[1] >= 1.0):
            out.append(_Shoot(limb, best, number, index, rng.uniform(*limb.ratio), shoot.level + 1))
    return out


def _twigs(
    rng: np.random.Generator, heart: Heart, shoot: _Shoot, number: int, taken: list[Floats], busy: list[int]
) -> list[_Shoot]:
    """Unnamed side branches, alternating sides along the vessel, where there is room for them."""
    out: list[_Shoot] = []
    spacing = shoot.limb.twigs_mm / heart.twigs
    if spacing <= 0.0:
        return out
    total = STEP_MM * (len(shoot.points) - 1)
    hand = 1.0 if rng.random() < 0.5 else -1.0
    at = rng.uniform(0.5, 1.1) * spacing
    while at < 0.88 * total:
        index = round(at / STEP_MM)
        length = rng.uniform(0.7, 1.6) * (16.0 if shoot.level <= 1 else 12.0) * min(1.0, 1.6 - at / total)
        at += rng.uniform(0.6, 1.3) * spacing
        hand = -hand if rng.random() < 0.8 else hand
        limb = Limb(
            f"{shoot.limb.name}.{len(out) + 1}", shoot.limb.name, (), ratio=(0.5, 0.72), power=1.0,
            wander=(0.7, 1.1), free=shoot.limb.free, twigs_mm=11.0 if shoot.level == 2 else 0.0,
        )  # fmt: skip
        if any(abs(index - b) < _gap(shoot) for b in busy):
            continue
        angle = math.radians(rng.uniform(35.0, 65.0))
        ahead = tangent(shoot.points, index)
        (a, b, c), (u, v, w) = heart.normal(shoot.points[index : index + 1])[0].tolist(), ahead.tolist()
        aside = hand * np.array([b * w - c * v, c * u - a * w, a * v - b * u])
        go = math.cos(angle) * ahead + math.sin(angle) * aside
        bend = go + rng.uniform(0.1, 0.7) * ahead
        bend /= _far(bend)
        here = shoot.points[index]
        way = np.stack([here, here + 0.4 * length * go, here + 0.4 * length * go + 0.6 * length * bend])
        points = _lay(rng, heart, way, limb)
        if _clearance(points, taken + [s.points[::2] for s in out]) >= _CLEAR_MM:
            out.append(_Shoot(limb, points, number, index, rng.uniform(*limb.ratio), shoot.level + 1))
    return out


def _gap(shoot: _Shoot) -> int:
    """Least number of points between two side branches: Murray's law needs one parent diameter (calibre)."""
    return reach(shoot.start_mm) + 3


def _branch_off(rng: np.random.Generator, heart: Heart, shoot: _Shoot, index: int, way: Floats, limb: Limb) -> Floats:
    """Course of a side branch: it leaves at a natural angle towards its first way point."""
    here = shoot.points[index]
    ahead = tangent(shoot.points, index)
    goal = way[0] - here
    far = _far(goal)
    aside = goal - float((goal * ahead).sum()) * ahead
    wide = _far(aside)
    angle = math.degrees(math.atan2(wide, float((goal * ahead).sum())))
    angle = math.radians(min(max(angle, TAKE_OFF[0]), TAKE_OFF[1]))
    go = math.cos(angle) * ahead + math.sin(angle) * aside / max(wide, 1e-6)
    first = here + min(0.4 * far, 5.0) * go
    # the origin varies: pass over way points that would turn the vessel back
    while len(way) > 1 and (_far(way[0] - first) < 6.0 or float(((way[0] - first) * (way[1] - way[0])).sum()) < 0.0):
        way = way[1:]
    return _lay(rng, heart, np.concatenate([np.stack([here, first]), way]), limb)


def _lay(rng: np.random.Generator, heart: Heart, way: Floats, limb: Limb) -> Floats:
    """Lay a course over the way points; those a table did not place keep the first one's depth."""
    if not limb.free:
        fade = np.zeros(len(way))
        fade[:2] = heart.depth(way[:1])[0] * np.array([1.0, 0.7])
        way = heart.onto(way, fade)
    more = heart.tortuosity
    points = course(rng, heart, way, wander=more * limb.wander[0], wiggle=more * limb.wander[1], free=limb.free)
    return points


def _far(v: Floats) -> float:
    """Length of one vector (3,)."""
    return math.sqrt(float((v * v).sum()))


def _clearance(points: Floats, others: list[Floats]) -> float:
    """Least distance in mm of a branch, its first stretch apart, from the vessels there are."""
    own = np.ascontiguousarray(points[int(_FIRST_MM / STEP_MM) :: 2])
    return math.inf if len(own) == 0 else math.sqrt(_nearest(own, np.concatenate(others)))


@jit
def _nearest(own: Floats, rest: Floats) -> float:
    """Least squared distance between two sets of points (n, 3)."""
    least = np.inf
    for n in range(len(own)):
        for m in range(len(rest)):
            x, y, z = own[n, 0] - rest[m, 0], own[n, 1] - rest[m, 1], own[n, 2] - rest[m, 2]
            least = min(least, x * x + y * y + z * z)
    return least


def _calibre(rng: np.random.Generator, shoot: _Shoot, shoots: list[_Shoot]) -> tuple[Floats, list[_Shoot]]:
    """Radii of a vessel and those of its branches that it is large enough to feed."""
    limb, count = shoot.limb, len(shoot.points)
    ends = [s for s in shoots if s.index == count - 1]
    kept: list[_Shoot] = []
    radius = shoot.start_mm
    # a limb that divides needs its end radius; one that does not tapers to a drawn one
    end = 0.0 if limb.end_mm is None else snap(rng.uniform(*limb.end_mm))
    for side in sorted((s for s in shoots if s.index < count - 1), key=lambda s: s.index):
        trial = [*kept, side]
        radii = _radii(limb, count, shoot.start_mm, end, trial)
        radius = float(radii[side.index])
        before = kept[-1].index if kept else 0
        close = side.index - before <= reach(shoot.start_mm) + 2 or count - side.index <= reach(radius) + 4
        thin = radius * side.ratio < MIN_RADIUS_MM + 0.02 or float(radii[-1]) < MIN_RADIUS_MM
        if not close and not thin:
            kept = trial
    radii = _radii(limb, count, shoot.start_mm, end, kept)
    kept = [replace(s, start_mm=snap(float(radii[s.index]) * s.ratio)) for s in kept]
    whole = sum(s.ratio for s in ends)
    kept += [replace(s, start_mm=snap(float(radii[-1]) * (s.ratio / whole) ** (1.0 / 3.0))) for s in ends]
    return radii, kept


def _radii(limb: Limb, count: int, start: float, end: float, sides: list[_Shoot]) -> Floats:
    ratios = [s.ratio for s in sides]
    if limb.end_mm is None:
        end = TRUNK_TAPER * start * math.prod((1.0 - q**3) ** (1.0 / 3.0) for q in ratios)
    return taper(count, start, end, limb.power, [s.index for s in sides], ratios)


def _segments(shoot: _Shoot, origins: dict[str, int]) -> tuple[str, ...]:
    """SYNTAX name of every point."""
    count = len(shoot.points)
    out: list[str] = []
    for name, upto in shoot.limb.segments:
        stop = origins.get(upto, count // 3) + 1 if isinstance(upto, str) else round(upto * count)
        out.extend([name] * (stop - len(out)))
    return tuple(out)
