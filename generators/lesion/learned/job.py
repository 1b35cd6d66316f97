"""One lesion on its way through the networks: the cubes it is made in, then its unevenness and the scan's grain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion.blend import halo_mm, weights
from lesionforge.generators.lesion.classes import PLAQUES, home
from lesionforge.generators.lesion.filler import Patch
from lesionforge.generators.lesion.grain import borrowed, edges, finer, grain, voxel_grain_mm
from lesionforge.generators.lesion.learned.crop import cubes, hounsfield, regions, upright, views, wish
from lesionforge.generators.lesion.learned.settings import HEALTHY, LesionSettings
from lesionforge.generators.lesion.measure import core
from lesionforge.generators.types import BadCase

HALO_SIGMAS = 3.0  # of the blur by which a lesion's own share of a voxel falls off, to the end of its halo
EVEN, UNEVEN = 0.8, 2.0  # times the network's unevenness, at least and at most: what is left is the lesion's shape
BESIDE = 0.9  # of the scan's grain: what networks leave away in healthy tissue of the hole
SPACING_TOLERANCE = 0.15  # of a voxel's edge, against those the model was fitted on


class Job:
    """What is drawn of a lesion so far, and the cube in hand.

    Args:
        patch: the lesion.
        hole: what is made of it, bool of the patch's shape.
        level_hu: of its organ or vessel.
        shift_hu: how much denser than it is the networks are shown the scan, and asked for the lesion.
        rng: its own stream.
        settings: of the model.

    Raises:
        ValueError: for a class that is not the model's.
        BadCase: for voxels that are not.
    """

    def __init__(
        self,
        patch: Patch,
        hole: NDArray[np.bool_],
        level_hu: float,
        shift_hu: float,
        rng: np.random.Generator,
        settings: LesionSettings,
    ) -> None:
        if patch.lesion_class not in settings.classes:
            known = ", ".join(settings.classes)
            raise ValueError(f"lesion class {patch.lesion_class!r} is none of this model's: {known}")
        _check_spacing(patch.spacing_mm, settings.spacings_mm.get(patch.lesion_class, settings.spacing_mm))
        self._hu, self._shift = patch.hu + np.float32(shift_hu), np.float32(shift_hu)
        self.rng, self.drawn = rng, self._hu.copy()
        self.healthy = patch.lesion_class == HEALTHY
        self._patch, self._hole, self._settings = patch, hole, settings
        self._done = np.zeros(patch.mask.shape, bool)
        self._cubes = cubes(hole, settings.side, settings.multiple)
        self._level: float | None = None
        self._soft: NDArray[np.float32] | None = None
        if settings.whole and patch.mask.any():
            self._level = level_hu + shift_hu
            self._core = patch.core if patch.core is not None else core(patch.mask, patch.spacing_mm)
            self._mean = None if patch.mean_hu is None else patch.mean_hu + shift_hu
            if self._mean is not None and not self.healthy:
                sigma = halo_mm(patch.lesion_class, patch.radius_mm, settings.halo_mm, patch.spacing_mm) / HALO_SIGMAS
                self._soft = weights(patch.mask, sigma, patch.spacing_mm)

    def turn(self) -> bool:
        """Take the next cube with anything left to make."""
        patch, own = self._patch, self._settings
        for cube in self._cubes:
            hole = cube.cut(self._hole & ~self._done)
            if not hole.any():
                continue
            if self.healthy:
                hole = np.zeros_like(hole)
            mask = cube.cut(patch.mask) & (not self.healthy)
            region = regions(cube.cut(patch.others), patch.legend, mask, patch.lesion_class, own.classes)
            now = np.where(self._hole & self._done, self.drawn, self._hu)
            kind = own.classes.index(patch.lesion_class)
            self.cube = cube
            self.view = views(cube.cut(now), hole, region, kind, own.window, own.bend_hu, self._level)
            if self._soft is not None and self._mean is not None:
                self.view |= wish(self._mean, cube.cut(self._core), cube.cut(self._soft))
            return True
        return False

    def take(self, values: NDArray[np.float32]) -> None:
        """Put the drawn cube where nothing was drawn before."""
        at, inner = self.cube.inside(self.drawn.shape)
        new = hounsfield(upright(values), self._settings.window, self._settings.bend_hu)[inner]
        self.drawn[at] = np.where(self._done[at], self.drawn[at], new)
        self._done[at] = True

    def finished(self) -> NDArray[np.float32]:
        """What was drawn, as uneven and as grainy as its lesions are: least squares leave some of either away.

        A lesion's own unevenness is the network's, more of it; the rest is grain of the scan. Then its mean again.
        """
        patch, hole, seen = self._patch, self._hole, self._settings.grain.get(self._patch.lesion_class)
        if seen is not None and not self.healthy:
            (uneven, share), least, where = seen, EVEN, patch.mask
            if self._shift:  # less contrast shows less of a lesion's shape: nothing but the scan's grain
                uneven, least, where = 0.0, 0.0, hole
            if "grain" not in patch.memo:  # the same in every round
                patch.memo["grain"] = scan_grain(patch, hole)
            scanned: NDArray[np.float32] = patch.memo["grain"]
            fine = finer(self.drawn, patch.spacing_mm, voxel_grain_mm(patch.spacing_mm))
            scan, made = max(float(scanned[hole].std()), 1.0), max(float(fine[self._core].std()), 1.0)
            whole = math.hypot(uneven, share * scan)
            more = max(min(max(uneven / made, 1.0), UNEVEN, whole / made), least)
            missing = math.sqrt(max(0.0, whole**2 - (more * made) ** 2)) / scan
            self.drawn += np.where(where, np.float32(more - 1) * fine, np.float32(0))
            lent = np.where(patch.mask, np.float32(min(missing, 1.0)), np.float32(BESIDE))
            self.drawn[hole] += (lent * scanned)[hole]
        if self._soft is not None and self._mean is not None:
            missed = self._mean - float(self.drawn[self._core].mean())
            self.drawn += np.float32(missed / max(float(self._soft[self._core].mean()), 0.1)) * self._soft * hole
        if not self.healthy and patch.lesion_class not in PLAQUES:
            self._show_beside()
        return self.drawn - self._shift

    def _show_beside(self) -> None:
        """Beyond its organ a tumour shows as far as the blur goes; networks know what lies there by the organ's HU."""
        patch, own = self._patch, self._settings
        organ = [value for value, name in patch.legend.items() if name == home(patch.lesion_class)]
        beside = self._hole & ~patch.mask & ~np.isin(patch.others, organ)
        sigma = halo_mm(patch.lesion_class, 0.0, own.halo_mm, patch.spacing_mm) / HALO_SIGMAS
        soft, mean = weights(patch.mask, sigma, patch.spacing_mm)[beside], np.float32(self.drawn[patch.mask].mean())
        self.drawn[beside] = self._hu[beside] + soft * (mean - self._hu[beside])


def scan_grain(patch: Patch, hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The grain of flat tissue beside a lesion, where the hole is."""
    flat = ~edges(patch.hu, patch.spacing_mm, 1.0) & ~hole
    fine = grain(patch.hu, patch.spacing_mm, voxel_grain_mm(patch.spacing_mm))
    out = borrowed(fine, flat, hole)
    lent = float(out[hole].std()) if hole.any() else 0.0
    # As strong as all flat tissue's: the piece that was lent may happen to be of more or of less.
    return out * np.float32(float(fine[flat].std()) / lent) if lent else out


def _check_spacing(found: Sequence[float], fitted: Sequence[float]) -> None:
    if any(abs(a / b - 1) > SPACING_TOLERANCE for a, b in zip(found, fitted, strict=True)):
        given, wanted = (" x ".join(f"{v:.3g}" for v in edges) for edges in (found, fitted))
        option = ",".join(f"{v:.3g}" for v in fitted)
        raise BadCase(
            f"voxels are {given} mm, the model was fitted on {wanted} mm: give the source the option "
            f"spacing_mm=[{option}]"
        )
