"""Pictures of a lesion sample for people: axial slices, and plaques along their vessel, in the usual windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.lesion.classes import PLAQUES, VALUE
from lesionforge.generators.lesion.sections import curved_planar
from lesionforge.generators.lesion.vessels import STEP_MM, CtVessel, frame
from lesionforge.generators.types import Panel, array_member

CORONARY = VALUE["coronary"]
ABDOMEN = (-160.0, 240.0)  # HU shown black ... white
VESSELS = (-150.0, 750.0)  # wide enough to tell calcium from a lumen of 350 HU
HALF_MM = 45.0  # of the slice to either side of a tumour
HALF_PLAQUE_MM = 14.0
ALONG_MM = 15.0  # of the vessel to either side of a plaque
ACROSS_MM = 9.0  # to either side of the vessel
EDGE = 256  # px of a picture's longer edge, about
MAX_LESIONS = 3


def panels(fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
    """See ``Generator.panels``. A layer called ``before`` puts a slider into the gallery."""
    ct, label = (fields[array_member(stem, fields) or stem] for stem in ("ct", "label"))
    before = fields.get(array_member("source_ct", fields) or "")
    spacing = tuple(meta["spacing_mm"])
    if not meta["lesions"]:
        plaque = bool((label == CORONARY).any())
        half = HALF_PLAQUE_MM if plaque else HALF_MM
        centre = [n // 2 for n in ct.shape]
        return [_axial("healthy", ct, label, before, centre, spacing, VESSELS if plaque else ABDOMEN, half)]
    out = []
    for lesion in meta["lesions"][:MAX_LESIONS]:
        plaque = lesion["class"] in PLAQUES
        window, half = (VESSELS, HALF_PLAQUE_MM) if plaque else (ABDOMEN, HALF_MM)
        centre = [round(c) for c in lesion["centre_voxel"]]
        name = lesion["class"].replace("_", " ") + (" plaque" if plaque else " tumour")
        title = f"{name}: {_volume(lesion['measured_volume_mm3'])}, {lesion['measured_hu']:.0f} HU"
        out.append(_axial(title, ct, label, before, centre, spacing, window, half))
        if plaque:
            measured, requested = (f"{lesion[key]:.0f} %" for key in ("measured_ds", "requested_ds"))
            title = f"along the vessel: {measured} stenosis ({requested} requested)"
            out.append(_along(title, ct, label, before, lesion, meta, spacing))
    return out


def _volume(mm3: float) -> str:
    return f"{mm3:.0f} mm³" if mm3 < 1000 else f"{mm3 / 1000:.1f} ml"


def _axial(
    title: str,
    ct: NDArray[Any],
    label: NDArray[Any],
    before: NDArray[Any] | None,
    centre: list[int],
    spacing: tuple[float, ...],
    window: tuple[float, float],
    half_mm: float,
) -> Panel:
    """One slice as it is looked at: the patient's front up, the patient's left on the right."""
    reach = [int(half_mm / s) for s in spacing[:2]]
    i, j = (slice(max(0, c - r), c + r + 1) for c, r in zip(centre[:2], reach, strict=True))
    k = centre[2]
    zoom = max(1, round(EDGE / max(1, min(2 * reach[0] + 1, ct.shape[0]))))
    layers = {"after": _zoom(_grey(ct[i, j, k].T, window), zoom)}
    layers["lesions"] = _outline(_zoom(label[i, j, k].T >= 8, zoom))
    if window == VESSELS:
        layers["lumen"] = _outline(_zoom(label[i, j, k].T == CORONARY, zoom))
    else:
        layers["organ"] = _outline(_zoom(label[i, j, k].T > 0, zoom))
    if before is not None:
        layers["before"] = _zoom(_grey(before[i, j, k].T, window), zoom)
    return Panel(title, layers)


def _along(
    title: str,
    ct: NDArray[Any],
    label: NDArray[Any],
    before: NDArray[Any] | None,
    lesion: Mapping[str, Any],
    meta: Mapping[str, Any],
    spacing: tuple[float, ...],
) -> Panel:
    """The vessel straightened, cut through the plaque's thickest side; proximal to the left or right."""
    coarse = np.array(lesion["centreline_lps_mm"]) - np.array(meta["origin_lps_mm"])
    gaps = np.sqrt((np.diff(coarse, axis=0) ** 2).sum(axis=1))
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    steps = np.arange(0, along[-1], STEP_MM)
    points = np.stack([np.interp(steps, along, coarse[:, a]) for a in range(3)], axis=1)
    first, second = frame(points)
    blank = np.ones(len(points))
    middle = np.array(lesion["centre_voxel"]) * spacing
    row = int(np.argmin(((points - middle) ** 2).sum(axis=1)))
    near = slice(max(0, row - round(ALONG_MM / STEP_MM)), row + round(ALONG_MM / STEP_MM) + 1)
    points, first, second, blank = points[near], first[near], second[near], blank[near]
    row -= near.start
    vessel = CtVessel(points, blank, blank > 0, first, second)
    towards = middle - points[row]
    angle = float(np.arctan2((towards * second[row]).sum(), (towards * first[row]).sum()))
    s = (spacing[0], spacing[1], spacing[2])

    def cut(volume: NDArray[Any]) -> NDArray[np.float32]:
        return curved_planar(volume, s, vessel, angle, ACROSS_MM).T

    zoom = max(1, round(EDGE / max(1, len(points))))
    layers = {"after": _zoom(_grey(cut(ct), VESSELS), zoom)}
    layers["lesions"] = _outline(_zoom(cut(label == lesion["label"]) >= 0.5, zoom))
    layers["lumen"] = _outline(_zoom(cut(label == CORONARY) >= 0.5, zoom))
    if before is not None:
        layers["before"] = _zoom(_grey(cut(before), VESSELS), zoom)
    return Panel(title, layers)


def _grey(hu: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    return np.asarray(np.rint(np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255), np.uint8)


def _zoom(image: NDArray[Any], zoom: int) -> NDArray[Any]:
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _outline(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """The pixels of a mask that touch its outside."""
    inside = np.pad(mask, 1, mode="edge")  # where the picture cuts it is no border
    core = inside[1:-1, 1:-1]
    inner = core & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return np.asarray((core & ~inner) * 255, np.uint8)
