"""Percent diameter stenosis of a measured vessel: minimal lumen diameter against the healthy reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.vessel.densitometry import Lumen
from lesionforge.generators.vessel.order import median
from lesionforge.generators.vessel.reference import Reference, computer_defined, reference_curve
from lesionforge.generators.vessel.walls import Walls, symmetry

Kind = Literal["densitometric", "geometric", "mask"]

BORDER = 0.10  # a lesion reaches as far as the diameter stays this share below the reference
NOTICED = 30.0  # %DS below which nothing is called a lesion: healthy vessels wander by about 10
NARROWEST = {"densitometric": 6.0, "geometric": 10.0, "mask": 4.0}  # reference over the blur (mask: px) to be believed
LUMEN = 3.0  # blurs the lumen must be wide for its edges to be its own and not the point spread's
FAINTEST = 3.0  # contrast of the reference over the noise


@dataclass(frozen=True)
class Reading:
    """One lesion, measured in one way.

    Diameters and lengths in px, and in mm where the spacing is known. ``area_stenosis`` percent, for round sections.
    ``at``: row of the minimal lumen diameter, ``mld_xy`` its place. ``symmetry`` 1 for a concentric lesion, 0 for one
    that comes from one wall; None where the meter has no walls. ``w_over_sigma``: reference diameter over the blur.
    ``gap``: first and last row left out of the reference. ``valid`` False says that the figure is not to be believed,
    and ``why``.
    """

    kind: Kind
    percent_ds: float
    area_stenosis: float
    mld_px: float
    d_ref_px: float
    at: int
    mld_xy: tuple[float, float]
    length_px: float
    symmetry: float | None
    reference: Reference
    w_over_sigma: float
    cnr: float
    gap: tuple[int, int]
    valid: bool
    why: str
    mld_mm: float | None = None
    d_ref_mm: float | None = None
    length_mm: float | None = None


def read(
    vessel: Lumen | Walls,
    at: int | None = None,
    lesion: int | None = None,
    reference: Reference = "interpolated",
    pixel_mm: float | None = None,
) -> Reading:
    """Measure the lesion at row ``at``, or where ``at`` is None the narrowest place.

    Args:
        vessel: a fitted lumen or a pair of walls.
        at: row of a known place: the mean of three rows there is its minimal diameter. None searches for it: of the
            detected lesions the worst, without any the narrowest place (which on healthy vessel reads 10 to 20 %).
        lesion: half-length in rows left out of the reference; None takes the lesion's own borders.
        reference: see ``generators.vessel.reference``.
        pixel_mm: pixel size at the isocentre.

    Raises ValueError for a row outside of the vessel.
    """
    n = len(vessel.diameter)
    if at is not None and not 0 <= at < n:
        raise ValueError(f"at = {at} is no row of a vessel of {n} rows")
    smoothed = _mean_of_three(vessel.diameter)
    healthy = smoothed if at is not None and lesion is not None else computer_defined(vessel.diameter, vessel.valid)
    if at is None:
        found = _stretches(smoothed, healthy, vessel.valid)
        inside = np.concatenate([np.arange(a, b + 1) for a, b in found]) if found else np.arange(n)
        share = np.where(vessel.valid, smoothed / np.maximum(healthy, 1e-9), np.inf)[inside]
        at = int(inside[np.argmin(share)])
    start, end = _borders(smoothed, healthy, at) if lesion is None else (at - lesion, at + lesion)
    start, end = max(start, 0), min(end, n - 1)
    curve = reference_curve(vessel.diameter, vessel.valid, (start, end), reference)
    d_ref = float(curve[at]) if curve[at] > 0 else np.nan
    mld = float(smoothed[at])
    borders = _borders(smoothed, curve, at) if np.isfinite(d_ref) else (start, end)
    length = float(vessel.s[borders[1]] - vessel.s[borders[0]])
    ds = (1 - mld / d_ref) * 100
    beside = np.r_[max(start - 10, 0) : start, end + 1 : min(end + 11, n)]
    cnr = median(vessel.cnr[beside]) if len(beside) else float(vessel.cnr[at])
    w_over_sigma = d_ref / vessel.psf_sigma
    why = _doubts(vessel, at, mld, d_ref, cnr)
    mm = None if pixel_mm is None else float(pixel_mm)
    return Reading(
        kind=vessel.kind,
        percent_ds=ds,
        area_stenosis=(1 - (mld / d_ref) ** 2) * 100,
        mld_px=mld,
        d_ref_px=d_ref,
        at=at,
        mld_xy=(float(vessel.points[at, 0]), float(vessel.points[at, 1])),
        length_px=length,
        symmetry=symmetry(vessel, at, start, end, d_ref) if isinstance(vessel, Walls) else None,
        reference=reference,
        w_over_sigma=w_over_sigma,
        cnr=cnr,
        gap=(start, end),
        valid=not why,
        why=why,
        mld_mm=None if mm is None else mld * mm,
        d_ref_mm=None if mm is None else d_ref * mm,
        length_mm=None if mm is None else length * mm,
    )


def lesions(vessel: Lumen | Walls, pixel_mm: float | None = None) -> list[Reading]:
    """Every stretch narrowed by NOTICED %DS or more against the computer-defined reference, along the vessel."""
    smoothed = _mean_of_three(vessel.diameter)
    healthy = computer_defined(vessel.diameter, vessel.valid)
    out = []
    for a, b in _stretches(smoothed, healthy, vessel.valid):
        at = a + int(np.argmin(smoothed[a : b + 1] / healthy[a : b + 1]))
        reading = read(vessel, at, reference="interpolated", pixel_mm=pixel_mm)
        if not np.isfinite(reading.percent_ds):
            reading = read(vessel, at, reference="computer-defined", pixel_mm=pixel_mm)
        out.append(reading)
    return out


def _mean_of_three(diameter: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.concatenate([diameter[:1], diameter, diameter[-1:]])
    mean: NDArray[np.float64] = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return mean


def _stretches(
    smoothed: NDArray[np.float64], healthy: NDArray[np.float64], valid: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Lesions (first row, last row): narrowed by NOTICED somewhere, each as far as its borders, none twice.

    Not within a diameter of either end: there another vessel begins, or the one that was followed ends.
    """
    rows = np.arange(len(smoothed))
    away = np.minimum(rows, rows[::-1]) >= healthy
    narrow = valid & away & (smoothed < (1 - NOTICED / 100) * healthy)
    found: list[tuple[int, int]] = []
    for at in np.flatnonzero(narrow):
        if found and at <= found[-1][1]:
            continue
        found.append(_borders(smoothed, healthy, int(at)))
    return [(a, b) for a, b in found if b - a >= 3]


