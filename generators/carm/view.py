"""One C-arm view: where the source and the detector stand and how the world falls on the pixels.

World: LPS millimetres (+x patient's left, +y posterior, +z head), origin at the isocentre. Angles as in DICOM
PS3.3 C.8.7.5: both say where the *detector* is, primary + towards the patient's left (LAO), secondary + towards
the head (CRA). The gantry turns about z by the primary angle, then tilts about the turned horizontal axis by the
secondary one; nothing rolls, so 0/0 is an ordinary view and the head is always up on the image.

    d = (sin a cos b, -cos a cos b, sin b)      isocentre -> detector
    u = (cos a, sin a, 0)                       along a row, to the right (patient's left in AP)
    v = -dd/db                                  down a column (towards the feet)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Constants = tuple[float, ...]

#: Views with a name of their own: primary (LAO +) and secondary (CRA +) angle.
NAMED = {"spider": (45.0, -30.0), "lateral": (90.0, 0.0), "left lateral": (90.0, 0.0)}
_NAME = re.compile(r"(?:(AP|PA)|(LAO|RAO) ?(\d+(?:\.\d+)?))(?:[ ,/]+(CRA|CAU)[A-Z]* ?(\d+(?:\.\d+)?))?")


def angles_of(name: str) -> tuple[float, float]:
    """Primary and secondary angle of a view as it is called: ``LAO 30 CRA 20``, ``AP CAU 25``, ``spider``.

    Raises:
        ValueError: for what is no such name.
    """
    if name.lower() in NAMED:
        return NAMED[name.lower()]
    match = _NAME.fullmatch(name.strip().upper())
    if match is None:
        raise ValueError(f"{name!r} is no view: say LAO or RAO and CRA or CAU with degrees, or {', '.join(NAMED)}")
    _, side, primary, tilt, secondary = match.groups()
    a, b = float(primary or 0), float(secondary or 0)
    return (-a if side == "RAO" else a), (-b if tilt == "CAU" else b)


_DICOM = {
    "sid_mm": ("DistanceSourceToDetector", "(0018,1110)"),
    "sod_mm": ("DistanceSourceToPatient", "(0018,1111)"),
    "primary_deg": ("PositionerPrimaryAngle", "(0018,1510)"),
    "secondary_deg": ("PositionerSecondaryAngle", "(0018,1511)"),
}


@dataclass(frozen=True)
class View:
    """A cone-beam view by the terms of the field.

    Attributes:
        sid_mm: source to detector.
        sod_mm: source to isocentre.
        primary_deg: LAO +, RAO -, within +-180.
        secondary_deg: CRA +, CAU -, within +-90.
        rows, cols: pixels of the detector.
        pixel_mm: (row, column) pitch on the detector, the order of DICOM ImagerPixelSpacing.

    Raises:
        ValueError: a value that cannot be; the message names it and the fix.
    """

    sid_mm: float
    sod_mm: float
    primary_deg: float
    secondary_deg: float
    rows: int = 512
    cols: int = 512
    pixel_mm: tuple[float, float] = (0.278, 0.278)

    def __post_init__(self) -> None:
        numbers = (self.sid_mm, self.sod_mm, self.primary_deg, self.secondary_deg, *self.pixel_mm)
        if not all(math.isfinite(n) for n in numbers):
            raise ValueError(f"{self!r} holds a number that is not finite: give every length and angle")
        if self.sod_mm <= 0:
            raise ValueError(f"sod_mm is {self.sod_mm}: the source-isocentre distance is positive, about 750")
        if self.sid_mm <= self.sod_mm:
            raise ValueError(
                f"sid_mm {self.sid_mm} is not beyond sod_mm {self.sod_mm}: the isocentre lies between "
                "source and detector (were the two swapped?)"
            )
        if abs(self.primary_deg) > 180 or abs(self.secondary_deg) > 90:
            raise ValueError(
                f"angles {self.primary_deg}/{self.secondary_deg} deg: primary is within +-180 and secondary "
                "within +-90 degrees"
            )
        if self.rows < 1 or self.cols < 1:
            raise ValueError(f"{self.rows} x {self.cols} pixels: rows and cols are 1 or more")
        if min(self.pixel_mm) <= 0:
            raise ValueError(f"pixel_mm is {self.pixel_mm}: both pitches are positive, about 0.3")

    @property
    def magnification(self) -> float:
        """SID / SOD: a length at the isocentre is this much longer on the detector."""
        return self.sid_mm / self.sod_mm

    @property
    def axes(self) -> NDArray[np.float64]:
        """Rows u, v, d (3, 3): image right, image down, isocentre to detector. A proper rotation: u x v = -d."""
        ux, uy, vx, vy, vz, dx, dy, dz = self.constants()[:8]
        return np.array([[ux, uy, 0.0], [vx, vy, vz], [dx, dy, dz]])

    @property
    def direction(self) -> NDArray[np.float64]:
        """d (3,): unit vector from the isocentre to the detector."""
        d: NDArray[np.float64] = self.axes[2]
        return d

    @property
    def source_mm(self) -> NDArray[np.float64]:
        """X-ray source (3,), LPS mm."""
        return -self.sod_mm * self.direction

    @property
    def detector_mm(self) -> NDArray[np.float64]:
        """Centre of the detector (3,), LPS mm."""
        return (self.sid_mm - self.sod_mm) * self.direction

    @property
    def projection_matrix(self) -> NDArray[np.float64]:
        """P (3, 4): world (x, y, z, 1) in mm to (col * w, row * w, w), w the depth from the source in mm."""
        ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = self.constants()
        return np.array(
            [
                [fu * ux + cc * dx, fu * uy + cc * dy, cc * dz, cc * sod],
                [fv * vx + cr * dx, fv * vy + cr * dy, fv * vz + cr * dz, cr * sod],
                [dx, dy, dz, sod],
            ]
        )

    @property
    def name(self) -> str:
        """As it is written in the catheterisation laboratory: ``LAO 30 CRA 10``, ``AP CAU 20``, ``AP 0``."""
        primary, secondary = round(self.primary_deg, 1), round(self.secondary_deg, 1)
        side = f"{'LAO' if primary > 0 else 'RAO'} {abs(primary):g}" if primary else "AP"
        tilt = f"{'CRA' if secondary > 0 else 'CAU'} {abs(secondary):g}" if secondary else ""
        return f"{side} {tilt}".strip() if primary or secondary else "AP 0"

    def constants(self) -> Constants:
        """The 13 floats every kernel works from: ux uy vx vy vz dx dy dz sod fu fv cc cr (uz is 0).

        ``fu``, ``fv`` are the focal length in columns and rows, ``cc``, ``cr`` the principal point in pixels.
        """
        a, b = math.radians(self.primary_deg), math.radians(self.secondary_deg)
        sa, ca, sb, cb = math.sin(a), math.cos(a), math.sin(b), math.cos(b)
        fu, fv = self.sid_mm / self.pixel_mm[1], self.sid_mm / self.pixel_mm[0]
        centre = ((self.cols - 1) / 2, (self.rows - 1) / 2)
        return (ca, sa, sa * sb, -ca * sb, -cb, sa * cb, -ca * cb, sb, float(self.sod_mm), fu, fv, *centre)

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Pixel coordinates (n, 2) as (row, col) of world points (n, 3) in LPS mm; integers are pixel centres.

        The arithmetic is the kernels', operation by operation, so nearest pixels agree to the bit.

        Raises:
            ValueError: points are not (n, 3), or one lies at or behind the source.
        """
        p = np.asarray(points, np.float64)
        if p.ndim != 2 or p.shape[1] != 3:
            raise ValueError(f"points have shape {p.shape}: give (n, 3) in LPS mm")
        ux, uy, vx, vy, vz, dx, dy, dz, sod, fu, fv, cc, cr = self.constants()
        x, y, z = p[:, 0], p[:, 1], p[:, 2]
        depth = sod + (dx * x + dy * y + dz * z)
        if p.size and depth.min() <= 0:
            raise ValueError(f"a point lies {-depth.min():.1f} mm behind the source: centre on the isocentre")
        inverse = 1.0 / depth
        col = ((ux * x + uy * y) * inverse) * fu + cc
        row = ((vx * x + vy * y + vz * z) * inverse) * fv + cr
        return np.stack([row, col], axis=1)

    def pixel_mm_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many mm (n,) a pixel is, down a column, at the depth of each world point (n, 3)."""
        depth = self.sod_mm + points @ self.direction
        mm: NDArray[np.float64] = self.pixel_mm[0] * depth / self.sid_mm
        return mm

    def sees(self, points: ArrayLike) -> NDArray[np.bool_]:
        """True (n,) for each world point (n, 3) whose nearest pixel is on the detector."""
        row, col = np.floor(self.project(points) + 0.5).T
        seen: NDArray[np.bool_] = (row >= 0) & (row < self.rows) & (col >= 0) & (col < self.cols)
        return seen

    def to_json(self) -> dict[str, Any]:
        """A plain dict, units in the key names; ``from_json`` reads it back to the bit."""
        return {
            "sid_mm": self.sid_mm,
            "sod_mm": self.sod_mm,
            "primary_deg": self.primary_deg,
            "secondary_deg": self.secondary_deg,
            "rows": self.rows,
            "cols": self.cols,
            "pixel_mm": list(self.pixel_mm),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> View:
        """The view ``to_json`` wrote.

        Raises:
            ValueError: a key is missing or unknown.
        """
        expected = set(cls.__dataclass_fields__)
        if set(record) != expected:
            raise ValueError(f"view has keys {sorted(record)}: expected exactly {sorted(expected)}")
        row_mm, col_mm = record["pixel_mm"]
        return cls(**{**record, "pixel_mm": (float(row_mm), float(col_mm))})

    @classmethod
    def from_dicom(cls, dataset: Dataset, pixel_mm: tuple[float, float] | None = None) -> View:
        """The view of an X-ray angiography (XA) data set, read from its positioner attributes.

        Args:
            dataset: Rows, Columns and (0018,1110), (0018,1111), (0018,1510), (0018,1511), (0018,1164).
            pixel_mm: (row, column) pitch on the detector where ImagerPixelSpacing (0018,1164) is absent, for
                instance field of view / rows. Wins over the attribute where both are there.

        Raises:
            ValueError: an attribute is missing; the message names it.
        """
        values: dict[str, float] = {}
        for field, (keyword, tag) in _DICOM.items():
            value = dataset.get(keyword)
            if value is None:
                raise ValueError(f"{keyword} {tag} is missing: this data set does not say its C-arm view")
            values[field] = float(value)
        if pixel_mm is None:
            spacing = dataset.get("ImagerPixelSpacing")
            if spacing is None:
                raise ValueError(
                    "ImagerPixelSpacing (0018,1164) is missing: pass pixel_mm=(row, column), for instance "
                    "field of view in mm / Rows"
                )
            pixel_mm = (float(spacing[0]), float(spacing[1]))
        rows, cols = dataset.get("Rows"), dataset.get("Columns")
        if rows is None or cols is None:
            raise ValueError("Rows (0028,0010) or Columns (0028,0011) is missing: this data set holds no image")
        return cls(**values, rows=int(rows), cols=int(cols), pixel_mm=pixel_mm)
