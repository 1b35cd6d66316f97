"""A CT volume along the patient's axes: cropped, resampled, and made a case."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import scipy
from annotated_types import Interval
from numpy.typing import NDArray

from lesionforge.engine.sources.ct.axes import Axes, Box, Floats, laid
from lesionforge.engine.sources.ct.hounsfield import require_organs
from lesionforge.engine.sources.ct.label_map import box_of, counted
from lesionforge.engine.sources.ct.names import standard
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.structures import kind
from lesionforge.generators.types import BadCase, Volume

MAX_VOXELS = 2**28  # of a volume as it is held: 805 MB with its labels (3 bytes a voxel)
AIR = -1024
Interpolation = Literal["linear", "cubic"]
Spacing = Annotated[float, Interval(ge=0.1, le=20)]


@dataclass(frozen=True)
class ScanOptions(Parameters):
    """How a volume is cut and resampled, whatever it is read from.

    Attributes:
        spacing_mm: voxels to resample to, along LPS; the volume's own where absent.
        interpolation: of the HU when they are resampled; labels are taken from the nearest voxel.
        oblique: ``refuse`` volumes whose axes are not the patient's, or ``resample`` them onto these.
        region: structures to crop to, by standard name; the whole volume where absent.
        margin_mm: kept around the region.
    """

    spacing_mm: tuple[Spacing, Spacing, Spacing] | None = None
    interpolation: Interpolation = "linear"
    oblique: Literal["refuse", "resample"] = "refuse"
    region: tuple[str, ...] | None = None
    margin_mm: Annotated[float, Interval(ge=0, le=1000)] = 20.0

    def check_axes(self, axes: Axes) -> None:
        """Refuse an oblique volume unless it is to be resampled."""
        if axes.oblique and self.oblique == "refuse":
            raise BadCase(
                f"its axes are {axes.angle_deg:.2f} degrees off the patient's; resample it with the source's option "
                "oblique: resample"
            )

    def box(self, labels: NDArray[np.uint8], legend: Mapping[int, str], spacing_mm: tuple[float, ...]) -> Box | None:
        """Where a labelled volume is to be cropped; None where it is not."""
        if not self.region:
            return None
        wanted = [value for value, name in legend.items() if name in map(standard, self.region)]
        return box_of(labels, wanted, self.margin_mm, spacing_mm)


@dataclass(frozen=True)
class CtScan:
    """HU int16 and labels uint8 or None along LPS, in either order; edges in mm, the first voxel's place in LPS mm."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8] | None
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def crop(self, box: Box) -> CtScan:
        """The part in a box of slices."""
        origin = [o + mm * s.start for o, mm, s in zip(self.origin_mm, self.spacing_mm, box, strict=True)]
        labels = None if self.labels is None else self.labels[box].copy(order="K")
        return CtScan(self.hu[box].copy(order="K"), labels, self.spacing_mm, (origin[0], origin[1], origin[2]))

    def resampled(self, spacing_mm: tuple[float, float, float], how: Interpolation) -> CtScan:
        """On voxels of another size over the same volume: HU linear or cubic, labels nearest; in order F.

        Cubic is Keys's convolution (1981, a = -1/2), which needs no more than its four neighbours along each axis, so
        that a few slices are in work at a time. Nothing is smoothed where voxels grow.
        """
        shape = [max(1, round(n * a / b)) for n, a, b in zip(self.hu.shape, self.spacing_mm, spacing_mm, strict=True)]
        if math.prod(shape) > MAX_VOXELS:
            raise BadCase(f"would have {' x '.join(map(str, shape))} voxels of that spacing; {MAX_VOXELS} are the most")
        shift = [0.5 * (b - a) for a, b in zip(self.spacing_mm, spacing_mm, strict=True)]  # outer edges stay together
        places = [
            (np.arange(n) * b + s) / a for n, a, b, s in zip(shape, self.spacing_mm, spacing_mm, shift, strict=True)
        ]
        taps = [_taps(at, n, how) for at, n in zip(places, self.hu.shape, strict=True)]
        slices = laid(self.hu, "F").T  # (z, y, x)
        hu = np.empty(shape, np.int16, "F")
        rows = slices.shape[1]
        a, b, c = (np.empty((2, *size)) for size in (slices.shape[1:], (rows, shape[0]), (shape[1], shape[0])))
        for k, out in enumerate(hu.T):
            plane = _sum(((w[k], slices[i[k]]) for i, w in taps[2] if w[k]), a)  # often one is all
            plane = _sum(((w, _taken(plane, i, 1, b)) for i, w in taps[0]), b)
            plane = _sum(((w[:, None], _taken(plane, i, 0, c)) for i, w in taps[1]), c)
            out[:] = np.clip(np.rint(plane, out=plane), -32768, 32767, out=plane)
        labels = None
        if self.labels is not None:
            i, j, ks = (
                np.clip(np.floor(at + 0.5).astype(np.int64), 0, n - 1)
                for at, n in zip(places, self.labels.shape, strict=True)
            )
            labels, stored = np.empty(shape, np.uint8, "F"), laid(self.labels, "F").T
            for out, k in zip(labels.T, ks, strict=True):
                out[:] = stored[k][j].take(i, axis=1)
        x, y, z = (o + s for o, s in zip(self.origin_mm, shift, strict=True))
        return CtScan(hu, labels, spacing_mm, (x, y, z))


