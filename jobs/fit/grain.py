"""How much of the scan's grain a fitted model of voxels leaves away, class by class.

Least squares make what no network can foretell smooth: in few steps of the sampler some grain is made, not all of it.
What is missing, against the lesions that it was fitted on, is added from the scan itself when lesions are drawn.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion.filler import Patch
from lesionforge.generators.lesion.grain import finer, voxel_grain_mm
from lesionforge.generators.lesion.learned.filler import LearnedFiller, scan_grain
from lesionforge.generators.lesion.learned.settings import LesionSettings
from lesionforge.generators.lesion.measure import core
from lesionforge.generators.types import stream
from lesionforge.jobs.fit.cubes import Lesion, Volume, Volumes

LESIONS = 6  # of each class
LOOKED_AT = 60  # volumes


def shares(model: Any, volumes: Volumes, device: str) -> dict[str, float]:
    """For each class: missing grain over the scan's, as standard deviations; 0 where none is missing."""
    own: LesionSettings = replace(model.settings, grain={})
    filler = LearnedFiller("", heeds=False)
    model.settings = own
    filler.use(model, device)
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    for number in range(min(len(volumes), LOOKED_AT)):
        volume = volumes[number]
        for lesion in volume.lesions(own.classes, own.halo_mm):
            if counts.get(lesion.kind, 0) >= LESIONS:
                continue
            counts[lesion.kind] = counts.get(lesion.kind, 0) + 1
            sums[lesion.kind] = sums.get(lesion.kind, np.zeros(3)) + _variances(filler, volume, lesion, number)
    out = {}
    for kind, (real, made, scan) in sums.items():
        out[kind] = round(math.sqrt(max(0.0, real - made) / scan), 3) if scan else 0.0
    return out


def _variances(filler: LearnedFiller, volume: Volume, lesion: Lesion, number: int) -> NDArray[np.float64]:
    """Variance of what is fine in a lesion's core: the real one, the same lesion made, and the scan's own grain."""
    box = tuple(slice(a, a + n) for a, n in zip(lesion.start, lesion.mask.shape, strict=True))
    hu, spacing = volume.hu[box].astype(np.float32), volume.spacing_mm
    radius = (3 * int(lesion.mask.sum()) * math.prod(spacing) / (4 * math.pi)) ** (1 / 3)
    patch = Patch(hu, lesion.mask, volume.labels[box], volume.legend, lesion.kind, spacing, radius)
    made = np.where(lesion.hole, filler.fill([patch], [stream(b"grain", str(number))])[0], hu)
    inner, mm = core(lesion.mask, spacing), voxel_grain_mm(spacing)
    fine = finer(hu, spacing, mm), finer(made, spacing, mm), scan_grain(patch, lesion.hole)
    return np.array([float(part[inner].var()) for part in fine])
