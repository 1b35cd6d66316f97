"""The ``texture`` backend: SynTumor's recipe for tumours, its counterpart for plaques. No weights.

Tumours (Hu et al. 2023): the background minus texture x delta. The texture is blurred coin tosses whose odds are
themselves blurred noise. Theirs comes from a bank of ten volumes and a fixed seed in every worker, which repeats
lesions; here every lesion has its own. Plaques: tissue of one mean HU (calcium denser at its heart; mixed plaque with
nodules of it) under the grain of the scan; calcium blooms because the caller blends it with the scanner's blur.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import (
    DELTA_HU,
    LEVEL,
    MIXED_HU,
    PLAQUE_HU,
    PLAQUES,
    VALUE,
    calcium_scale,
    home,
)
from lesionforge.generators.lesion.filler import Filler, Patch
from lesionforge.generators.lesion.grain import EDGE_MM, borrowed, edges, grain, within

COARSE_MM, FINE_MM = (3.0, 6.0, 9.0, 12.0, 15.0), (4.0, 7.0)  # the bank's sigmas, of 1 mm voxels
SCALE, BASE, FLOOR = (0.19, 0.21), (0.04, 0.06), 0.12
OUTLIER = 3.0  # standard deviations of an organ's noise
CAPSULE_MM, CAPSULE_HU = 1.5, (60.0, 110.0)
NECROSIS_MM, LEAST_HU = 1.0, 12.0  # sigma of dead tissue's edge; least of what the texture takes away
PSF_MM = 0.35  # sigma of the scanner's blur inside a plaque
CAP_MM, CAP = 1.2, 3.0  # of soft tissue between lumen and calcium of mixed plaque; how rarely calcium lies there
CALCIUM_SHARE, HALVINGS = 0.8, 7  # of a mixed plaque at most; steps in which it is found
DENSER = (0.7, 1.3)  # times its HU that calcium may have, where a few voxels cannot have the share that is asked for
TEXTURE_MM = {"calcified": 0.6, "mixed": 1.0}  # sigma of a plaque's own texture; of others 0.8

T = TypeVar("T")
Floats = NDArray[np.float32]


class TextureFiller(Filler):
    """The ``texture`` backend."""

    heeds_hu = True

    def __init__(self, capsule: float = 0.0) -> None:
        """``capsule``: share of tumours that get a brighter rim."""
        self.capsule = capsule

    def fill(self, patches: Sequence[Patch], rngs: Sequence[np.random.Generator]) -> list[Floats]:
        """See ``Filler``."""
        return [self._one(patch, rng) for patch, rng in zip(patches, rngs, strict=True)]

    def _one(self, patch: Patch, rng: np.random.Generator) -> Floats:
        if patch.lesion_class == "healthy" or not patch.mask.any():
            return patch.hu
        if patch.lesion_class in PLAQUES:
            return _plaque(patch, rng)
        return self._tumour(patch, rng)

    def _tumour(self, patch: Patch, rng: np.random.Generator) -> Floats:
        pattern, delta, chance, rim_hu = _once(patch, rng, lambda: _tumour_noise(patch, rng))
        if "organ" not in patch.memo:
            patch.memo["organ"] = _organ_everywhere(patch)
        base: Floats = patch.memo["organ"]
        out = base - pattern * np.float32(delta) if patch.mean_hu is None else _to_mean(patch, base, pattern)
        if chance < self.capsule:
            if "rim" not in patch.memo:
                depth = scipy.ndimage.distance_transform_edt(patch.mask, sampling=patch.spacing_mm)
                patch.memo["rim"] = patch.mask & (depth <= CAPSULE_MM)
            out += np.float32(rim_hu) * patch.memo["rim"]
        return np.asarray(out, np.float32)


def _to_mean(patch: Patch, base: Floats, pattern: Floats) -> Floats:
    """The organ less a texture, shifted and with dead tissue so that the core has the mean that is asked for.

    Where tumour and organ are about as dense, the texture keeps a strength of its own.
    """
    assert patch.mean_hu is not None
    core = patch.mask if patch.core is None else patch.core
    level = float(base[core].mean())
    gone = (level - patch.mean_hu) / LEVEL[0]
    most = DELTA_HU[0] if patch.necrosis else DELTA_HU[1]
    strength = math.copysign(float(np.clip(abs(gone), LEAST_HU, most)), gone)
    solid = base - np.float32(strength) * pattern
    if not patch.necrosis:
        return np.asarray(solid + np.float32(patch.mean_hu - float(solid[core].mean())), np.float32)
    depth = scipy.ndimage.distance_transform_edt(patch.mask, sampling=patch.spacing_mm)
    soft = depth / max(float(depth.max()), 1e-6) + 0.8 * pattern  # deep, and where the texture is thick
    inside = patch.mask & (soft >= np.quantile(soft[core], 1 - patch.necrosis.share))
    sigma = [NECROSIS_MM / s for s in patch.spacing_mm]
    dead = scipy.ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="constant")
    wet = base + np.float32(patch.necrosis.hu - level)  # with the scan's grain
    alive = 1 - dead
    missing = patch.mean_hu - float((alive * solid + dead * wet)[core].mean())
    return np.asarray(
        alive * (solid + np.float32(missing / max(float(alive[core].mean()), 0.2))) + dead * wet, np.float32
    )


def _once(patch: Patch, rng: np.random.Generator, make: Callable[[], T]) -> T:
    """What ``make`` returns, which draws from ``rng``: kept for the rounds that come with the same stream."""
    state = str(rng.bit_generator.state)
    if (kept := patch.memo.get("noise")) is None or kept[0] != state:
        kept = patch.memo["noise"] = (state, make())
    made: T = kept[1]
    return made


def _tumour_noise(patch: Patch, rng: np.random.Generator) -> tuple[Floats, float, float, float]:
    """A tumour's texture, the HU taken away where nobody asks for a mean, the chance and the HU of a rim."""
    pattern = syntumor(rng, patch.mask.shape, patch.spacing_mm, float(rng.uniform(*LEVEL)))
    return pattern, float(rng.uniform(*DELTA_HU)), float(rng.uniform()), float(rng.uniform(*CAPSULE_HU))


