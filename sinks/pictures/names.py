"""What values are called where people read them: one table of names and units, and what is of no interest to them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lesionforge.sinks.text import one_line

UNITS = {"mm": "mm", "mm2": "mm²", "mm3": "mm³", "deg": "°", "px": "px", "hu": "HU", "ml": "ml", "s": "s", "ms": "ms"}
TERMS = {term.lower(): term for term in ("CNR", "CT", "HU", "ID", "QCA")} | {
    "ds": "diameter stenosis",
    "mld": "minimal lumen diameter",
}

#: Keys whose own words do not say it: name and unit. A generator's key that is not here is read word by word.
NAMES: Mapping[str, tuple[str, str]] = {
    # stenoses and plaques
    "area_stenosis": ("area stenosis", "%"),
    "densitometric_ds": ("diameter stenosis by density", "%"),
    "geometric_ds": ("diameter stenosis by contour", "%"),
    "measured_ds_hu": ("diameter stenosis by CT density", "%"),
    "percent_ds_hu": ("diameter stenosis by CT density", "%"),
    "area_stenosis_hu": ("area stenosis by CT density", "%"),
    "requested_ds_by": ("stenosis requested as read on", ""),
    "d_ref_px": ("reference diameter", "px"),
    "reference_mm": ("reference diameter", "mm"),
    "w_over_sigma": ("reference diameter / blur", ""),
    "cnr": ("contrast-to-noise ratio", ""),
    "miss": ("difference from request", "%"),
    "width_px": ("width", "px"),
    "outer_ratio": ("outer diameter / reference", ""),
    "remodelling": ("remodelling index", ""),
    "wall_mm_modelled": ("vessel wall", "mm"),
    "regraded": ("a real lesion made tighter", ""),
    "synthetic": ("drawn", ""),
    "severity_class": ("severity", ""),
    "segment": ("coronary segment", ""),
    "side": ("coronary side", ""),
    # tumours and CT
    "mean_hu": ("mean density", "HU"),
    "measured_hu": ("measured density", "HU"),
    "requested_hu": ("requested density", "HU"),
    "contrast_hu": ("contrast to surroundings", "HU"),
    "changed_voxels": ("changed voxels", ""),
    "hu_in_class": ("density within its class", ""),
    "exophytic": ("bulges out of the organ", ""),
    "spacing_mm": ("voxel size", "mm"),
    # views
    "primary_deg": ("LAO (+) / RAO (-) angle", "°"),
    "secondary_deg": ("cranial (+) / caudal (-) angle", "°"),
    "view_deg": ("C-arm angle", "°"),
    "pixel_mm": ("pixel size", "mm"),
    "sid_mm": ("source to detector", "mm"),
    "sod_mm": ("source to isocentre", "mm"),
    "visible_fraction": ("vessels inside the pictures", ""),
    "visible_views": ("views that show the lesion", ""),
    "foreshortening": ("foreshortening", ""),
    "overlap": ("overlap with other vessels", ""),
    "lit_fraction": ("truth inside the silhouettes", ""),
    "occupied_cells": ("vessel voxels", ""),
    "hull_cells": ("visual hull voxels", ""),
    "hull_dice": ("Dice of hull and truth", ""),
    "hull_recall": ("truth inside the hull", ""),
    "burned_in_text": ("letters in the frame", ""),
}

#: Lists, as one of their items is called.
ITEMS = {"lesions": "lesion", "stenoses": "stenosis", "views": "view", "projections": "in view"}

#: Coordinates, indices, bookkeeping and names of views: no distribution of them tells anything.
HIDDEN = re.compile(
    r"axes|legend|label|grid|rows|cols|name|sample_id|source_id|mask_is_complete|edit_box|tight_box"
    r"|(.*_)?(xy|lps|lps_mm|voxel|row_col|index|point_mm)"
)


def hidden(path: str) -> bool:
    """Whether a value's distribution is of no interest: a part of its path says what it is."""
    parts = path.split(".")
    corner = len(parts) > 1 and parts[-2] == "box" and parts[-1].isdigit()  # of a volume; a frame's box has a size
    return corner or any(HIDDEN.fullmatch(part) for part in parts)


def readable(key: str) -> tuple[str, str]:
    """A key as people read it, and its unit: ``length_mm`` is ("length", "mm")."""
    if key in NAMES:
        return NAMES[key]
    words = key.split("_")
    unit = ""
    if len(words) > 1 and words[-1] in UNITS:
        unit = UNITS[words.pop()]
    elif len(words) > 1 and words[0] == "percent":
        unit = "%"
        words = words[1:]
    elif len(words) > 1 and words[-1] == "ds":
        unit = "%"
    return " ".join(TERMS.get(word, word) for word in words), unit


def title(path: str) -> tuple[str, str]:
    """A path as people read it, and its unit: ``views.0.sid_mm`` is ("view 1: source to detector", "mm")."""
    *before, last = path.split(".")
    if last.isdigit() and before:  # a component of a vector has the vector's unit
        *before, owner = before
        name, unit = readable(owner)
        name = f"{name} {int(last) + 1}"
    elif last == "count" and before:
        *before, owner = before
        name, unit = f"number of {readable(owner)[0]}", ""
    else:
        name, unit = readable(last)
    items: list[str] = []
    for part in before:
        if part.isdigit() and items:
            items[-1] += f" {int(part) + 1}"
        elif part != "*":
            items.append(ITEMS.get(part) or readable(part)[0])
    return ": ".join([" ".join(items), name] if items else [name]), unit


def number(value: float) -> str:
    """Three digits, or a whole number with its thousands apart; never an exponent that nobody needs."""
    if abs(value) >= 1000 and abs(value) < 1e15:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def caption(target: str | None, measured: Mapping[str, float]) -> str:
    """Class and measured values; two spaces part them, so that lines may break only there."""
    values = []
    for key, value in sorted(measured.items(), key=lambda item: readable(item[0])):
        name, unit = readable(key)
        values.append(f"{name} {number(value)}{'' if unit in ('', '°', '%') else ' '}{unit}")
    return one_line("  ".join([*([target.replace("_", " ")] if target else []), *values]))
