"""What a user has of a patient: a vessel mask of each view, and something that says where the C-arm stood."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.pictures.masks import Values, vessel_mask
from lesionforge.engine.sources.xa.runs import ANGLES, PITCH, view_deg
from lesionforge.generators.carm.view import View, angles_of
from lesionforge.generators.types import BadCase
from lesionforge.jobs.errors import UsageError

Shadow = NDArray[np.uint8]

# Where only the angles are told: the middle of the paper's clinical ranges, and a 22 cm field.
SID_MM, SOD_MM, FIELD_MM = 1050.0, 750.0, 158.0

# What JSON calls a field: ours, XRA-Diff's, DICOM's keyword or tag; letters and figures alone, in lower case.
NAMES = {
    "sid_mm": ("sidmm", "sid", "distancesourcetodetector", "00181110"),
    "sod_mm": ("sodmm", "sod", "distancesourcetopatient", "00181111"),
    "primary_deg": ("primarydeg", "alpha", "positionerprimaryangle", "00181510"),
    "secondary_deg": ("secondarydeg", "beta", "positionersecondaryangle", "00181511"),
    "pixel_mm": ("pixelmm", "spacing", "imagerpixelspacing", "00181164"),
}
OTHERS = ("rows", "cols", "name", "size")  # may stand beside them
NEAR_DEG = 5.0  # between two views whose rays are as good as one
NEAREST_MM, DETECTOR_MM = 300.0, (40.0, 800.0)  # what else can only be another unit: SOD, the picture's edge on it
PREAMBLE = slice(128, 132)
OPTION = "(the source's )?option vessel_values"  # what a mask's reader calls it


@dataclass(frozen=True)
class Angle:
    """A view as it is given: its geometry, the vessels (uint8, 1 where one is), and what was assumed about it."""

    view: View
    shadow: Shadow
    assumed: str = ""


def read(masks: Sequence[Path], geometry: Sequence[str], vessel_values: Values | None = None) -> list[Angle]:
    """Masks with their geometry, in the order given.

    Args:
        masks: PNG files, vessels bright, as the run is displayed: head up, the patient's left on the right in AP.
        geometry: one for each: a JSON file, the XA DICOM file of the run, or what the view is called
            (``LAO 30 CRA 20``).
        vessel_values: what is vessel in masks of several classes.

    Raises:
        UsageError: naming the file by its place in the list and what to mend; never by its path (promise P8).
    """
    if not 2 <= len(masks) <= 4:
        raise UsageError(f"{len(masks)} masks are given: two to four views make a tree")
    if len(geometry) != len(masks):
        raise UsageError(f"{len(geometry)} --geometry for {len(masks)} masks: give one for each, in the masks' order")
    shadows = [_mask(path, n, vessel_values) for n, path in enumerate(masks, 1)]
    if len({shadow.shape for shadow in shadows}) > 1:
        sizes = ", ".join(f"{rows} x {cols}" for rows, cols in (shadow.shape for shadow in shadows))
        raise UsageError(f"the masks have {sizes} pixels: resample them (and their pixel spacing) to one size")
    angles = [_angle(words, shadow, n) for n, (words, shadow) in enumerate(zip(geometry, shadows, strict=True), 1)]
    for n, one in enumerate(angles[1:], 2):
        if apart_deg(angles[0].view, one.view) < NEAR_DEG:
            raise UsageError(
                f"--geometry {n} is within {NEAR_DEG:g} degrees of the first or opposite, where no depth shows: give "
                "another view first, and angles in degrees"
            )
    return angles


def apart_deg(one: View, other: View) -> float:
    """How far two views' rays are from one line, 0 to 90 degrees; opposite ones are on one."""
    return math.degrees(math.asin(min(1.0, float(np.linalg.norm(np.cross(one.direction, other.direction))))))


def _mask(path: Path, n: int, vessel_values: Values | None) -> Shadow:
    data = _bytes(path, f"mask {n}")
    if data[PREAMBLE] == b"DICM":
        raise UsageError(
            f"mask {n} is a DICOM run: vessels are not looked for in it; give its mask, and the run as --geometry"
        )
    try:
        found, _ = vessel_mask(data, vessel_values)
    except BadCase as error:
        raise UsageError(f"mask {n} {re.sub(OPTION, '--vessel-values', str(error))}") from None
    if not found.any():
        raise UsageError(f"mask {n} is empty: give one with the vessels bright")
    return found.astype(np.uint8)