def syntumor(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, float, float], level: float
) -> Floats:
    """A texture of SynTumor's, float32 0 ... 1, ``level`` on average where there is any.

    Blurring takes the time, so the noise lives on voxels of 1 mm at least, as the recipe's, and is interpolated.
    """
    grid = [max(1.0, s) for s in spacing]
    coarse = [math.ceil((n - 1) * s / g) + 2 for n, s, g in zip(shape, spacing, grid, strict=True)]
    wide, narrow = float(rng.choice(COARSE_MM)), float(rng.choice(FINE_MM))
    odds = scipy.ndimage.gaussian_filter(
        rng.random(coarse, np.float32), [wide / g for g in grid], mode="wrap", truncate=3
    )
    odds = (odds - odds.min()) / max(float(np.ptp(odds)), 1e-6)
    odds = float(rng.uniform(*BASE)) + float(rng.uniform(*SCALE)) * odds
    tossed = (rng.random(coarse, np.float32) < odds).astype(np.float32)
    spots = scipy.ndimage.gaussian_filter(tossed, [narrow / g for g in grid], mode="wrap", truncate=3)
    # The recipe scales by the mean where there is more than FLOOR; a small patch may hold nothing above it.
    bright = spots[spots > FLOOR]
    spots = np.clip(spots * (level / max(float(bright.mean() if len(bright) else spots.mean()), 1e-6)), 0, 1)
    return _enlarge(spots, shape, spacing, grid)


def _organ_everywhere(patch: Patch) -> Floats:
    """The background; where it is not the organ's own tissue, the organ's level and its grain.

    Tumours displace the fat and the vessels that SynTumor's show through: what lies outside of the organ or as far
    off its level as its noise never is, and the blur of its edge.
    """
    organ = patch.others == VALUE[home(patch.lesion_class)]
    if not organ.any():
        return patch.hu
    level = np.median(patch.hu[organ])
    off = np.abs(patch.hu - level)
    tissue = organ & (off <= OUTLIER * 1.4826 * np.median(off[organ]))
    wrong = patch.mask & ~tissue
    if not wrong.any():
        return patch.hu
    tissue &= ~within(wrong, EDGE_MM, patch.spacing_mm)
    filled = np.where(tissue, patch.hu, np.float32(level)).astype(np.float32)
    # Other tissue has the scan's grain as well, but for its edges.
    flat = tissue | ~edges(patch.hu, patch.spacing_mm)
    fine = np.where(tissue, grain(filled, patch.spacing_mm), grain(patch.hu, patch.spacing_mm))
    fine = borrowed(fine, flat, patch.mask)
    return np.where(tissue, patch.hu, np.float32(level) + fine).astype(np.float32)


