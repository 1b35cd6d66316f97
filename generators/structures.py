"""What the names of a label map's structures say: healthy anatomy, a lesion, or nothing that is known here."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Final, Literal

from lesionforge.generators.anatomy import (
    ALONE,
    ANATOMY,
    COUNTED,
    FOREIGN,
    NEEDS,
    NOT_IN_SOLID,
    NUMERALS,
    ORGANS,
    PART,
    SOLID,
)

Kind = Literal["healthy", "lesion", "unknown"]

_OF: Final = {  # words of a lesion that tell its organ
    **{"hepatic": "liver", "hcc": "liver", "crlm": "liver", "hepatique": "liver", "hepatiques": "liver"},
    **{"pancreatic": "pancreas", "pdac": "pancreas", "pnet": "pancreas", "ipmn": "pancreas", "renal": "kidney"},
    **{"rcc": "kidney", "ccrcc": "kidney", "splenic": "spleen", "gastric": "stomach", "colonic": "colon"},
    **{"pulmonary": "lung", "pulmonaire": "lung", "pulmonaires": "lung"},
}
TUMOUR: Final = re.compile(
    r"(?!non|peri|anti)\w*tumou?r(?:s|e|en)?|tumeurs?|cancers?|krebs|lesions?|lasion(?:en)?|metasta[st]\w+|mets?|mass|"
    r"masses?|nodules?|neoplas\w+|malign\w+|raumforderung(?:en)?|hcc|(?:cc|p)?rcc|pdacs?|pnets?|ipmns?|gists?|crlms?|"
    r"\w*(?:angi|aden|blast|[ck]ar[cz]in|chondr|fibr|germin|gli|hepat|insulin|lip|lymph|melan|mening|my|myel|neur|onc|oste|"
    r"cyt|pap?ill|sar[ck]|semin|schwann|terat|thym)om(?:a|as|e|es|en|ata|atose|atous|s)?"
)
_OTHER: Final = re.compile(  # lesions that are no tumours
    r"\w*cysts?|\w*zysten?|kystes?|polyps?|\w*abs[cz]ess\w*|\w*infar[ck]t\w*|\w*thromb\w+|embol\w+|plaques?|calci\w+|"
    r"\w*aneurysma?s?|stenos\w+|fibros\w+|necro\w+|nekros\w+|o?edemas?|h(?:a?e)morrhage\w*|\w*ha?ematom\w*|bleeding|"
    r"\w*stones?|calcul\w+|patholog\w+|abnormal\w*|diseased?|dissection|opacit\w+|infection\w*|inflamm\w+|infiltrat\w*|"
    r"consolidation|effusions?|\w*erguss|fractures?|hernias?|nodes?|clots?|biloma|seroma|urinoma"
)
#: Lesions whose kind or organ nobody can tell: a text that names one says more than its organ.
_DOUBTFUL: Final = re.compile(
    r"fnh|[ic]?[gcpi]tv\w*|ablat\w+|herde?|rundherde?|foyers?|hypodens\w*|hyperdens\w*|residual|recurren\w+|rezidiv\w*|"
    r"suspicious|suspekt\w*|\w*plasi[ae]|prozess\w*"
)
#: Between an organ and a lesion they say that both are marked, or the organ without it.
_JOINS: Final = re.compile(
    r"and|und|et|or|oder|ou|plus|with|mit|avec|in[ck]l\w*|ex[ck]l\w*|except|minus|without|ohne|sans|free|no|non|not|wo?"
)
_BOTH: Final = re.compile(r"and|und|et|plus|with|mit|avec|in[ck]l\w*")  # of these they say that both are marked
_GROSS: Final = re.compile(r"i?gtv\w*")  # a gross tumour volume
_MASK: Final = re.compile(r"(\w+?)(masks?|masken?|segmentations?|segs?|labels?|rois?)")
_NOT: Final = ("no", "non", "not")
_FIRST: Final = ("a", "m", "n", "v")  # TG-263's artery, muscle, nerve and vein
_LEVEL: Final = re.compile(r"[ctls]\d{0,2}")  # of a vertebra; of an organ it may be its lesion
VERSION: Final = re.compile(r"v\d{1,2}")  # as "liver_v2"
_GLUED: Final = sorted((*ORGANS, *_OF, *FOREIGN), key=len, reverse=True)
#: A number with nothing that is counted, as "liver 2": another one of what the liver has.
_NUMBERED: Final = re.compile(
    rf"(?:.*_)?(?:{'|'.join([*SOLID, *(word for word, organ in (_OF | FOREIGN).items() if organ in SOLID)])})s?_?[1-9]"
)


def plain(name: str) -> str:
    """A name or a free text without capitals and accents, its words joined by ``_``, those of ``LeftKidney`` too."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unicodedata.normalize("NFKD", name)).casefold().replace("\u0153", "oe")
    text = re.sub(r"[+&]", " and ", "".join(c for c in text if not unicodedata.combining(c)))
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    return re.sub(r"gall_bladder|vesicule_biliaire", "gallbladder", text).replace("air_way", "airway")


