"""Sample sheets: what a model makes of a few held-out items, to be looked at while it is being trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 4  # px between pictures
LEAST_PX = 96  # a cube's side in the picture


def write(file: Path, rows: Sequence[NDArray[np.uint8]]) -> None:
    """A picture with a column for each item and a row for each kind of picture.

    Args:
        file: to write.
        rows: pictures (items, h, w).
    """
    framed = [np.pad(pictures, ((0, 0), (0, GAP), (0, GAP)), constant_values=255) for pictures in rows]
    Image.fromarray(np.vstack([np.hstack(list(pictures)) for pictures in framed])).save(file)


def write_volumes(file: Path, rows: Mapping[str, Any], hole: Any) -> None:
    """The same of volumes, in the slice with most of the hole, enlarged, the hole's border in white.

    Args:
        file: to write.
        rows: name to volumes, tensors (n, 1, f, h, w), -1 ... 1.
        hole: tensor (n, 1, f, h, w), 0 or 1; where it is empty the middle slice is shown.
    """
    free = hole[:, 0].cpu().numpy() > 0
    at = [int(one.sum((1, 2)).argmax()) if one.any() else len(one) // 2 for one in free]
    pictures = []
    for volumes in rows.values():
        cut = [volume[a] for volume, a in zip(volumes[:, 0].float().cpu().numpy(), at, strict=True)]
        pictures.append(np.stack([_outlined(_grey(p), one[a]) for p, one, a in zip(cut, free, at, strict=True)]))
    write(file, pictures)


def _grey(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Axial slice (i, j) as readers see it: the patient's left on the right, the front above."""
    grey: NDArray[np.uint8] = np.clip((plane.T + 1) * 127.5, 0, 255).astype(np.uint8)
    return grey


def _outlined(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    times = -(-LEAST_PX // picture.shape[0])
    big, inside = (np.kron(a, np.ones((times, times), np.uint8)) for a in (picture, hole.T.astype(np.uint8)))
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    big[(inside > 0) & (core == 0)] = 255
    return big
