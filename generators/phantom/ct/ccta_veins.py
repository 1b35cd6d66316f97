"""Veins of a CCTA phantom: those of the heart in its grooves, those of the lungs, the lower vena cava."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.generators.phantom.ct.canvas import Canvas, Floats
from lesionforge.generators.phantom.ct.ccta_heart import FAT, Blood, world
from lesionforge.generators.phantom.ct.vessels import capsules, filled
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import stream

Stop = tuple[float, float, float, float]  # theta and phi in degrees, depth and radius in mm (``Heart.at``)

# From the twigs to the coronary sinus, deeper in the grooves than the arteries and beside them.
GREAT: tuple[Stop, ...] = (
    (38.0, 2.0, 2.2, 0.9), (65.0, -1.0, 3.2, 1.3), (92.0, -4.0, 4.2, 1.6), (106.0, 12.0, 5.2, 1.9),
    (109.0, 55.0, 5.6, 2.3), (109.0, 100.0, 5.8, 3.0), (109.0, 140.0, 6.0, 4.2), (109.0, 175.0, 6.4, 5.2),
    (114.0, 196.0, 8.0, 5.6), (122.0, 214.0, 12.0, 5.4),
)  # fmt: skip
MIDDLE: tuple[Stop, ...] = (
    (45.0, 192.0, 2.2, 0.9), (75.0, 194.0, 3.2, 1.4), (98.0, 192.0, 5.0, 2.0), (108.0, 184.0, 6.4, 2.4),
)  # fmt: skip
LATERAL: tuple[Stop, ...] = (
    (52.0, 118.0, 1.0, 0.8), (78.0, 124.0, 1.8, 1.1), (98.0, 130.0, 3.6, 1.5), (108.0, 136.0, 5.8, 1.7),
)  # fmt: skip
BED_MM = 5.0  # of fat about the large veins
STEP_MM = 3.0  # between way points
SWAY_DEG = 2.0  # standard deviation of theta and phi, cut at two


@dataclass(frozen=True)
class CardiacVeins:
    """Coronary sinus, great, middle and lateral vein of one subject as ``capsules``, and the HU of their blood."""

    pieces: Floats
    hu: float

    @classmethod
    def of(cls, key: bytes, heart: Heart, blood: Blood) -> CardiacVeins:
        """In the grooves of a heart; the agent comes back through its muscle, thinner than in the arteries."""
        rng = stream(key, "phantom/ccta/veins")
        share = float(rng.uniform(0.25, 0.6))
        hu = blood.myocardium + share * (blood.left - blood.myocardium)
        return cls(capsules(_course(rng, heart, stops) for stops in (GREAT, MIDDLE, LATERAL)), hu)

    def paint(self, canvas: Canvas, names: dict[str, int]) -> None:
        """On the heart, before arteries and their fat; the sinus ends where the right atrium begins."""
        _open(canvas, self.pieces, self.hu, names["coronary_vein"], names["right_atrium"])


def _course(rng: np.random.Generator, heart: Heart, stops: Sequence[Stop]) -> tuple[Floats, Floats]:
    """Way points along the surface through stops, shifted a little from subject to subject."""
    table = np.array(stops)
    table[:, :2] += SWAY_DEG * np.clip(rng.standard_normal((len(table), 2)), -2.0, 2.0)
    rough = heart.at([(t, p, d) for t, p, d, _ in table.tolist()])
    gaps = np.sqrt(((rough[1:] - rough[:-1]) ** 2).sum(axis=1))
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    fine = np.linspace(0.0, along[-1], math.ceil(along[-1] / STEP_MM) + 1)
    theta, phi, depth, radii = (np.interp(fine, along, column) for column in table.T)
    return heart.at(list(zip(theta.tolist(), phi.tolist(), depth.tolist(), strict=True))), radii


@dataclass(frozen=True)
class InflowVeins:
    """The four pulmonary veins with their first branches, the inferior vena cava, and fat: all as ``capsules``."""

    pulmonary: Floats
    cava: Floats
    fat: Floats

    @classmethod
    def of(cls, key: bytes, heart: Heart) -> InflowVeins:
        """From the back corners of a heart's left atrium to the lungs, and from its right one to the liver."""
        rng = stream(key, "phantom/ccta/inflow")
        left, found = world(heart, (-38.0, 2.0, 16.0)), []
        for side, front, rise in ((-1.0, 0.0, 1.0), (-1.0, 2.0, -1.0), (1.0, -7.0, 1.3), (1.0, 3.0, -0.7)):
            sway = 3.0 * np.clip(rng.standard_normal((5, 3)), -2.0, 2.0)
            door = left + np.array([side * 9.0, 7.0, rise * 9.0])
            hilum = door + np.array([side * 14.0, 4.0 + front, rise * 4.0]) + 0.5 * sway[0]
            fork = hilum + np.array([side * 14.0, 1.0 + front - 3.0 * rise, rise * 6.0]) + sway[1]
            found.append((np.stack([door, hilum, fork]), np.array([7.5, 6.5, 5.2])))
            for twig, y, z in zip(sway[2:], (-16.0, 14.0, 2.0), (6.0, 14.0 * rise, 30.0 * rise), strict=True):
                middle = fork + np.array([side * 15.0, 0.4 * y, 0.4 * z]) + 0.5 * twig
                far = fork + np.array([side * 34.0, y, z]) + 2.0 * twig
                found.append((np.stack([fork, middle, far]), np.array([3.6, 2.7, 1.4])))
        right = world(heart, (-34.0, -12.0, -20.0))
        low = right + np.array([8.0, 4.0, -24.0])
        cava = np.stack([right, low, low + np.array([2.0, 12.0, -60.0])])
        low_flow = (cava, np.array([9.0, 10.5, 12.0]))
        fat = capsules((way, radii + BED_MM) for way, radii in (*found[::4], low_flow))
        return cls(capsules(found), capsules([low_flow]), fat)

    def bed(self, canvas: Canvas) -> None:
        """The fat that the large ones run in, painted before the heart."""
        _open(canvas, self.fat, FAT, 0)

    def paint(self, canvas: Canvas, blood: Blood, names: dict[str, int]) -> None:
        """On the heart but for the chambers that they open into."""
        _open(canvas, self.pulmonary, blood.left, names["pulmonary_vein"], names["left_atrium"])
        _open(canvas, self.cava, 0.5 * (blood.right + blood.myocardium), 0, names["right_atrium"])


def _open(canvas: Canvas, pieces: Floats, hu: float, label: int, chamber: int | None = None) -> None:
    """Lay capsules of one HU and label, but for where they lie in a chamber."""
    if near := filled(canvas, pieces):
        part, share = near
        if chamber is not None:
            share[part.labels == chamber] = 0.0
        part.blend(share, hu, label)
