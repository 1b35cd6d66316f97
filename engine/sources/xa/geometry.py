"""What an XA header says about its C-arm: the angles, and the size of a pixel where the patient is."""

from __future__ import annotations

import math

import pydicom

from lesionforge.generators.carm.view import View

MAX_UNEVEN = 0.01  # relative difference of row and column pitch


def view_deg(header: pydicom.Dataset) -> tuple[tuple[float, float] | None, str]:
    """PositionerPrimaryAngle (LAO +) and PositionerSecondaryAngle (cranial +), or None and the reason."""
    moving = [
        key for key in ("PositionerPrimaryAngleIncrement", "PositionerSecondaryAngleIncrement") if _moves(header, key)
    ]
    if moving:
        return None, f"{moving[0]} says that the C-arm moves during the run"
    try:
        primary, secondary = float(header.PositionerPrimaryAngle), float(header.PositionerSecondaryAngle)
    except (AttributeError, TypeError, ValueError):
        return None, "PositionerPrimaryAngle (0018,1510) or PositionerSecondaryAngle (0018,1511) is missing"
    if not (abs(primary) <= 180 and abs(secondary) <= 90):  # false for what is no number, too
        return None, f"positioner angles {primary:g} and {secondary:g} are outside 180 and 90 degrees"
    return (primary, secondary), ""


def pixel_mm(header: pydicom.Dataset) -> tuple[float | None, str]:
    """Edge of a pixel at the isocentre, ImagerPixelSpacing * SOD / SID; or None and the reason."""
    try:
        view = View.from_dicom(header)
    except (TypeError, ValueError) as error:
        return None, str(error)
    row, col = view.pixel_mm
    if abs(row - col) > MAX_UNEVEN * col:
        return None, f"ImagerPixelSpacing is {row:g} x {col:g} mm: pixels that are not square have no one edge"
    return math.sqrt(row * col) / view.magnification, ""


def _moves(header: pydicom.Dataset, key: str) -> bool:
    value = header.get(key)
    steps = value if isinstance(value, pydicom.multival.MultiValue) else [] if value in (None, "") else [value]
    return any(float(step) != 0 for step in steps)
