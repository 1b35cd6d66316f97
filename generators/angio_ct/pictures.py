"""The same plaque in CT and in the angiograms, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.lesion import pictures
from lesionforge.generators.types import Panel, array_member

LINE = 3  # px, of a box in 512
CLOSE = 0.75  # longer edges of the box that a close-up reaches from its minimum
LEAST_PX = 28  # of that


def panels(fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    """See ``Generator.panels``: the first plaque axial and along its vessel, then every view, whole and close up."""
    first = {**meta, "lesions": meta["lesions"][:1]}
    out = pictures.panels(fields, first)
    for number in range(len(meta["views"])):
        out += _view(number, fields, first)
    return out


def _view(number: int, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    record = {key: value for key, value in meta["views"][number].items() if key != "name"}
    view, name = View.from_json(record), meta["views"][number]["name"]
    image = fields.get(f"view{number}.png")
    image = _grey(fields[f"view{number}.npy"]) if image is None else np.asarray(image, np.uint8)
    lesion = meta["lesions"][0] if meta["lesions"] else {}
    if not lesion.get("projections"):
        return [Panel(name, {"angiogram": image})]
    shown = lesion["projections"][number]
    whole = Panel(name, {"angiogram": image, "box": _frame(shown["box"], image.shape)})
    if not shown["visible"]:
        return [whole]
    x, y = (int(v) for v in shown["mld_xy"])
    x0, y0, x1, y1 = shown["box"]
    reach = int(max(CLOSE * max(x1 - x0, y1 - y0), LEAST_PX))
    near = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
    plaque = _plaque(fields[array_member("label", fields) or "label"], lesion, meta, view)[near]
    text = f"{name}, close up: {lesion['measured_ds']:.0f} % stenosis"
    return [whole, Panel(text, {"angiogram": image[near], "lesions": plaque})]


def _plaque(label: NDArray[Any], lesion: Mapping[str, Any], meta: Mapping[str, Any], view: View) -> NDArray[np.uint8]:
    """The plaque's outline as the view would see it, from its voxels in CT."""
    i0, j0, k0, i1, j1, k1 = lesion["box"]
    voxels = np.argwhere(label[i0:i1, j0:j1, k0:k1] == lesion["label"]) + np.array([i0, j0, k0])
    thirds = np.stack(np.meshgrid(*[[-1 / 3, 0, 1 / 3]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = ((voxels[:, None] + thirds) * meta["spacing_mm"]).reshape(-1, 3)
    points += np.array(meta["origin_lps_mm"]) - meta["isocentre_lps_mm"]
    points = points[view.sees(points)]
    row, col = np.floor(view.project(points) + 0.5).astype(int).T
    mask = np.zeros((view.rows, view.cols), bool)
    mask[row, col] = True
    mask = scipy.ndimage.binary_closing(np.pad(mask, 4), iterations=2)[4:-4, 4:-4]
    return np.asarray((mask & ~scipy.ndimage.binary_erosion(mask)) * 255, np.uint8)


def _frame(box: list[float] | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The box as a frame just outside it."""
    mask = np.zeros(shape, np.uint8)
    if box is not None:
        width = max(1, round(LINE * shape[0] / 512))
        x0, y0 = (max(0, int(np.floor(v)) - width) for v in box[:2])
        x1, y1 = (int(np.ceil(v)) + width for v in box[2:])
        mask[y0:y1, x0:x1] = 255
        mask[y0 + width : y1 - width, x0 + width : x1 - width] = 0
    return mask


def _grey(integral: NDArray[Any]) -> NDArray[np.uint8]:
    """Vessels dark on light, as angiograms are shown."""
    return np.asarray(np.rint(230 * np.exp(-0.25 * integral.astype(np.float64))), np.uint8)