def _sum(parts: Iterable[tuple[Any, NDArray[Any]]], room: Floats) -> Floats:
    """Of weights times values, in their order, in the first half of ``room`` (2, a, b).

    New arrays for each slice would be faulted in again and again, which can take longer than the sums.
    """
    out: Floats = room[0]
    for n, (weight, values) in enumerate(parts):
        np.multiply(weight, values, out=room[1 if n else 0])
        if n:
            out += room[1]
    return out


def _taken(plane: Floats, i: NDArray[np.int64], axis: int, room: Floats) -> Floats:
    """Rows or columns of a plane, in the second half of ``room``."""
    out: Floats = np.take(plane, i, axis, out=room[1], mode="clip")  # none is outside; to raise would take a copy
    return out


def _taps(at: Floats, n: int, how: Interpolation) -> list[tuple[NDArray[np.int64], Floats]]:
    """Neighbours of each place and their weights; beyond the ends the last voxel goes on."""
    cell = np.floor(at).astype(np.int64)
    t = at - cell
    if how == "linear":
        pairs = [(0, 1 - t), (1, t)]
    else:
        pairs = [
            (-1, ((-0.5 * t + 1) * t - 0.5) * t),
            (0, (1.5 * t - 2.5) * t * t + 1),
            (1, ((-1.5 * t + 2) * t + 0.5) * t),
            (2, (0.5 * t - 0.5) * t * t),
        ]
    return [(np.clip(cell + k, 0, n - 1), w) for k, w in pairs]


def straightened(
    hu: NDArray[np.int16],
    labels: NDArray[np.uint8] | None,
    affine: Floats,
    spacing_mm: tuple[float, float, float],
    how: Interpolation,
) -> CtScan:
    """An oblique volume on a grid along LPS around all of it; air where it has no voxels. Needs 8 bytes a voxel more.

    Args:
        hu, labels: as stored, with ``affine`` from their indices to LPS mm.
        spacing_mm: of the new grid.
        how: of the HU, splines of degree 1 or 3; labels are taken from the nearest voxel.
    """
    ends = np.array(list(itertools.product(*[(0, n - 1) for n in hu.shape])), np.float64)
    corners = ends @ affine[:3, :3].T + affine[:3, 3]
    low, high = corners.min(0), corners.max(0)
    shape = tuple(int(v) for v in np.floor((high - low) / spacing_mm + 1.5))
    if math.prod(shape) > MAX_VOXELS:
        raise BadCase(f"would have {' x '.join(map(str, shape))} voxels along the patient's axes")
    back = np.linalg.inv(affine[:3, :3])
    matrix, offset = back @ np.diag(spacing_mm), back @ (low - affine[:3, 3])
    turned = {"matrix": matrix, "offset": offset, "output_shape": shape, "mode": "grid-constant"}
    degree = 1 if how == "linear" else 3
    straight = scipy.ndimage.affine_transform(hu, order=degree, cval=AIR, output=np.int16, **turned)
    names = (
        None if labels is None else scipy.ndimage.affine_transform(labels, order=0, cval=0, output=np.uint8, **turned)
    )
    return CtScan(straight, names, spacing_mm, (float(low[0]), float(low[1]), float(low[2])))


def lesions_in(labels: NDArray[np.uint8], legend: Mapping[int, str]) -> dict[str, int]:
    """The voxels of each lesion that a label map marks, by its name."""
    lesions = {value: name for value, name in legend.items() if kind(name) == "lesion"}
    counts = counted(labels) if lesions else np.zeros(256, np.int64)
    return {name: int(counts[value]) for value, name in lesions.items() if counts[value]}


def as_volume(
    scan: CtScan,
    legend: Mapping[int, str],
    subject: str,
    licence: str,
    notes: dict[str, Any],
    options: ScanOptions,
    lesions: Mapping[str, int],
) -> Volume:
    """A scan as a case.

    Args:
        notes: on how it was read; those on resampling are added.
        options: the voxels to resample to.
        lesions: the voxels of each as stored; one that has none left is told in the notes.

    Raises:
        BadCase: where a marked organ has HU that it cannot have.
    """
    if scan.labels is not None:
        require_organs(scan.hu, scan.labels, legend)
    spacing_mm, how = options.spacing_mm, options.interpolation
    if spacing_mm is not None and not np.allclose(spacing_mm, scan.spacing_mm, rtol=1e-6):
        stored = [round(mm, 4) for mm in scan.spacing_mm]
        scan = scan.resampled(spacing_mm, how)
        notes |= {"resampled_from_mm": stored, "interpolation": how}
    left = lesions_in(scan.labels, legend) if scan.labels is not None and lesions else {}
    if lost := {name: count for name, count in lesions.items() if name not in left}:
        notes["lesions_lost"] = lost
    hu, labels = laid(scan.hu, "C"), None if scan.labels is None else laid(scan.labels, "C")
    for array in (hu, labels):
        if array is not None:
            array.setflags(write=False)  # a case is read once for several variants
    digest = hashlib.blake2b(digest_size=16)
    for k in range(scan.hu.shape[2]):
        digest.update(np.ascontiguousarray(scan.hu[:, :, k], "<i2").tobytes())
    digest.update(np.array([*scan.spacing_mm, *scan.origin_mm], "<f8").tobytes())
    return Volume(
        subject=subject,
        source_id=digest.hexdigest(),
        licence=licence,
        hu=hu,
        spacing_mm=scan.spacing_mm,
        origin_mm=scan.origin_mm,
        labels=labels,
        legend=dict(legend),
        notes=notes,
    )