def _plaque(patch: Patch, rng: np.random.Generator) -> Floats:
    mean = patch.mean_hu
    if mean is None:
        mean = PLAQUE_HU[patch.lesion_class].draw(rng)
    noise, texture, (soft, hard), depth = _once(patch, rng, lambda: _plaque_noise(patch, rng))
    if patch.lesion_class == "calcified":
        body = np.asarray(0.2 * mean * depth, np.float32)
        body += np.float32(0.1 * mean) * texture
    elif patch.lesion_class == "mixed":
        return np.asarray(np.float32(soft) + _calcium(patch, texture, mean - soft, hard - soft) + noise, np.float32)
    else:
        body = np.float32(10) * texture
    body -= np.float32(body[patch.mask].mean())
    return np.asarray(np.float32(mean) + body + noise, np.float32)


def _calcium(patch: Patch, texture: Floats, mean: float, hard: float) -> Floats:
    """The nodules of calcium in a mixed plaque: as many as give its core the ``mean``, HU above the soft tissue.

    They are dense, so that a reader tells them from the lumen: calcium of the lumen's own HU would look like lumen.
    """
    (box,) = scipy.ndimage.find_objects(patch.mask.view(np.uint8))
    reach = [int(4 * PSF_MM / s) + 1 for s in patch.spacing_mm]
    near = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(box, reach, strict=True))
    mask, texture = patch.mask[near], texture[near]
    core = mask if patch.core is None else patch.core[near]
    inside, low, high = texture[mask], 0.0, CALCIUM_SHARE
    for _ in range(HALVINGS):
        share = (low + high) / 2
        blurred = _blurred(mask & (texture >= np.quantile(inside, 1 - share)), patch.spacing_mm)
        got = float(blurred[core].mean())
        low, high = (share, high) if hard * got < mean else (low, share)
    least, most = DENSER
    out = np.zeros(patch.mask.shape, np.float32)
    out[near] = blurred * np.float32(np.clip(mean / max(got, 1e-6), least * hard, most * hard))
    return out


def _plaque_noise(
    patch: Patch, rng: np.random.Generator
) -> tuple[Floats, Floats, tuple[float, float], NDArray[np.float64]]:
    """All of a plaque's tissue that does not depend on its mean.

    Returns:
        The scan's grain and the plaque's own texture, HU of what is soft and hard in mixed plaque, and how deep under
        the surface each voxel of calcium lies, 0 ... 1.
    """
    shape, spacing = patch.mask.shape, patch.spacing_mm
    depth, levels = np.zeros(0), (0.0, 0.0)
    if patch.lesion_class == "calcified":
        depth = scipy.ndimage.distance_transform_edt(patch.mask, sampling=spacing)
        depth /= max(float(depth.max()), 1e-6)
    texture = _unit_noise(rng, shape, spacing, TEXTURE_MM.get(patch.lesion_class, 0.8))
    if patch.lesion_class == "mixed":
        lumen = (patch.others == VALUE["coronary"]) & ~patch.mask
        scale = calcium_scale(float(np.median(patch.hu[lumen]))) if lumen.any() else 1.0
        levels = float(rng.uniform(*MIXED_HU["soft"])), scale * float(rng.uniform(*MIXED_HU["calcium"]))
        gap = scipy.ndimage.distance_transform_edt(~lumen, sampling=spacing)
        texture -= (CAP * np.clip(1 - gap / CAP_MM, 0, 1)).astype(np.float32)
    # Of the vessel itself what is fine is its shape, above all in coarse scans: there the grain is that of flat tissue.
    noise = borrowed(grain(patch.hu, spacing), ~edges(patch.hu, spacing, 1.0), patch.mask)
    return noise, texture, levels, depth


def _blurred(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> Floats:
    """As the scanner shows it."""
    out: Floats = scipy.ndimage.gaussian_filter(mask.astype(np.float32), [PSF_MM / s for s in spacing])
    return out


def _unit_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, float, float], sigma_mm: float
) -> Floats:
    noise = scipy.ndimage.gaussian_filter(
        rng.standard_normal(shape, np.float32), [sigma_mm / s for s in spacing], mode="wrap", truncate=3
    )
    unit: Floats = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    return unit


def _enlarge(coarse: Floats, shape: tuple[int, ...], spacing: tuple[float, float, float], grid: list[float]) -> Floats:
    """Linear interpolation, axis by axis, of values every ``grid`` mm at voxels every ``spacing`` mm."""
    out = coarse
    for n, s, g in zip(shape, spacing, grid, strict=True):
        at = np.arange(n) * (s / g)
        low = np.minimum(at.astype(int), out.shape[0] - 2)
        share = (at - low).astype(np.float32)[:, None, None]
        out = (1 - share) * out[low] + share * out[low + 1]
        out = np.moveaxis(out, 0, -1)
    return np.ascontiguousarray(out)
