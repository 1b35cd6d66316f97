"""The liver of an abdomen phantom: lobes with rounded borders, portal and hepatic veins that branch into it."""

from __future__ import annotations

import functools

import numpy as np

from lesionforge.generators.phantom.ct.abdomen_scene import AbdomenScene, Tissues
from lesionforge.generators.phantom.ct.canvas import Floats, Grained, blunt, ellipsoid
from lesionforge.generators.phantom.ct.vessels import filled
from lesionforge.generators.types import stream

CENTRE, SEMI = (-56.0, -10.0, 48.0), (104.0, 92.0, 112.0)
ROOT = (-24.0, 2.0, 86.0)  # of the hepatic veins, in the inferior vena cava
GATE = (-56.0, -12.0, 48.0)  # of the portal vein
Trunk = tuple[tuple[tuple[float, float, float], ...], tuple[float, ...]]
HEPATIC: tuple[Trunk, ...] = (
    ((ROOT, (-70.0, 4.0, 72.0), (-118.0, 10.0, 40.0)), (5.5, 4.2, 2.2)),
    ((ROOT, (-44.0, -24.0, 66.0), (-70.0, -60.0, 30.0)), (5.5, 4.2, 2.2)),
    ((ROOT, (-8.0, -22.0, 70.0), (10.0, -50.0, 44.0)), (5.5, 4.2, 2.0)),
)
PORTAL: tuple[Trunk, ...] = (
    ((GATE, (-84.0, -8.0, 44.0), (-112.0, 16.0, 16.0)), (6.0, 4.6, 2.4)),
    (((-78.0, -9.0, 45.0), (-92.0, -26.0, 66.0), (-104.0, -34.0, 100.0)), (4.6, 3.8, 2.2)),
    ((GATE, (-34.0, -30.0, 60.0), (-8.0, -46.0, 66.0), (14.0, -52.0, 56.0)), (5.0, 4.2, 3.4, 2.0)),
)
LEAST_MM = 0.55  # radius of the thinnest vessels
STEPS = 7  # forks one behind the other


def paint_liver(scene: AbdomenScene, hu: Tissues, names: dict[str, int]) -> None:
    """Right and left lobe under the diaphragm, a sharp lower edge, vessels, the gallbladder in its bed."""
    canvas, p = scene.canvas, scene.p
    whole = ellipsoid(p, CENTRE, SEMI)
    if canvas.meets(whole):
        below = (p[2] + 62.0 - 0.72 * (p[0] + 118.0) * (p[0] > -118.0) + 0.15 * p[1]) / 1.2
        # the hollow before the spine and the right kidney
        back = -blunt(0.75 * (p[0] + 40.0), p[1] - 26.0, 50.0)
        kidney = ellipsoid(p, (-60.0, 44.0, -16.0), (34.0, 34.0, 62.0))
        left = np.minimum(0.8 * (62.0 - p[0]), scene.cavity - 1.5)
        depth = blunt(blunt(blunt(whole, below, 8.0), blunt(back, -kidney, 20.0), 16.0), left, 6.0)
        if canvas.meets(depth):
            _lobes(scene, depth, hu, names)
    sac = ellipsoid(p, (-50.0, -46.0, -10.0), (14.0, 22.0, 20.0))
    canvas.paint(sac, 60.0, 0, -1.5)
    canvas.paint(sac, 6.0, names["gallbladder"])


def _lobes(scene: AbdomenScene, depth: Floats, hu: Tissues, names: dict[str, int]) -> None:
    canvas, p = scene.canvas, scene.p
    canvas.paint(depth, Grained(hu.liver, 2.5, scene.fine), names["liver"])
    cleft = np.minimum(1.6 - np.abs(p[0] - 2.0 + 0.2 * p[1]), np.minimum(-10.0 - p[1], 60.0 - p[2]))
    canvas.paint(np.minimum(depth, cleft), -70.0, 0)
    for pieces, value in zip(liver_vessels(canvas.key), (hu.veins - 8.0, hu.veins), strict=True):
        if near := filled(canvas, pieces):
            part, share = near
            part.blend(share * np.clip(0.5 * depth[part.at] - 1.0, 0.0, 1.0), value)


@functools.lru_cache(maxsize=4)  # every tile of a subject asks for it
def liver_vessels(key: bytes) -> tuple[Floats, Floats]:
    """Hepatic and portal veins of a subject as ``vessels.capsules`` (n, 8), the trunks first."""
    rng = stream(key, "phantom/abdomen/liver vessels")
    return _tree(rng, HEPATIC), _tree(rng, PORTAL)


def _tree(rng: np.random.Generator, trunks: tuple[Trunk, ...]) -> Floats:
    """Trunks, twigs along them and forks of forks, until they are as thin as ``LEAST_MM`` or leave the liver.

    At a fork r0^3 = r1^3 + r2^3 (Murray); the thinner child turns further off.
    """
    out, seeds = [], []
    for course, radii in trunks:
        points, wide = np.array(course), np.array(radii)
        points[1:] += 3.0 * np.clip(rng.standard_normal((len(points) - 1, 3)), -2.0, 2.0)
        out.append(np.column_stack([points[:-1], wide[:-1], points[1:], wide[1:]]))
        seeds.append(np.array([[*points[-1], *(points[-1] - points[-2]), wide[-1]]]))
        along, on = np.linspace(0.18, 0.95, 8) * (len(points) - 1), np.arange(len(points))
        places = np.column_stack([np.interp(along, on, q) for q in points.T])
        ahead = (points[1:] - points[:-1])[along.astype(np.int64)]
        aside = _unit(_across(ahead, rng.standard_normal(places.shape)))
        wide = np.interp(along, on, wide)
        seeds.append(np.column_stack([places, 0.6 * _unit(ahead) + aside, wide * rng.uniform(0.4, 0.62, len(wide))]))
    tips = np.concatenate(seeds)
    for _ in range(STEPS):
        start, way, wide = tips[:, :3], _unit(tips[:, 3:6]), tips[:, 6]
        end = start + way * (4.0 + 5.0 * wide * rng.uniform(0.7, 1.4, len(wide)))[:, None]
        out.append(np.column_stack([start, wide, end, 0.9 * wide]))
        aside = _unit(_across(way, rng.standard_normal(way.shape)))
        share = rng.uniform(0.2, 0.5, len(wide))  # of the flow, that the thinner child takes
        tips = np.concatenate(
            [
                np.column_stack([end, way + turn[:, None] * aside, 0.9 * wide * np.cbrt(flow)])
                for turn, flow in ((1.5 * (share - 1.0), share), (1.2 * share, 1.0 - share))
            ]
        )
        inside = ((tips[:, :3] - CENTRE) / SEMI) ** 2
        tips = tips[(inside.sum(axis=1) < 1.0) & (tips[:, 6] > LEAST_MM)]
    return np.concatenate(out)


def _across(way: Floats, other: Floats) -> Floats:
    """Vectors (n, 3) at right angles to both."""
    out: Floats = np.cross(way, other)
    return out


def _unit(vectors: Floats) -> Floats:
    out: Floats = vectors / np.sqrt((vectors * vectors).sum(axis=1))[:, None]
    return out
