"""Standard names of what label maps mark, and what published sets call them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lesionforge.generators.structures import ORGANS, TUMOUR, kind, organ_of, words

TUMOUR_OF_SOMETHING = "tumour"  # nobody says of which organ

#: TotalSegmentator's structures (v2) by the standard name they become part of, where that is another one.
MERGED: Mapping[str, str] = {
    "kidney_left": "kidney",
    "kidney_right": "kidney",
    "kidney_cyst_left": "kidney_cyst",
    "kidney_cyst_right": "kidney_cyst",
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
    "hepatic_vessel": "liver_vessel",
    "coronary_artery": "coronary",
    "left_kidney": "kidney",
    "right_kidney": "kidney",
}
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,39}")


def standard(name: str) -> str:
    """A structure's standard name: lower case, words joined by ``_``, sides and lobes merged into their organ.

    Whatever a tumour is called, as "hepatic lesions", it is ``liver_tumour``, or ``tumour`` where no organ is named.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return MERGED.get(plain) or _tumour(plain) or plain


def _tumour(name: str) -> str | None:
    """The standard name of a tumour; None for what is none."""
    found = words(name)
    rest = [word for word in found if not TUMOUR.fullmatch(word)]
    if rest == found:
        return None
    if organ := organ_of(set(found), lesion=True):
        return f"{organ}_tumour"
    return f"{'_'.join(rest)}_tumour" if kind("_".join(rest)) == "healthy" else TUMOUR_OF_SOMETHING


def legend_of(names: Mapping[int, str]) -> dict[int, str]:
    """A set's own legend in standard names: a bare "cancer" is that of the one organ beside it.

    Raises:
        ValueError: for a name that is no plain word, with the value it stands at.
    """
    plain = {value: standard(name) for value, name in names.items() if value != 0}
    if bad := [value for value, name in plain.items() if not _PLAIN.fullmatch(name)]:
        raise ValueError(f"label {bad[0]} has no name that can be used")
    organs = {name for name in plain.values() if name in ORGANS}
    alone = next(iter(organs)) if len(organs) == 1 else None
    return {
        value: f"{alone}_{name}" if alone and name in (TUMOUR_OF_SOMETHING, "cyst") else name
        for value, name in plain.items()
    }


def nameless(legend: Mapping[int, str]) -> list[int]:
    """The values whose names in a set's own legend tell nobody what they mark: unknown words, tumours of no organ."""
    return [value for value, name in legend.items() if name == TUMOUR_OF_SOMETHING or kind(name) == "unknown"]


def organ_in(text: str) -> str | None:
    """The one organ that a free text names, ``liver_seg`` for one, or a lesion of it; None for none or several.

    None also where a word beside the organ is unknown: a "FNH liver" is no liver.
    """
    found = words(text)
    lesions = [word for word in found if kind(word) == "lesion"]
    organ = organ_of(set(found), bool(lesions))
    if organ is None or not lesions:
        return organ if kind(text) == "healthy" else None
    return f"{organ}_tumour" if any(TUMOUR.fullmatch(word) for word in lesions) else f"{organ}_{lesions[0]}"


def lesion_in(text: str) -> bool:
    """Whether a free text speaks of a lesion."""
    return kind(text) == "lesion"
