"""Pictures of a stenosis sample for people: the frame, and every drawn lesion before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Panel

ZOOM = 3
BORDER = 170  # of a box: a 170th of the frame, or it is not seen in a small picture
HALF = 40  # px of the frame to either side of a lesion


def panels(fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    """See ``Generator.panels``. A layer called ``before`` puts a slider into the gallery."""
    after = np.asarray(fields["image.png"], np.uint8)
    before = fields.get("source.png")
    mask, source_mask = fields["mask.png"], fields["source_mask.png"]
    drawn = [lesion for lesion in meta["lesions"] if lesion["synthetic"]]
    frame = {"after": after}
    for kind in ("drawn", "real"):
        if boxes := [lesion["box"] for lesion in meta["lesions"] if lesion["synthetic"] == (kind == "drawn")]:
            frame[f"{kind} boxes"] = marks = np.zeros_like(after)
            for box in boxes:
                _frame(marks, box)
    frame["vessel"] = _outline(mask)
    if before is not None:
        frame |= {"before": np.asarray(before, np.uint8), "before vessel": _outline(source_mask)}
    out = [Panel("frame, all lesions", frame)]
    for n, lesion in enumerate(drawn):
        window = _window(lesion["mld_xy"], after.shape)
        name = f"lesion {n + 1}" if len(drawn) > 1 else "lesion"
        layers = {"after": _zoom(after[window]), "walls": _walls(mask, window)}
        if before is not None:
            crop = _zoom(np.asarray(before, np.uint8)[window])
            layers |= {"before": crop, "before walls": _walls(source_mask, window)}
        requested, measured = (f"{lesion[key]:.0f} %" for key in ("requested_ds", "measured_ds"))
        out.append(Panel(f"{name}: {measured} stenosis ({requested} requested)", layers))
        masks = {"mask": mask, "before": source_mask}
        out.append(Panel(f"{name}: mask", {k: _zoom(np.asarray(m, np.uint8)[window]) for k, m in masks.items()}))
    return out


def _window(centre: list[float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    x, y = (int(v) for v in centre)
    return slice(max(0, y - HALF), min(shape[0], y + HALF)), slice(max(0, x - HALF), min(shape[1], x + HALF))


def _zoom(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)


def _walls(mask: NDArray[np.uint8], window: tuple[slice, slice]) -> NDArray[np.uint8]:
    return _outline(_zoom(np.asarray(mask, np.uint8)[window]))


def _outline(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of a mask that touch its outside."""
    inside = np.pad(np.asarray(mask) > 0, 1, mode="edge")  # where the picture cuts it is no border
    core = inside[1:-1, 1:-1]
    inner = core & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return (core & ~inner).astype(np.uint8) * np.uint8(255)


def _frame(marks: NDArray[np.uint8], box: list[float]) -> None:
    """Draw a box's border just outside it, as far as it lies in the picture."""
    wide = max(1, round(max(marks.shape) / BORDER))
    x0, y0 = (max(0, int(v) - wide) for v in box[:2])
    x1, y1 = (max(0, int(np.ceil(v)) + wide) for v in box[2:])
    inside = marks[y0 + wide : y1 - wide, x0 + wide : x1 - wide].copy()  # it may hold another lesion's
    marks[y0:y1, x0:x1] = 255
    marks[y0 + wide : y1 - wide, x0 + wide : x1 - wide] = inside
