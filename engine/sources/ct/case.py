"""The last step of every CT source: resampling where it is asked for, and the case with what was done to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lesionforge.engine.sources.ct.grid import Interpolation, Scan
from lesionforge.generators.types import Volume


def as_volume(
    scan: Scan,
    legend: Mapping[int, str],
    subject: str,
    licence: str,
    notes: dict[str, Any],
    spacing_mm: tuple[float, float, float] | None,
    how: Interpolation,
) -> Volume:
    """A scan as a case.

    Args:
        spacing_mm: voxels to resample to; the scan's own where None.
        how: of the HU when they are resampled.
    """
    if spacing_mm is not None and not np.allclose(spacing_mm, scan.spacing_mm, rtol=1e-6):
        stored = [round(mm, 4) for mm in scan.spacing_mm]
        scan = scan.resampled(spacing_mm, how)
        notes |= {"resampled_from_mm": stored, "interpolation": how}
    for array in (scan.hu, scan.labels):
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
        hu=scan.hu,
        spacing_mm=scan.spacing_mm,
        origin_mm=scan.origin_mm,
        labels=scan.labels,
        legend=dict(legend),
        notes=notes,
    )
