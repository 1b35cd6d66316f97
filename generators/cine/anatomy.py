"""The vessels of a tree at rest, as fine as an angiogram shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lesionforge.generators.cine.centreline import heart_about, stems_of_voxels
from lesionforge.generators.cine.twigs import Stem, slope, sprout
from lesionforge.generators.cine.vessels import ARTERIES, STEP_MM, Floats, Vessels
from lesionforge.generators.kernels import jit
from lesionforge.generators.phantom.tree.calibre import RADIUS_GRID_MM, bifurcations
from lesionforge.generators.phantom.tree.curve import GRID_MM
from lesionforge.generators.phantom.tree.grow import grow
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import Branch, CoronaryTree, stream

WIDEST_MM: Final = 2.9  # radius at an ostium
#: SYNTAX segments of the names that ImageCAS-X gives.
SYNTAX: Final = {
    "LM": "5", "LCx": "LCX", "D1": "9", "D2": "10", "OM1": "12a", "OM2": "12b", "IM": "12",
    "R-PDA": "4", "R-PLA": "16", "L-PDA": "15", "L-PLA": "14a",
}  # fmt: skip


def vessels_of(tree: CoronaryTree, rng: np.random.Generator) -> Vessels:
    """The vessels of a case at end-diastole, as fine as an angiogram shows them, without lesions.

    Args:
        tree: a phantom stands for its subject's heart, and every vessel that grows on it is drawn (a label shows only
            some of them); of other trees the branches are taken, or the centrelines of the voxels where there are none.
            Vessels that grew too fine for a CT are drawn.
        rng: draws these, and how tortuous and how rich in twigs the subject's vessels are.

    Raises:
        BadCase: voxels without a vessel.
    """
    if "seed" in tree.notes:
        heart, stems = _phantom(tree)
        centre = np.zeros(3)
    else:
        stems = _told(tree) if tree.branches else stems_of_voxels(tree)
        heart, centre = heart_about(stems)
        stems = [replace(s, points=s.points - centre) for s in stems]
    tortuosity = math.exp(0.45 * min(max(float(rng.standard_normal()), -1.5), 1.4))
    richness = math.exp(0.3 * min(max(float(rng.standard_normal()), -2.0), 2.0))
    stems = _wound(rng, heart, stems, tortuosity)
    stems = sprout(rng, heart, stems, tortuosity, richness)
    return _joined(stems, tree, heart.dominance, centre)


def _phantom(tree: CoronaryTree) -> tuple[Heart, list[Stem]]:
    """The subject's heart with every vessel that grows on it; a label shows only some of them."""
    key = bytes.fromhex(tree.notes["seed"])
    heart = Heart.draw(stream(key, "phantom/heart")).varied(stream(key, "phantom/variety"))
    stems = stems_of(grow(stream(key, f"phantom/{tree.side}"), heart, tree.side))
    wide = max(float(stems[0].radii[0]) / WIDEST_MM, 1.0)
    return heart, [replace(s, radii=s.radii / wide) for s in stems]


def _told(tree: CoronaryTree) -> list[Stem]:
    """The branches of a set of centrelines, evenly spaced, their segments by SYNTAX names."""
    branches = []
    for branch in tree.branches:
        gaps = np.sqrt((np.diff(branch.points, axis=0) ** 2).sum(axis=1))
        along = np.concatenate([[0.0], np.cumsum(gaps)])
        steps = np.linspace(0.0, along[-1], max(round(along[-1] / STEP_MM), 2) + 1)
        points = np.stack([np.interp(steps, along, branch.points[:, k]) for k in range(3)], axis=1)
        nearest = np.searchsorted(along, steps - 1e-9).tolist()
        names = tuple(SYNTAX.get(branch.segments[n], branch.segments[n]) for n in nearest)
        names = tuple(name if name in ARTERIES else "" for name in names)
        branches.append(Branch(branch.name, points, np.interp(steps, along, branch.radii), names, branch.parent))
    return stems_of(branches)