def _angle(words: str, shadow: Shadow, n: int) -> Angle:
    rows, cols = shadow.shape
    path = Path(words)
    if not path.is_file():
        try:
            primary, secondary = angles_of(words)
        except ValueError:
            raise UsageError(
                f"--geometry {n} is neither a file nor a view's name: give JSON, the run's DICOM, or as LAO 30 CRA 20"
            ) from None
        pixel = FIELD_MM / max(rows, cols)
        told = f"SID {SID_MM:g}, SOD {SOD_MM:g}, pixels of {pixel:.3f} mm on the detector"
        try:
            view = View(SID_MM, SOD_MM, primary, secondary, rows, cols, (pixel, pixel))
        except ValueError as error:
            raise UsageError(f"--geometry {n}: {error}") from None
        return Angle(view, shadow, told)
    data = _bytes(path, f"--geometry {n}")
    try:
        view = _of_dicom(data) if data[PREAMBLE] == b"DICM" else _of_json(data, rows, cols)
        if (view.rows, view.cols) != shadow.shape:
            raise ValueError(
                f"is of {view.rows} x {view.cols} pixels, mask {n} has {rows} x {cols}: give that run's mask"
            )
        _in_mm(view)
    except (BadCase, ValueError) as error:
        raise UsageError(f"--geometry {n}: {error}") from None
    return Angle(view, shadow)


def _of_dicom(data: bytes) -> View:
    header = dicom.read(data, dicom.XA_RUN)
    if lacking := [key for key in (*ANGLES, *PITCH) if header.get(key) in (None, "")]:
        raise ValueError(
            f"{', '.join(lacking)} is missing in the run: say all in JSON (sid, sod, spacing, alpha, beta)"
        )
    angles, why = view_deg(header)
    if angles is None:
        raise ValueError(f"{why}: give a run of a C-arm that stands, or JSON")
    return View.from_dicom(header)


def _in_mm(view: View) -> None:
    """Refuse lengths in metres, centimetres or micrometres."""
    if view.sod_mm < NEAREST_MM:
        raise ValueError(f"sod_mm is {view.sod_mm:g}, too near for a patient: give mm, about 750")
    edge = max(view.rows * view.pixel_mm[0], view.cols * view.pixel_mm[1])
    if not DETECTOR_MM[0] <= edge <= DETECTOR_MM[1]:
        raise ValueError(
            f"pixel_mm is {view.pixel_mm}, which makes the picture {edge:.3g} mm on the detector: give mm, about 0.3"
        )


def _of_json(data: bytes, rows: int, cols: int) -> View:
    try:
        record = json.loads(data)
    except ValueError:
        raise ValueError("is no JSON; give an object with sid, sod, spacing, alpha, beta") from None
    if not isinstance(record, Mapping):
        raise ValueError("holds no JSON object; give one with sid, sod, spacing, alpha, beta")
    told = {re.sub("[^a-z0-9]", "", str(key).lower()): value for key, value in record.items()}
    values: dict[str, Any] = {}
    for field, names in NAMES.items():
        found = [told.pop(name) for name in names if name in told]
        if len(found) != 1:
            what = "is missing" if not found else "is given twice"
            raise ValueError(f"{field} {what}: say it once, as {names[1]} or ({names[-1][:4]},{names[-1][4:]})")
        values[field] = _number(field, found[0])
    rows, cols = (int(_number(field, told.pop(field, there))) for field, there in (("rows", rows), ("cols", cols)))
    if unknown := [name for name in told if name not in OTHERS]:
        raise ValueError(f"{unknown[0]} is unknown; there are {', '.join(names[1] for names in NAMES.values())}")
    pitch = values.pop("pixel_mm")
    both = tuple(pitch) if isinstance(pitch, list) else (pitch, pitch)
    return View(**values, rows=rows, cols=cols, pixel_mm=both)


def _number(field: str, value: Any) -> Any:
    """A number, or of pixel_mm also two."""
    two = field == "pixel_mm" and isinstance(value, list) and len(value) == 2
    try:
        found = [float(one) for one in (value if two else [value])]
        if not all(map(math.isfinite, found)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        words = "a number, or [row, column]" if field == "pixel_mm" else "a number"
        raise ValueError(f"{field} is {value!r}: give {words}") from None
    return found if two else found[0]


def _bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what} cannot be read ({error.strerror}): give an existing file") from None
