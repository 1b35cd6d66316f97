"""Cubes to fit lesion models on, cut, flipped and turned where the model is: only their places come from the loaders.

The cubes are those of ``jobs.fit.cubes.Cubes`` to the bit, but for the noise, which is drawn on the device as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lesionforge.generators.lesion.learned.crop import Cube, unit
from lesionforge.jobs.fit.cubes import Cubes
from lesionforge.jobs.fit.volumes import Lesion, Volume

GONE = -(2**60)  # of an offset outside of what is known: no sum of three is 0 or more with one of them
MASK, HOLE = 1, 2  # bits
HU = np.arange(-(2**15), 2**15)  # all that a volume can hold


class Known(list[Volume]):
    """Volumes in memory, as ``Cubes`` asks for them; their lesions are found already."""

    @property
    def spacings_mm(self) -> dict[str, tuple[float, float, float]]:
        found = ((volume, one) for volume in self for some in volume._found.values() for one in some)
        return {one.kind: volume.spacing_mm for volume, one in found}


class Places(Cubes):
    """Where the voxels of cubes lie in a ``Cutter``'s volumes, end to end: sums of an offset along each axis."""

    def __init__(self, volumes: Known, key: str, *, levels: int = 0, halo_mm: float, **given: Any) -> None:
        noise = ((), levels) if levels else None  # its place in the stream; the cutter draws its own
        super().__init__(volumes, key, halo_mm=halo_mm, noise=noise, **given)
        sizes = [volume.hu.size for volume in volumes]
        self._first = dict(zip(map(id, volumes), np.cumsum([0, *sizes]).tolist(), strict=False))
        lesions = [one for volume in volumes for one in volume.lesions(self._classes, halo_mm)]
        ends = np.cumsum([0, *(one.mask.size for one in lesions)]).tolist()
        self._first |= dict(zip((id(one.mask) for one in lesions), ends, strict=False))

    def __getitem__(self, number: int) -> dict[str, Any]:
        item = super().__getitem__(number)
        item.pop("noise", None)
        out = {name: value for name, value in item.items() if np.ndim(value) < 4}
        for name in ("at", "of"):
            axes = {int(np.argmax(a.shape)): a.ravel() for key, a in item.items() if key.startswith(f"{name} ")}
            out[name] = np.stack([axes[axis] for axis in (1, 2, 3)])
        return out

    def _views(self, volume: Volume, cube: Cube, lesion: Lesion | None) -> dict[str, Any]:
        """Offsets as (1, f, 1, 1), (1, 1, h, 1) and (1, 1, 1, w): flipped and turned as the voxels would be."""
        rows = cube._rows(volume.hu.shape)
        of = [np.full(len(r), GONE) for r in rows]
        if lesion:
            inner = [r - s for r, s in zip(rows, lesion.start, strict=True)]
            known = [(r >= 0) & (r < n) for r, n in zip(inner, lesion.mask.shape, strict=True)]
            offsets = _offsets(inner, lesion.mask.shape, self._first[id(lesion.mask)])
            of = [np.where(k, o, GONE) for k, o in zip(known, offsets, strict=True)]
        at = _offsets(rows, volume.hu.shape, self._first[id(volume)])
        level = unit(np.array(lesion.level), self._window, self._bend_hu) if lesion and self._level else 0
        out: dict[str, Any] = {
            "lesion": np.int64(self._classes.index(lesion.kind) if lesion else 0),
            "filling": np.float32(level),
        }
        for name, offsets in (("at", at), ("of", of)):
            for axis, own in enumerate((offsets[2], offsets[0], offsets[1]), 1):  # (f, h, w) of (i, j, k)
                out[f"{name} {axis}"] = own.reshape([-1 if a == axis else 1 for a in range(4)])
        return out


def _offsets(rows: Sequence[Any], shape: Sequence[int], first: int) -> list[Any]:
    """Along each axis of an array that begins at ``first``."""
    i, j, k = rows
    return [i * (shape[1] * shape[2]) + first, j * shape[2], k]


class Cutter:
    """Volumes on the device, and batches of ``crop.views`` from them.

    Args:
        volumes: the same as those of the places, in the same order.
        device: torch device string.
        classes, halo_mm, window, bend_hu: as of ``Cubes``.
        noise: shape of the noise; None for an autoencoder.
    """

    def __init__(
        self,
        volumes: Known,
        device: str,
        *,
        classes: Sequence[str],
        halo_mm: float,
        window: tuple[float, float],
        bend_hu: float,
        noise: tuple[int, ...] | None = None,
    ) -> None:
        def there(parts: Sequence[Any]) -> torch.Tensor:
            return torch.from_numpy(np.concatenate([part.ravel() for part in parts])).to(device)

        lesions = [one for volume in volumes for one in volume.lesions(tuple(classes), halo_mm)]
        self._hu = there([volume.hu for volume in volumes])
        self._kinds = there([_kinds(volume, classes) for volume in volumes])
        self._hidden = there([MASK * one.mask + HOLE * one.hole.astype(np.uint8) for one in lesions])
        self._unit = there([unit(HU, window, bend_hu)])  # what the loader's CPU would have
        self._classes = torch.arange(len(classes), device=device)[None, :, None, None, None]
        self._noise = noise
        self.random = torch.Generator(device)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Of stacked places on the device."""
        rest = {name: value for name, value in batch.items() if name not in ("at", "of", "filling")}
        at, of = _sum(batch["at"]), _sum(batch["of"])
        image = self._unit[self._hu[at].long() - int(HU[0])][:, None]
        hidden = self._hidden[of.clamp(min=0)] * (of >= 0)
        mask, hole = ((hidden & bit)[:, None] > 0 for bit in (MASK, HOLE))
        kind = batch["lesion"][:, None, None, None, None]
        regions = (self._kinds[at][:, None] == self._classes + 1) & ~mask | mask & (kind == self._classes) & (kind > 0)
        filling = batch["filling"][:, None, None, None, None]
        out = {"image": image, "shown": torch.where(hole, filling, image), "hole": hole.float()}
        out |= {"regions": regions.to(torch.uint8), **rest}
        if self._noise is not None:
            out["noise"] = torch.randn(len(at), *self._noise, generator=self.random, device=at.device)
        return out


def _sum(offsets: torch.Tensor) -> torch.Tensor:
    """(n, 3, side) to (n, side, side, side)."""
    f, h, w = offsets.unbind(1)
    return f[:, :, None, None] + h[:, None, :, None] + w[:, None, None, :]


def _kinds(volume: Volume, classes: Sequence[str]) -> Any:
    """Of each voxel, 1 + the channel of ``crop.regions`` that it belongs to, 0: none."""
    table = np.zeros(256, np.uint8)
    for value, name in volume.legend.items():
        if value:
            table[value] = 1 + (list(classes).index(name) if name in classes[1:] else 0)
    return table[volume.labels]
