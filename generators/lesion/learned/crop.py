"""Cubes around lesions, as the networks see them: volumes (f, h, w), f to the head, HU from -1 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.diffusion.batches import placed
from lesionforge.generators.lesion.blend import near
from lesionforge.generators.lesion.classes import CLASSES, home
from lesionforge.generators.lesion.learned.settings import HEALTHY

Floats = NDArray[np.float32]
Voxel = TypeVar("Voxel", bound=np.generic)
Corner = tuple[int, int, int]
ABOUT, LARGEST = 3, 64  # voxels of background about a lesion, and of the largest box that is made at once
LEVEL_MM = 8.0  # about a lesion: where its organ or vessel is read


def unit(hu: NDArray[Any], window: tuple[float, float], bend_hu: float = 0.0) -> Floats:
    """HU as -1 ... 1, cut at the window: one window for the whole volume (Med-DDPM's own code has one per slice).

    ``bend_hu``: HU from which values grow as the logarithm does (arsinh); 0: straight.
    """
    values = hu.astype(np.float32)
    if bend_hu:
        values, window = np.arcsinh(values / np.float32(bend_hu)), bent(window, bend_hu)
    low, high = window
    out: Floats = np.clip((values - np.float32(low)) * np.float32(2 / (high - low)) - 1, -1, 1)
    return out


def hounsfield(values: Floats, window: tuple[float, float], bend_hu: float = 0.0) -> Floats:
    """The HU of values -1 ... 1."""
    low, high = bent(window, bend_hu) if bend_hu else window
    out = (values + 1) * np.float32((high - low) / 2) + np.float32(low)
    return (np.sinh(out) * np.float32(bend_hu) if bend_hu else out).astype(np.float32)


def bent(window: tuple[float, float], bend_hu: float) -> tuple[float, float]:
    """A window's edges where values grow as the arsinh does."""
    low, high = np.arcsinh(np.array(window) / bend_hu).tolist()
    return low, high


@dataclass(frozen=True)
class Cube:
    """A cube of a volume by first voxel and side, or a box by its edges. Beyond the volume, its border is repeated."""

    corner: Corner
    side: int | Corner

    @property
    def edges(self) -> Corner:
        """Voxels along each axis."""
        return (self.side,) * 3 if isinstance(self.side, int) else self.side

    def cut(self, volume: NDArray[Voxel]) -> NDArray[Voxel]:
        """The box's voxels."""
        return volume[np.ix_(*self._rows(volume.shape))]

    def cut_part(self, part: NDArray[np.bool_], start: Sequence[int], shape: Sequence[int]) -> NDArray[np.bool_]:
        """The box's voxels of a mask that is known from a voxel ``start`` of a volume on, and empty elsewhere."""
        rows = [r - s for r, s in zip(self._rows(shape), start, strict=True)]
        known = [(r >= 0) & (r < n) for r, n in zip(rows, part.shape, strict=True)]
        out: NDArray[np.bool_] = part[np.ix_(*(np.where(k, r, 0) for r, k in zip(rows, known, strict=True)))]
        return np.asarray(out & known[0][:, None, None] & known[1][:, None] & known[2])

    def _rows(self, shape: Sequence[int]) -> list[NDArray[np.int64]]:
        given = zip(self.corner, self.edges, shape, strict=True)
        return [np.clip(np.arange(c, c + e), 0, n - 1) for c, e, n in given]

    def inside(self, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where box and volume overlap: slices of the volume, and of the box."""
        first = [max(c, 0) for c in self.corner]
        last = [min(c + e, n) for c, e, n in zip(self.corner, self.edges, shape, strict=True)]
        own = [slice(a - c, b - c) for a, b, c in zip(first, last, self.corner, strict=True)]
        return tuple(slice(a, b) for a, b in zip(first, last, strict=True)), tuple(own)


def cubes(mask: NDArray[np.bool_], side: int, multiple: int = 0) -> Iterator[Cube]:
    """Cubes that cover a lesion with an eighth of their side around it: one where it fits, else overlapping ones.

    They stay inside the volume where it is large enough.

    Args:
        mask: what is to be covered.
        side: of the cubes.
        multiple: where it is given, boxes are as large as the lesion needs, ``side`` at least and ``LARGEST`` at most,
            of edges that are multiples of it.
    """
    if not mask.any():
        return
    starts: list[list[int]] = []
    edges: list[int] = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        low, extent = int(hit[0]), int(hit[-1] - hit[0] + 1)
        edge = side
        if multiple:
            edge = min(max(side, -(-(extent + 2 * ABOUT) // multiple) * multiple), LARGEST)
        margin = ABOUT if multiple else edge // 8
        stride = edge - 2 * margin
        count = -(-extent // stride)
        first = low - margin if count > 1 else low - (edge - extent) // 2
        starts.append([placed(first + n * stride, edge, mask.shape[axis]) for n in range(count)])
        edges.append(edge)
    for corner in product(*starts):
        yield Cube((corner[0], corner[1], corner[2]), (edges[0], edges[1], edges[2]))


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
    lesions = [value for value, name in legend.items() if name in CLASSES[1:] or name.endswith("_tumour")]
    out: NDArray[np.bool_] = near(mask, halo_mm, spacing_mm) & (mask | ~np.isin(labels, lesions))
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


def level(
    hu: NDArray[Any], labels: NDArray[np.uint8], legend: Mapping[int, str], hole: NDArray[np.bool_], lesion: str
) -> float | None:
    """Median HU of the organ or vessel that a lesion lies in, outside of the hole; None where it does not show."""
    own = np.isin(labels, [value for value, name in legend.items() if name == home(lesion)]) & ~hole
    return float(np.median(hu[own])) if own.any() else None


def views(
    hu: NDArray[Any],
    hole: NDArray[np.bool_],
    region: NDArray[np.uint8],
    lesion: int,
    window: tuple[float, float],
    bend_hu: float = 0.0,
    level_hu: float | None = None,
) -> dict[str, Any]:
    """A cube as the networks see it; ``level_hu``: what fills the hole, None: the middle of the window.

    ``image`` float32 (1, f, h, w), -1 ... 1; ``shown``, the same with that in the hole: hidden in the image, before the
    encoder, whose receptive field would carry the lesion into the latents around it; ``hole``
    float32 (1, f, h, w), 0 or 1; ``regions`` uint8 (classes, f, h, w); ``lesion`` the class's number; ``drop`` whether
    the prompt is taken away.
    """
    image, free = (np.moveaxis(a, -1, 0)[None] for a in (unit(hu, window, bend_hu), hole))
    filling = np.float32(0) if level_hu is None else unit(np.array(level_hu), window, bend_hu)
    return {
        "image": np.ascontiguousarray(image),
        "shown": np.where(free, filling, image).astype(np.float32),
        "hole": free.astype(np.float32),
        "regions": np.ascontiguousarray(np.moveaxis(region, -1, 1)),
        "lesion": np.int64(lesion),
        "drop": np.bool_(False),
    }


def wish(mean_hu: float, core: NDArray[np.bool_], soft: Floats) -> dict[str, Any]:
    """What is asked for of a lesion: ``asked``, HU on average where ``core``, by changing it where ``soft`` is not 0.

    As ``views``; float32, ``core`` 0 or 1, ``soft`` the lesion's share of each voxel.
    """
    seen, share = (np.ascontiguousarray(np.moveaxis(a, -1, 0)[None], np.float32) for a in (core, soft))
    return {"asked": np.float32(mean_hu), "core": seen, "soft": share}


def upright(cube: Floats) -> Floats:
    """A drawn cube (1, f, h, w) back in the patient's axes (i, j, k)."""
    return np.moveaxis(cube[0], 0, -1)
