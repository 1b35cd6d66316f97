"""What the lesions measure that a model of voxels is fitted on, class by class: HU of their cores, and their grain.

Least squares in few steps of a sampler get both wrong in the same way: what the conditions do not tell, they make
average. So the model's folder says how far lesions differ in HU, and how much grain they have; each one drawn gets an
HU of its own by the null-space method, and what it lacks of grain from its scan.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from lesionforge.generators.lesion.classes import PLAQUES
from lesionforge.generators.lesion.filler import Patch
from lesionforge.generators.lesion.grain import finer, voxel_grain_mm
from lesionforge.generators.lesion.learned.job import scan_grain
from lesionforge.generators.lesion.learned.settings import LesionSettings
from lesionforge.generators.lesion.measure import core
from lesionforge.generators.types import stream
from lesionforge.jobs.fit.volumes import Lesion, Volume, Volumes

LESIONS, LOOKED_AT = 60, 240  # of each class, and volumes
SURE = 3.0  # standard errors of a correlation of HU with those of organ or vessel


def read(volumes: Volumes, own: LesionSettings) -> dict[str, dict[str, Any]]:
    """The fields ``hu``, ``levels_hu`` and ``grain`` of ``LesionSettings``."""
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for number in stream(b"tissue", "volumes").permutation(len(volumes))[:LOOKED_AT].tolist():
        volume = volumes[number]
        for lesion in volume.lesions(own.classes, own.halo_mm):
            if len(rows[lesion.kind]) < LESIONS:
                rows[lesion.kind].append(_measured(volume, lesion))
    hu, levels, grain = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for kind, some in rows.items():
        level, mean, fine, scan, radius = np.array(some).T
        slope = 0.0 if kind in PLAQUES else 1.0
        together = float(((level - level.mean()) * (mean - mean.mean())).mean())
        if together**2 * len(some) > SURE**2 * level.var() * mean.var():  # else as is usual: plaques as they are
            slope = together / float(level.var())
        rest = mean - slope * level
        order = np.argsort(rest, kind="stable")
        levels[kind] = [round(float(level.min()), 1), round(float(level.max()), 1)]
        hu[kind] = {
            "follows": round(slope, 4),
            "rest": np.round(rest[order], 1).tolist(),
            "radius_mm": np.round(radius[order], 2).tolist(),
        }
        uneven = math.sqrt(max(0.0, float(np.median(fine**2 - scan**2))))
        grain[kind] = [round(uneven, 1), round(min(1.0, float(np.median(fine / scan))), 3)]
    return {"hu": hu, "levels_hu": levels, "grain": grain}


def _measured(volume: Volume, lesion: Lesion) -> tuple[float, ...]:
    """HU of a lesion's organ or vessel, of its core, and how uneven the core is, and the scan; its radius in mm."""
    assert lesion.level is not None  # none other is among ``Volume.lesions``
    box = tuple(slice(a, a + n) for a, n in zip(lesion.start, lesion.mask.shape, strict=True))
    hu, spacing = volume.hu[box].astype(np.float32), volume.spacing_mm
    radius = (3 * int(lesion.mask.sum()) * math.prod(spacing) / (4 * math.pi)) ** (1 / 3)
    patch = Patch(hu, lesion.mask, volume.labels[box], volume.legend, lesion.kind, spacing, radius)
    inner = core(lesion.mask, spacing)
    fine, scan = finer(hu, spacing, voxel_grain_mm(spacing)), scan_grain(patch, lesion.hole)
    # Of the same voxels: few of them differ less.
    uneven = float(fine[inner].std()), max(float(scan[inner].std()), 1.0)
    return lesion.level, float(hu[inner].mean()), *uneven, radius