def words(name: str) -> list[str]:
    """The words of a name or a free text, without numbers: ``liver``, ``tumor`` of ``Livertumor01``."""
    found = re.sub(r"(?<![a-z])([a-z]{2,})\d+", r"\1_", plain(name)).split("_")
    return [part for word in found if word and not word.isdecimal() for part in _unglued(word)]


def _unglued(word: str) -> list[str]:
    """``["liver", "tumor"]`` of "livertumor", ``["leber", "vene"]`` of "lebervene"; a word that is one alone."""
    if (ends := _MASK.fullmatch(word)) and _lesion(ends[1]):
        return [*_unglued(ends[1]), ends[2]]
    for organ in _GLUED:
        for part in (word.removeprefix(organ), word.removesuffix(organ)):
            if part != word and _lesion(part):
                return [organ, part]
    if not _anatomy(word) and word not in PART:
        for k in range(4, len(word) - 3):
            parts = [word[:k], word[k:]]
            if any(map(_anatomy, parts)) and all(_anatomy(part) or part in PART for part in parts):
                return parts
    return [word]


def _lesion(word: str) -> bool:
    return bool(TUMOUR.fullmatch(word) or _OTHER.fullmatch(word))


def _anatomy(word: str) -> bool:
    """Whether a word is of healthy anatomy, one or several, with umlauts written in either way."""
    forms = (word, word[:-1] if len(word) > 4 and word.endswith("s") else word, re.sub(r"([aou])e", r"\1", word))
    return any(one in ANATOMY or one in FOREIGN for one in forms)


def names_lesion(text: str, doubtful: bool = False) -> bool:
    """Whether a text has a word of a lesion, whatever else it says; also "FNH" and such for ``doubtful``."""
    return any(_lesion(word) or (doubtful and _DOUBTFUL.fullmatch(word)) for word in words(text))


def kind(name: str) -> Kind:
    """What a structure's name says: an organ beside a word that nobody knows here may be a lesion of it."""
    found = words(name)
    if any(map(_lesion, found)):
        return "unknown" if _joined(found) else "lesion"
    if len(found) > 1 and found[0] in _FIRST:
        found = found[1:]
    anatomy = {word for word in found if _anatomy(word)}
    spine = any(word.startswith(("vertebra", "disc", "nerve", "vb")) for word in found)
    known = all(
        word in anatomy or word in PART or VERSION.fullmatch(word) or (spine and _LEVEL.fullmatch(word))
        for word in found
    )
    whole = anatomy or ALONE.intersection(found)
    return "healthy" if known and whole and not _vague(set(found), name) else "unknown"


def kind_of_file(name: str) -> Kind:
    """As ``kind``, of what may mark several structures: one of the "liver and tumour" is called a lesion, and a GTV."""
    found = words(name)
    joins = [word for word in found if _JOINS.fullmatch(word) and not _BOTH.fullmatch(word)]
    if any(map(_GROSS.fullmatch, found)) or (any(map(_lesion, found)) and not joins):
        return "lesion"
    return kind(name)


def _vague(found: set[str], name: str) -> bool:
    """Whether words of anatomy leave it open that they are a lesion's, as "liver region" and "liver 2" do."""
    if any(word in NEEDS and not NEEDS[word] & found for word in found):
        return True
    if organ_of(found, lesion=False) in SOLID and found & NOT_IN_SOLID:
        return True
    counted = organ_of(found, lesion=True) in SOLID and not found & COUNTED
    return counted and bool(found & NUMERALS or _NUMBERED.fullmatch(plain(name)))


def says_nothing(name: str) -> bool:
    """Whether a name has no word but such as "segment 1": it may be that of anything."""
    return all(word in PART or word in NEEDS for word in words(name))


def _joined(found: list[str]) -> bool:
    """Whether words name more than a lesion: it and its organ, or what is left without it."""
    if any(word in _NOT and TUMOUR.fullmatch(after) for word, after in itertools.pairwise(found)):
        return True
    parts = [list(part) for _, part in itertools.groupby(found, lambda word: bool(_JOINS.fullmatch(word)))]
    return any(not any(map(_lesion, part)) and organ_of(set(part), lesion=True) for part in parts)


def organ_of(words: set[str], lesion: bool) -> str | None:
    """The one organ that words name; None for none or several. Adjectives count for a lesion alone."""
    found = {organ for organ in ORGANS if organ in words or f"{organ}s" in words}
    found |= {FOREIGN[word] for word in words if word in FOREIGN}
    found |= {_OF[word] for word in words if lesion and word in _OF}
    return found.pop() if len(found) == 1 else None
