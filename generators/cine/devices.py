"""What is in the picture besides vessels: catheter and guide wire, and what patients carry on and in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.cine.vessels import STEP_MM, Floats, Vessels

Kind = Literal["catheter", "wire", "lead", "cable", "electrode", "clip", "sternal wire"]
UP = np.array([-0.12, -0.12, 0.985])  # the ascending aorta's axis, LPS
ROOT_MM = (11.0, 16.0)  # radius of the aortic root
FRENCH_MM = (1.65, 2.1)  # outer diameter of catheters of 5 and 6 French
SHARES = {"wire": 0.12, "lead": 0.04, "cable": 0.08, "clip": 0.05, "sternal wire": 0.06}  # of runs
_GRID = 2.0**10  # per mm: what is finer is each CPU's own


@dataclass(frozen=True)
class Device:
    """One tube: m points (m, 3) LPS mm about the isocentre while the heart is at rest.

    Attributes:
        radii: (m,) mm.
        dense: absorbance (m,) per mm.
        hollow: share of the radius that is bore.
        anchor: the vessels' point (m,) each one goes with; -1 in what stands still.
        follow: how far (m,) it goes with it, 0 ... 1.
    """

    kind: Kind
    points: Floats
    radii: Floats
    dense: Floats
    hollow: float
    anchor: NDArray[np.int32]
    follow: Floats

    @property
    def moves(self) -> bool:
        """Whether it goes with the heart."""
        return bool(self.anchor[0] >= 0)


def draw_devices(rng: np.random.Generator, vessels: Vessels, points: Floats, view: View, most: float) -> list[Device]:
    """A catheter, the first, and sometimes more.

    Args:
        points: the vessels' points (n, 3) about the isocentre.
        most: factor on how often the others are there.
    """
    out = [catheter(rng, vessels.side, points)]
    makers: dict[str, Callable[[], list[Device]]] = {
        "wire": lambda: [_wire(rng, vessels, points)],
        "lead": lambda: [_lead(rng, points)],
        "cable": lambda: _cable(rng, view),
        "clip": lambda: _clips(rng),
        "sternal wire": lambda: _sternal(rng, view),
    }
    for kind, make in makers.items():
        if rng.random() < most * SHARES[kind]:
            out += make()
    return out


def catheter(rng: np.random.Generator, side: str, points: Floats) -> Device:
    """From the tip, a few mm in the ostium, to where it enters the aorta, by the groin or the right arm."""
    ostium = points[0]
    into = _unit(points[min(10, len(points) - 1)] - ostium)
    level = _unit(np.array([into[0], into[1], 0.0]) + 1e-9)
    root = float(rng.uniform(*ROOT_MM))
    centre = ostium - root * level
    wall = centre - root * float(rng.uniform(0.75, 1.0)) * level
    tip = float(rng.uniform(2.5, 6.0))
    sway = rng.normal(0, 2.5, (3, 3))
    way = [ostium + tip * into, ostium]
    shape = float(rng.random())
    if shape < 0.15:  # Amplatz: down into the cusp and up along the other wall
        way += [ostium - 6 * into - 5 * UP, centre - 9 * UP, wall + 4 * UP + sway[0]]
    elif side == "left" and shape < 0.75:  # Judkins left, or a guide that leans on the other wall
        low = float(rng.uniform(6, 26))
        way += [ostium - 5 * into + 1 * UP, centre + 0.35 * low * UP, wall + low * UP + 0.5 * sway[0]]
    elif side == "left":
        way += [ostium - 6 * into + 3 * UP, centre + 14 * UP + sway[0]]
    else:  # Judkins right: one bend, then up
        way += [ostium - 6 * into + 1 * UP, centre - 0.4 * root * level + 14 * UP + 0.6 * sway[0]]
    way += [wall + 32 * UP + 0.8 * sway[1], centre + 0.3 * (wall - centre) + 62 * UP + sway[2]]
    if rng.random() < 0.25:  # over the arch and down in front of the spine
        back = centre + np.array([18.0, 48.0, 68.0]) + 2 * sway[0]
        way += [centre + np.array([2.0, 12.0, 88.0]), back]
        lean, bow = rng.normal(0, 0.05, 2), rng.normal(0, 5.0, (6, 2))
        way += [back + np.array([*(40.0 * n * lean + bow[n - 1] + (0, 8)), -40.0 * n]) for n in range(1, 7)]
    else:  # from the right arm
        way += [centre + np.array([-14.0, -4.0, 96.0]), centre + np.array([-40.0, 0.0, 150.0]) + 4 * sway[0]]
    line = _course(np.stack(way), float(rng.uniform(3.0, 5.0)))
    radius = float(rng.uniform(*FRENCH_MM)) / 2
    along = STEP_MM * np.arange(len(line))
    follow = np.exp(-np.maximum(along - 10, 0) / 35.0)
    strength = float(rng.uniform(0.14, 0.38)) / (math.pi / 2 * radius)
    dense = np.full(len(line), strength)
    dense[: round(1.5 / STEP_MM)] *= float(rng.uniform(0.6, 1.3))  # a soft, or a marked tip
    return _moving(
        "catheter", line, radius, dense, np.zeros(len(line), np.int32), follow, float(rng.uniform(0.7, 0.86))
    )


def _wire(rng: np.random.Generator, vessels: Vessels, points: Floats) -> Device:
    """A guide wire of .36 mm from the ostium into a far named place, its last 3 cm denser."""
    far = np.flatnonzero((vessels.segment >= 0) & (vessels.healthy > 0.5))
    order = far[np.argsort(vessels.along[far], kind="stable")]
    at = int(order[int(rng.uniform(0.6, 1.0) * (len(order) - 1))])
    way = [at]
    while vessels.parent[way[-1]] >= 0:
        way.append(int(vessels.parent[way[-1]]))
    anchor = np.array(way[::-1], np.int32)
    off = scipy.ndimage.gaussian_filter1d(rng.standard_normal((len(anchor), 3)), 14, axis=0, mode="nearest")
    off *= 5.0 * 0.45 * vessels.radii[anchor][:, None]
    far = np.sqrt((off * off).sum(1))
    off *= np.minimum(1.0, 0.75 * vessels.radii[anchor] / np.maximum(far, 1e-9))[:, None]  # it stays in the lumen
    dense = np.full(len(anchor), float(rng.uniform(0.35, 0.7)))
    dense[-round(30 / STEP_MM) :] *= float(rng.uniform(1.3, 2.2))
    return _moving("wire", _rounded(points[anchor] + off), 0.18, dense, anchor, np.ones(len(anchor)))


def _lead(rng: np.random.Generator, points: Floats) -> Device:
    """A pacemaker's lead: down the superior vena cava, through the right heart to the right ventricle's apex."""
    low, high = points.min(0), points.max(0)
    tip = np.array([high[0] - 12.0, low[1] + 22.0, low[2] + 4.0]) + rng.normal(0, 5, 3)
    cava = np.array([low[0] - 4.0, float(points[:, 1].mean()) + 10.0, high[2] + 20.0]) + rng.normal(0, 4, 3)
    bend = np.array([low[0] + 2.0, cava[1] - 8.0, low[2] + 14.0]) + rng.normal(0, 4, 3)
    way = np.stack(
        [tip, 0.5 * (tip + bend) + np.array([0.0, 0.0, -5.0]), bend, cava, cava + np.array([4.0, -6.0, 120.0])]
    )
    line = _course(way, 7.0)
    along = STEP_MM * np.arange(len(line))
    some = slice(0, len(points), 7)
    gaps = ((line[:, None] - points[None, some]) ** 2).sum(2)
    anchor = (7 * np.argmin(gaps, axis=1)).astype(np.int32)
    anchor[:] = anchor[0]  # one piece moves as one: neighbours with different anchors would tear it
    dense = np.full(len(line), float(rng.uniform(0.06, 0.12)))
    dense[(along < 2.5) | ((along > 12) & (along < 16))] *= 3.5  # tip and ring
    return _moving("lead", line, 0.95, dense, anchor, 0.8 * np.exp(-along / 60.0))


def _cable(rng: np.random.Generator, view: View) -> list[Device]:
    """An ECG cable across the chest, and its electrode: a snap within a ring."""
    u, v, d = view.axes
    half = view.rows / 2 * view.pixel_mm[0] / view.magnification
    edge = float(rng.uniform(-1, 1))
    start = half * (edge * u + (1.2 if rng.random() < 0.5 else -1.2) * v) + 60 * d
    end = (
        half * (float(rng.uniform(0.45, 0.95)) * np.sign(edge + 1e-9) * u + float(rng.uniform(-0.9, 0.9)) * v) + 60 * d
    )
    middle = 0.5 * (start + end) + half * 0.25 * (float(rng.normal()) * u + float(rng.normal()) * v)
    line = _course(np.stack([end, middle, start]), 12.0)
    cable = _still("cable", line, 0.75, float(rng.uniform(0.04, 0.1)))
    turn = np.linspace(0, 2 * math.pi, 40)[:, None]
    squeeze = float(rng.uniform(0.4, 1))
    across = _unit(u + float(rng.normal(0, 0.5)) * v)
    other = squeeze * (v - float((v * across).sum()) * across)
    rings = [end + r * (np.cos(turn) * across + np.sin(turn) * other) for r in (1.5, float(rng.uniform(2.5, 4.5)))]
    return [cable, *(_still("electrode", _rounded(ring), 0.6, float(rng.uniform(0.12, 0.4))) for ring in rings)]


def _clips(rng: np.random.Generator) -> list[Device]:
    """Clips on a bypass graft: a row of short bars."""
    start, step = rng.normal((20, -45, 25), 12, 3), rng.normal((5, 1, -9), 4, 3)
    out = []
    for n in range(int(rng.integers(3, 8))):
        place, along = start + n * step + rng.normal(0, 3, 3), _unit(rng.standard_normal(3))
        bar = place + np.linspace(-2.5, 2.5, 6)[:, None] * along
        out.append(_still("clip", _rounded(bar), 0.5, float(rng.uniform(0.7, 1.1))))
    return out


def _sternal(rng: np.random.Generator, view: View) -> list[Device]:
    """Wires around the sternum, each twisted to a knot."""
    top, gap = float(rng.uniform(50, 80)), float(rng.uniform(22, 28))
    x, y = float(rng.normal(-8, 6)), float(rng.uniform(-100, -80))
    turn = np.linspace(0, 2 * math.pi, 44)
    out = []
    for n in range(6):
        tilt = float(rng.normal(0, 0.25))
        wide, high = float(rng.uniform(6, 10)), float(rng.uniform(2, 7))
        ring = np.stack(
            [x + wide * np.sin(turn), y + 5 * np.cos(turn), top - n * gap + high * np.sin(turn + tilt + 0.6)], 1
        )
        knot = ring[:1] + np.linspace(0, 1, 8)[:, None] * rng.normal((0, -2, -2), 2, 3)
        out.append(
            _still("sternal wire", _rounded(np.concatenate([knot[::-1], ring])), 0.35, float(rng.uniform(0.3, 0.7)))
        )
    return out


def _moving(
    kind: Kind,
    points: Floats,
    radius: float,
    dense: Floats,
    anchor: NDArray[np.int32],
    follow: Floats,
    hollow: float = 0.0,
) -> Device:
    return Device(kind, points, np.full(len(points), radius), dense, hollow, anchor, follow)


def _still(kind: Kind, points: Floats, radius: float, dense: float) -> Device:
    count = len(points)
    nothing = np.full(count, -1, np.int32)
    return Device(kind, points, np.full(count, radius), np.full(count, dense), 0.0, nothing, np.zeros(count))


def _course(way: Floats, smooth_mm: float) -> Floats:
    """A smooth line through the neighbourhood of way points (k, 3), every ``STEP_MM``."""
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(way, axis=0) ** 2).sum(1)))])
    along = np.arange(0, knots[-1], STEP_MM)
    line = np.stack([np.interp(along, knots, way[:, k]) for k in range(3)], axis=1)
    return _rounded(scipy.ndimage.gaussian_filter1d(line, smooth_mm / STEP_MM, axis=0, mode="nearest"))


def _rounded(points: Floats) -> Floats:
    out: Floats = np.rint(points * _GRID) / _GRID
    return out


def _unit(v: Floats | Sequence[float]) -> Floats:
    w = np.asarray(v, np.float64)
    out: Floats = w / max(math.sqrt(float((w * w).sum())), 1e-9)
    return out
