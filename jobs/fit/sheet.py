"""Sample sheets: what the model makes of a few held-out crops, to be looked at while it is being fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.generators.stenosis.diffusion.crop import PixelBox, paste
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler, uint8

GAP = 4


def fill(model: StenosisModel, sampler: StenosisSampler, batch: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Crops (n, side, side) whose boxes the model has filled, pasted as the editor does."""
    made = uint8(sampler(model, batch))
    out = uint8(batch["image"])
    for source, new, hole in zip(out, made, batch["hole"][:, 0].cpu().numpy() > 0, strict=True):
        x0, y0, x1, y1 = box = _bounds(hole)
        source[y0:y1, x0:x1] = paste(source, new, box)
    return out


def write(file: Path, batch: Mapping[str, Any], made: NDArray[np.uint8]) -> None:
    """A picture with a column for each crop: as it is, with its box hidden, its mask, and as made."""
    real = uint8(batch["image"])
    hidden = np.where(batch["hole"][:, 0].cpu().numpy() > 0, np.uint8(0), real)
    mask = (batch["mask"][:, 0].cpu().numpy() * 255).astype(np.uint8)
    rows = []
    for images in (real, hidden, mask, made):
        framed = np.pad(images, ((0, 0), (0, GAP), (0, GAP)), constant_values=255)
        rows.append(np.hstack(list(framed)))
    Image.fromarray(np.vstack(rows)).save(file)


def _bounds(hole: NDArray[np.bool_]) -> PixelBox:
    rows, cols = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
