"""Labelled CT volumes: what a network learns from and is scored on.

All scans of a job are held in memory, 3 bytes a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion.learned.job import SPACING_TOLERANCE
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.segmentation.targets import classes_of

CANDIDATES = 4096  # voxels remembered of a class, spread evenly over it


@dataclass(frozen=True)
class Scan:
    """One labelled volume.

    ``hu`` int16 (i, j, k) along LPS. ``target`` uint8 (i, j, k), see ``targets.target``. ``subject``: a hash.
    ``source_id``: of the volume it is, or was made from. ``sample``: its id, empty for a volume of a source.
    """

    hu: NDArray[np.int16]
    target: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    subject: str
    source_id: str
    sample: str = ""

    @cached_property
    def voxels(self) -> dict[int, NDArray[np.int64]]:
        """Indices (n, 3) of voxels of each class in it, by the target's value: ``CANDIDATES`` at most."""
        out = {}
        for value in np.unique(self.target[self.target > 0]).tolist():
            flat = np.flatnonzero(self.target == value)
            step = -(-len(flat) // CANDIDATES)
            out[value] = np.stack(np.unravel_index(flat[::step], self.target.shape), axis=1)
        return out


def matches(spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> bool:
    """Whether voxels are of a size, up to ``SPACING_TOLERANCE`` of each edge: a network knows voxels, no mm."""
    return all(abs(a / b - 1) <= SPACING_TOLERANCE for a, b in zip(spacing_mm, wanted_mm, strict=True))


def same_spacing(scans: Sequence[Scan]) -> tuple[float, float, float]:
    """The spacing that all have, mm.

    Raises:
        UsageError: where they differ.
    """
    table = np.array([scan.spacing_mm for scan in scans], float)
    x, y, z = np.median(table, axis=0).tolist()
    if not all(matches(row, (x, y, z)) for row in table):
        low, high = table.min(0).round(2).tolist(), table.max(0).round(2).tolist()
        raise UsageError(f"voxels are {low} to {high} mm: resample the sources (one spacing for one network)")
    return x, y, z


def require_lesions(scans: Sequence[Scan], domain: str, what: str) -> None:
    """Refuse scans without a single lesion of the domain.

    Raises:
        UsageError: naming ``what`` they are.
    """
    if not any(scan.voxels for scan in scans):
        raise UsageError(f"{what} shows no {' or '.join(classes_of(domain))}: is --set domain={domain} right?")