def stems_of(branches: Sequence[Branch]) -> list[Stem]:
    """Branches with the point of the parent at which each leaves."""
    out = [Stem(b.points, b.radii, b.parent, -1, b.segments) for b in branches]
    for fork in bifurcations(branches):
        for child in fork.children:
            out[child] = replace(out[child], origin=fork.index)
        if fork.distal is None:
            out[fork.parent] = replace(out[fork.parent], ends=False)
    return out


def _wound(rng: np.random.Generator, heart: Heart, stems: list[Stem], tortuosity: float) -> list[Stem]:
    """The stems with turns that grow as they grow finer; what leaves a vessel moves with it."""
    out: list[Stem] = []
    for stem in stems:
        start = np.zeros(3)
        if stem.parent >= 0:
            start = out[stem.parent].points[stem.origin] - stems[stem.parent].points[stem.origin]
        size = np.array([slope(r, tortuosity) for r in stem.radii.tolist()])
        waves = np.column_stack([rng.uniform([5.0, 9.0, 6.0], [9.0, 20.0, 14.0]), rng.random(3), [0.5, 0.7, 0.4]])
        points = np.empty_like(stem.points)
        _wind(stem.points, heart.normal(stem.points), size, waves, start, points)
        out.append(replace(stem, points=points))
    return out


@jit
def _wind(points: Floats, normal: Floats, size: Floats, waves: Floats, start: Floats, out: Floats) -> None:
    """Points (n, 3) moved by ``start``, and swaying: waves (3, 3) of length in mm, phase and share of ``size`` (n,).

    The first two sway along the surface, the third across it.
    """
    last = len(points) - 1
    for n in range(last + 1):
        a, b = max(n - 2, 0), min(n + 2, last)
        t = points[b] - points[a]
        t /= math.sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2])
        along = 0.5 * n
        rise = min(along / 8.0, 1.0)
        rise *= rise * (3.0 - 2.0 * rise)
        shift = np.zeros(3)
        for k in range(3):
            wave = waves[k, 0] / (2.0 * math.pi)
            shift[k] = rise * size[n] * waves[k, 2] * wave * math.sin(along / wave + 2.0 * math.pi * waves[k, 1])
        aside = shift[0] + shift[1]
        u = normal[n]
        out[n, 0] = points[n, 0] + start[0] + aside * (u[1] * t[2] - u[2] * t[1]) + shift[2] * u[0]
        out[n, 1] = points[n, 1] + start[1] + aside * (u[2] * t[0] - u[0] * t[2]) + shift[2] * u[1]
        out[n, 2] = points[n, 2] + start[2] + aside * (u[0] * t[1] - u[1] * t[0]) + shift[2] * u[2]


def _joined(stems: Sequence[Stem], tree: CoronaryTree, dominance: str, centre: Floats) -> Vessels:
    """All stems one after the other, back from about the heart's centre (3,)."""
    counts = [len(s.radii) for s in stems]
    first = np.concatenate([[0], np.cumsum(counts)])
    parent = np.arange(-1, first[-1] - 1)
    parent[first[:-1]] = [-1 if s.parent < 0 else first[s.parent] + s.origin for s in stems]
    radii = np.concatenate([s.radii for s in stems])
    names = tuple(sorted({name for s in stems for name in s.segments if name}))
    place = {name: n for n, name in enumerate(names)} | {"": -1}
    segment = [place[name] for s in stems for name in s.segments or ("",) * len(s.radii)]
    fade = np.clip((radii - 0.05) / 0.4, 0.0, 1.0) ** 0.7
    return Vessels(
        points=np.rint((np.concatenate([s.points for s in stems]) + centre) / GRID_MM) * GRID_MM,
        radii=(radii := np.rint(radii / RADIUS_GRID_MM) * RADIUS_GRID_MM),
        healthy=radii,
        branch=np.repeat(np.arange(len(stems), dtype=np.int32), counts),
        parent=parent.astype(np.int32),
        fade=(np.rint(fade * 4096) / 4096).astype(np.float32),
        segment=np.array(segment, np.int16),
        names=names,
        side=tree.side,
        dominance=dominance,
    )
