"""Pictures of a stenosis sample for people: the frame, and every drawn lesion before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.marks import border, edge
from lesionforge.generators.types import Panel

ZOOM = 3
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
                border(marks, box)
    frame["vessel"] = edge(np.asarray(mask) > 0)
    if before is not None:
        frame |= {"before": np.asarray(before, np.uint8), "before vessel": edge(np.asarray(source_mask) > 0)}
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
    return edge(_zoom(np.asarray(mask, np.uint8)[window]) > 0)