def _borders(smoothed: NDArray[np.float64], reference: NDArray[np.float64], at: int) -> tuple[int, int]:
    """First and last row of the narrowing about ``at``."""
    wide = np.append(smoothed >= (1 - BORDER) * reference, True)
    before, after = np.flatnonzero(wide[:at]), np.flatnonzero(wide[at:])
    start = int(before[-1]) + 1 if len(before) else 0
    return start, max(at, min(at + int(after[0]) - 1, len(smoothed) - 1))


def _doubts(vessel: Lumen | Walls, at: int, mld: float, d_ref: float, cnr: float) -> str:
    """Why a reading is not to be believed, empty where it is."""
    if not np.isfinite(d_ref):
        return "no healthy vessel beside the lesion"
    if not vessel.valid[at]:
        return "the vessel is not seen there"
    width, lumen = d_ref / vessel.psf_sigma, mld / vessel.psf_sigma
    if width < NARROWEST[vessel.kind]:
        return f"the vessel is {width:.1f} blurs wide, {vessel.kind} needs {NARROWEST[vessel.kind]:.0f}"
    if vessel.kind != "mask" and cnr < FAINTEST:
        return f"contrast {cnr:.1f} times the noise, needs {FAINTEST:.0f}"
    if vessel.kind == "geometric" and lumen < LUMEN:
        return f"the lumen is {lumen:.1f} blurs wide, edges need {LUMEN:.0f}"
    if vessel.kind == "densitometric" and mld < 0.1 * d_ref:
        return "beyond 90 %DS the lumen is lost in the noise"
    return ""
