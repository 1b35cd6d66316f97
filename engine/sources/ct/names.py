"""Standard names of what label maps mark, and what published sets call them."""

from __future__ import annotations

import re
from collections.abc import Mapping

LESIONS = ("cancer", "tumour", "tumor", "lesion", "tumours", "tumors", "lesions")

#: TotalSegmentator's structures (v2) by the standard name they become part of, where that is another one.
MERGED: Mapping[str, str] = {
    "kidney_left": "kidney",
    "kidney_right": "kidney",
    "adrenal_gland_left": "adrenal_gland",
    "adrenal_gland_right": "adrenal_gland",
    "lung_upper_lobe_left": "lung",
    "lung_lower_lobe_left": "lung",
    "lung_upper_lobe_right": "lung",
    "lung_middle_lobe_right": "lung",
    "lung_lower_lobe_right": "lung",
    "portal_vein_and_splenic_vein": "portal_vein",
    "heart_myocardium": "myocardium",
    "heart_atrium_left": "left_atrium",
    "heart_atrium_right": "right_atrium",
    "heart_ventricle_left": "left_ventricle",
    "heart_ventricle_right": "right_ventricle",
    "coronary_arteries": "coronary",
    "liver_vessels": "liver_vessel",
    "liver_tumor": "liver_tumour",
    "lung_nodules": "lung_tumour",
    "hepatic_vessel": "liver_vessel",
    "coronary_artery": "coronary",
    "left_kidney": "kidney",
    "right_kidney": "kidney",
}
ORGANS = ("liver", "kidney", "pancreas", "spleen", "stomach", "gallbladder", "colon", "lung", "heart", "aorta", "spine",
          "coronary", "myocardium", "bladder", "prostate", "esophagus", "duodenum", "bone")  # fmt: skip
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,39}")


def standard(name: str) -> str:
    """A structure's standard name: lower case, words joined by ``_``, sides and lobes merged into their organ."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return MERGED.get(plain, plain)


def legend_of(names: Mapping[int, str]) -> dict[int, str]:
    """A set's own legend in standard names: a bare "cancer" is that of the organ beside it.

    Raises:
        ValueError: for a name that is no plain word, with the value it stands at.
    """
    plain = {value: standard(name) for value, name in names.items() if value != 0}
    if bad := [value for value, name in plain.items() if not _PLAIN.fullmatch(name)]:
        raise ValueError(f"label {bad[0]} has no name that can be used")
    organs = [name for name in plain.values() if name in ORGANS]
    out = {}
    for value, name in plain.items():
        if name in LESIONS:
            name = f"{organs[0]}_tumour" if len(organs) == 1 else "tumour"
        out[value] = re.sub(r"_(cancer|tumou?rs?|lesions?)$", "_tumour", name)
    return out


def organ_in(text: str) -> str | None:
    """The one organ that a free text names, ``liver_seg`` for one; None for none or several."""
    words = set(re.split(r"[^a-z]+", text.lower()))
    found = {organ for organ in ORGANS if organ in words or f"{organ}s" in words}
    if len(found) != 1:
        return None
    (organ,) = found
    return f"{organ}_tumour" if words & set(LESIONS) else organ
