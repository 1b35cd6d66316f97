"""Cubes around lesions, as the networks see them: volumes (f, h, w), f to the head, HU from -1 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.diffusion.batches import placed
from lesionforge.generators.lesion.classes import CLASSES
from lesionforge.generators.lesion.learned.settings import HEALTHY

Floats = NDArray[np.float32]
Voxel = TypeVar("Voxel", bound=np.generic)
Corner = tuple[int, int, int]


def unit(hu: NDArray[Any], window: tuple[float, float]) -> Floats:
    """HU as -1 ... 1, cut at the window: one window for the whole volume (Med-DDPM's own code has one per slice)."""
    low, high = window
    out: Floats = np.clip((hu.astype(np.float32) - np.float32(low)) * np.float32(2 / (high - low)) - 1, -1, 1)
    return out


def hounsfield(values: Floats, window: tuple[float, float]) -> Floats:
    """The HU of values -1 ... 1."""
    low, high = window
    return ((values + 1) * np.float32((high - low) / 2) + np.float32(low)).astype(np.float32)


@dataclass(frozen=True)
class Cube:
    """A cube of a volume, by its first voxel and side. It may reach beyond the volume, whose border is repeated."""

    corner: Corner
    side: int

    def cut(self, volume: NDArray[Voxel]) -> NDArray[Voxel]:
        """The cube's voxels (side, side, side)."""
        at = [np.clip(np.arange(c, c + self.side), 0, n - 1) for c, n in zip(self.corner, volume.shape, strict=True)]
        return volume[np.ix_(*at)]

    def inside(self, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where cube and volume overlap: slices of the volume, and of the cube."""
        first = [max(c, 0) for c in self.corner]
        last = [min(c + self.side, n) for c, n in zip(self.corner, shape, strict=True)]
        own = [slice(a - c, b - c) for a, b, c in zip(first, last, self.corner, strict=True)]
        return tuple(slice(a, b) for a, b in zip(first, last, strict=True)), tuple(own)


def cubes(mask: NDArray[np.bool_], side: int) -> Iterator[Cube]:
    """Cubes that cover a lesion with an eighth of their side around it: one where it fits, else overlapping ones.

    They stay inside the volume where it is large enough.
    """
    if not mask.any():
        return
    margin = side // 8
    stride = side - 2 * margin
    starts: list[list[int]] = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        low, extent = int(hit[0]), int(hit[-1] - hit[0] + 1)
        count = -(-extent // stride)
        first = low - margin if count > 1 else low - (side - extent) // 2
        starts.append([placed(first + n * stride, side, mask.shape[axis]) for n in range(count)])
    for corner in product(*starts):
        yield Cube((corner[0], corner[1], corner[2]), side)


def hidden(
    mask: NDArray[np.bool_],
    labels: NDArray[np.uint8],
    legend: Mapping[int, str],
    halo_mm: float,
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.bool_]:
    """What the networks do not see of a lesion, and make: its mask and its halo. Other lesions stay as they are.

    Args:
        mask: of the lesion.
        labels, legend: as the mask, of everything.
        halo_mm: from its voxels' middles, see ``blend.halo_mm``.
        spacing_mm: of the voxels.
    """
    if not mask.any():
        return mask
    near = ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= halo_mm + 1e-6
    lesions = [value for value, name in legend.items() if name in CLASSES[1:] or name.endswith("_tumour")]
    out: NDArray[np.bool_] = near & (mask | ~np.isin(labels, lesions))
    return out


def regions(
    labels: NDArray[np.uint8], legend: Mapping[int, str], mask: NDArray[np.bool_], lesion: str, classes: Sequence[str]
) -> NDArray[np.uint8]:
    """The multi-class mask (classes, ...), 0 or 1: in place of ``healthy``, whatever else is labelled.

    Args:
        labels, legend: of the cube; values named by one of the classes are lesions of it.
        mask: of the lesion in hand.
        lesion: its class.
        classes: of the model.
    """
    out = np.zeros((len(classes), *labels.shape), np.uint8)
    for value, name in legend.items():
        if value:
            out[classes.index(name) if name in classes[1:] else 0][labels == value] = 1
    out[:, mask] = 0
    if lesion != HEALTHY:
        out[classes.index(lesion)][mask] = 1
    return out


def views(
    hu: NDArray[Any], hole: NDArray[np.bool_], region: NDArray[np.uint8], lesion: int, window: tuple[float, float]
) -> dict[str, Any]:
    """A cube as the networks see it.

    ``image`` float32 (1, f, h, w), -1 ... 1; ``shown``, the same with 0 in the hole: hidden in the image, before the
    encoder, whose receptive field would carry the lesion into the latents around it; ``hole``
    float32 (1, f, h, w), 0 or 1; ``regions`` uint8 (classes, f, h, w); ``lesion`` the class's number; ``drop`` whether
    the prompt is taken away.
    """
    image, free = (np.moveaxis(a, -1, 0)[None] for a in (unit(hu, window), hole))
    return {
        "image": np.ascontiguousarray(image),
        "shown": np.where(free, np.float32(0), image),
        "hole": free.astype(np.float32),
        "regions": np.ascontiguousarray(np.moveaxis(region, -1, 1)),
        "lesion": np.int64(lesion),
        "drop": np.bool_(False),
    }


def upright(cube: Floats) -> Floats:
    """A drawn cube (1, f, h, w) back in the patient's axes (i, j, k)."""
    return np.moveaxis(cube[0], 0, -1)
