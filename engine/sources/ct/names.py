"""Standard names of what label maps mark, and what published sets call them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence

from lesionforge.generators.structures import TUMOUR, VERSION, kind, names_lesion, organ_of, plain, words

TUMOUR_OF_SOMETHING = "tumour"  # nobody says of which organ
UNKNOWN = "unknown"  # what is called by a word that nobody knows here, or by none that says anything
BACKGROUND = "background"  # what is left out knowingly

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
#: Words that may stand beside an organ's in the name of all of it, or of one of two.
MASK_WORDS = frozenset(
    """
    auto copy corrected edited expert final gt healthy label labels manual mask maske masks normal parenchyma parenchyme
    pred predicted prediction rater reader revised seg segmentation total version whole
    """.split()  # noqa: SIM905
)
SIDES = frozenset(
    "left right l r links linke linker linkes rechts rechte rechter rechtes gauche droit droite".split()  # noqa: SIM905
)
#: Anatomy whose words may stand beside an organ's that is meant; "liver fat" is no liver, "lung vessels" are no lung.
WITHIN = frozenset(
    "abdomen body chest gland head lobe lobes neck parenchyma sigmoid urinary".split()  # noqa: SIM905
)
TUBES = frozenset(["artery", "arteries", "lca", "lad", "lcx", "lumen", "rca", "vessel", "vessels"])
#: Of a segment's category (CID 7150): "Morphologically Altered Structure", SNOMED CT's and its forerunner's code.
ALTERED = frozenset(["49755003", "M-01000"])
ALTERED_MEANING = re.compile(r"altered|abnormal|anormal|verandert|alteree|finding|befund")
#: SNOMED CT's codes of the types of that category: Slicer's mass, nodule, cyst, clot, ... and "lesion".
LESIONS = frozenset(
    """
    4147007 27925004 441457006 367643001 75753009 55584005 79654002 50960005 23583003 44132006 6574001 86049000
    14799000 108369006 52988006
    """.split()  # noqa: SIM905
)
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,39}")


def standard(name: str) -> str:
    """A structure's standard name: lower case, words joined by ``_``, sides and lobes merged into their organ.

    Whatever a tumour is called, as "hepatic lesions", it is ``liver_tumour``, or ``tumour`` where no organ is named.
    """
    name = plain(name)
    return MERGED.get(name) or _tumour(name) or _organ(name) or name


def _tumour(name: str) -> str | None:
    """The standard name of a tumour; None for what is none."""
    found = words(name)
    rest = [word for word in found if not TUMOUR.fullmatch(word)]
    if rest == found or kind(name) != "lesion":
        return None
    if organ := organ_of(set(found), lesion=True):
        return f"{organ}_tumour"
    return f"{'_'.join(rest)}_tumour" if kind("_".join(rest)) == "healthy" else TUMOUR_OF_SOMETHING


def _organ(name: str) -> str | None:
    """An organ whose name says no more than its side, or that it is a mask; None for other structures."""
    rest = [word for word in words(name) if word not in MASK_WORDS | SIDES and not VERSION.fullmatch(word)]
    organ = organ_of(set(rest), lesion=False)
    return organ if len(rest) == 1 and organ != "coronary" and kind(name) == "healthy" else None


def owned(names: Collection[str]) -> dict[str, str]:
    """Standard names, each with the one it has beside the others: a bare "tumour" is that of the one organ there."""
    organs = {organ_of(set(words(name)), lesion=kind(name) == "lesion") for name in names} - {None}
    alone = organs.pop() if len(organs) == 1 else None
    return {name: f"{alone}_{name}" if alone and name in (TUMOUR_OF_SOMETHING, "cyst") else name for name in names}


def legend_of(names: Mapping[int, str]) -> dict[int, str]:
    """A set's own legend in standard names: a bare "cancer" is that of the one organ beside it.

    Raises:
        ValueError: for a name that is no plain word, with the value it stands at.
    """
    plain = {value: standard(name) for value, name in names.items() if value != 0}
    if bad := [value for value, name in plain.items() if not _PLAIN.fullmatch(name)]:
        raise ValueError(f"label {bad[0]} has no name that can be used")
    own = owned(plain.values())
    return {value: own[name] for value, name in plain.items()}


def nameless(legend: Mapping[int, str]) -> list[int]:
    """The values whose names in a set's own legend tell nobody what they mark: unknown words, tumours of no organ."""
    return [value for value, name in legend.items() if name == TUMOUR_OF_SOMETHING or kind(name) == "unknown"]


def organ_in(text: str) -> str | None:
    """The one organ that a free text names, ``liver_seg`` for one, or a lesion of it; None for none or several.

    None also where a word beside the organ is unknown, or other anatomy: a "FNH liver" is no liver.
    """
    found = words(text)
    lesions = [word for word in found if kind(word) == "lesion"]
    organ = organ_of(set(found), bool(lesions))
    if organ is None:
        return None
    if lesions:
        return f"{organ}_tumour" if any(TUMOUR.fullmatch(word) for word in lesions) else f"{organ}_{lesions[0]}"
    own = WITHIN | TUBES if organ in ("aorta", "coronary") else WITHIN
    other = [
        word for word in found if kind(word) == "healthy" and word not in own and not organ_of({word}, lesion=False)
    ]
    return organ if kind(text) == "healthy" and not other else None


def lesion_of(text: str) -> str:
    """A lesion that a free text names without its organ: ``TUMOUR_OF_SOMETHING``, or as ``cyst`` what is no tumour."""
    lesions = [word for word in words(text) if kind(word) == "lesion"]
    return TUMOUR_OF_SOMETHING if any(TUMOUR.fullmatch(word) for word in lesions) else lesions[0]


def chosen(texts: Sequence[str], names: Mapping[str, str]) -> str | None:
    """The name that the option gives by its first pattern that fits one of the texts, if any does."""
    for text in texts:
        for pattern, name in names.items():
            if fnmatch.fnmatchcase(text.lower(), pattern.lower()):
                return name
    return None


def name_of(texts: Sequence[str], names: Mapping[str, str]) -> str | None:
    """The standard name for what a file or a segment is called: the option's first pattern that fits, or the organ.

    A lesion that one text tells of and the organ that another one names are a lesion of that organ. A word that nobody
    knows in any of the texts makes it ``UNKNOWN``: "FNH" of type "Liver" is no liver. None is for what is left out:
    anatomy that lesions are not named after, and what the option calls ``BACKGROUND``.
    """
    if name := chosen(texts, names):
        return None if name == BACKGROUND else name
    together = " ".join(texts)
    if kind(together) == "lesion":
        return organ_in(together) or lesion_of(together)
    if kind(together) == "unknown":
        return UNKNOWN
    organs = [organ for organ in map(organ_in, texts) if organ]
    return organ_in(together) or (organs[0] if len(set(organs)) > 1 else None)


def altered(category: str, meaning: str, of: str) -> bool:
    """Whether a segment's category, by its code and meaning, or the code of its type is that of lesions."""
    told = category in ALTERED or ALTERED_MEANING.search(plain(meaning)) or names_lesion(meaning)
    return bool(told) or of in LESIONS or of.startswith("M-")  # the older SNOMED's morphology
