"""Contrast on its way through a tree, and the pressure that lesions cost.

Blood runs at 150 to 300 mm/s in large coronary arteries and slower in small ones; behind a severe lesion it is slower
still, and behind an occlusion contrast comes late and thinned through collaterals, from the far end, or not at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.cine.vessels import ARTERIES, STEP_MM, Artery, Floats, Vessels
from lesionforge.generators.types import significant

#: Model of the pressure: blood's viscosity (Pa s) and density (kg/m^3), loss at the expansion behind a lesion
#: (Young & Tsai 1973 and Gould 1978 give 1 to 1.5), velocity at rest in a healthy artery (m/s), aortic pressure (Pa).
VISCOSITY: Final = 0.0035
DENSITY: Final = 1060.0
EXPANSION: Final = 1.0
REST_M_S: Final = 0.18
AORTIC_PA: Final = 12_000.0  # 90 mmHg

SLOWEST: Final = 0.15  # share of the pressure below which blood gets no slower
SPEED_MM_S: Final = (150.0, 300.0)
_WIDE_MM = 1.6  # radius from which on vessels run at full speed
_GRID_S = 2.0**-16
_CLOSED = 1e-6
_COLLATERAL = 0.6  # share of occlusions with collaterals


@dataclass(frozen=True)
class Flow:
    """When and how much contrast comes to each of n points.

    Attributes:
        arrival_s: float64 (n,), from the ostium.
        dispersion_s: float64 (n,), sd of the arrival: the front is the blunter the farther it went.
        reach: float32 (n,), 0..1 of the contrast that comes at all.
    """

    arrival_s: Floats
    dispersion_s: Floats
    reach: NDArray[np.float32]


def flow(vessels: Vessels, rng: np.random.Generator) -> Flow:
    """Arrival, dispersion and share of the contrast in a tree with its lesions."""
    speed = rng.uniform(*SPEED_MM_S) * np.sqrt(np.clip(vessels.healthy / _WIDE_MM, 0.08, 1.0))
    speed *= np.maximum(_pressure(vessels), SLOWEST) ** 0.6
    steps = vessels.along - vessels.along[np.maximum(vessels.parent, 0)]
    arrival = vessels.summed(steps / speed)
    dispersion = 0.1 + 0.22 * arrival
    reach = np.ones(len(speed))
    for lesion in vessels.lesions:
        if lesion.kind != "occlusion":
            continue
        beyond = vessels.downstream(lesion.minimum)
        collateral, late, thin = rng.random() < _COLLATERAL, rng.uniform(1.2, 2.4), rng.uniform(0.2, 0.55)
        # from the far end back towards the occlusion
        back = float(vessels.along[beyond].max()) - vessels.along[beyond]
        arrival[beyond] = arrival[lesion.minimum] + late + back / rng.uniform(50.0, 90.0)
        dispersion[beyond] = 0.5 + 0.2 * arrival[beyond]
        reach[beyond] *= thin * np.exp(-back / 80.0) if collateral else 0.0
    reach[vessels.radii <= 0.0] = 0.0
    return Flow(
        np.rint(arrival / _GRID_S) * _GRID_S,
        np.rint(dispersion / _GRID_S) * _GRID_S,
        (np.rint(reach * 4096) / 4096).astype(np.float32),
    )


def modelled_ifr(vessels: Vessels) -> dict[Artery, float]:
    """Pressure behind the worst way through each artery over aortic pressure, at rest: a model, no measurement.

    A lesion costs f Q + s Q^2 (Young & Tsai 1973; Gould 1978): Poiseuille's loss over its radii above that of the
    healthy lumen, f = 8 mu / pi * integral(1 / r^4 - 1 / r0^4), and that of the jet, s = k rho / 2 (1 / A - 1 / A0)^2.
    The bed behind keeps its resistance at rest, so Q = Q0 Pd / Pa, with Q0 the healthy vessel's. Lesions in series add
    up. 1 without any lesion, about .97 at 50 % and below .89 from about 65 to 70 % on; 0 behind an occlusion.
    """
    share = _pressure(vessels)
    artery = np.array([ARTERIES.get(name, "") for name in vessels.names] + [""])[vessels.segment]
    out: dict[Artery, float] = {}
    names: tuple[Artery, ...] = ("RCA",) if vessels.side == "right" else ("LAD", "LCX")
    for name in names:
        own = share[artery == name]
        if len(own):
            out[name] = significant(float(own.min()))
    return out


def _pressure(vessels: Vessels) -> Floats:
    """Pressure (n,) at each point over the aorta's."""
    viscous, jet = np.zeros(len(vessels.radii)), np.zeros(len(vessels.radii))
    for lesion in vessels.lesions:
        if lesion.kind == "diffuse":
            continue
        part = np.s_[lesion.first : lesion.last + 1]
        r0 = 1e-3 * vessels.healthy[part]
        r = np.maximum(1e-3 * vessels.radii[part], 1e-6)
        least, normal = max(0.5e-3 * lesion.mld_mm, 1e-6), 0.5e-3 * lesion.reference_mm
        area, whole = math.pi * least**2, math.pi * normal**2
        rest = REST_M_S * whole
        f = 8.0 * VISCOSITY / math.pi * float((1.0 / r**4 - 1.0 / r0**4).sum()) * 1e-3 * STEP_MM
        s = 0.5 * EXPANSION * DENSITY * (1.0 / area - 1.0 / whole) ** 2
        viscous[lesion.minimum] += f * rest / AORTIC_PA
        jet[lesion.minimum] += s * rest**2 / AORTIC_PA
    a, b = 1.0 + vessels.summed(viscous), vessels.summed(jet)
    out: Floats = 2.0 / (a + np.sqrt(a * a + 4.0 * b))  # of 1 - x = (a - 1) x + b x^2
    out[out < _CLOSED] = 0.0
    return out
