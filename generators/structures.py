"""What the names of a label map's structures say: healthy anatomy, a lesion, or nothing that is known here."""

from __future__ import annotations

import re
from typing import Final, Literal

Kind = Literal["healthy", "lesion", "unknown"]

#: Organs that lesions are named after, as ``liver_tumour``.
ORGANS: Final = ("liver", "kidney", "pancreas", "spleen", "stomach", "gallbladder", "colon", "lung", "heart", "aorta",
                 "spine", "coronary", "myocardium", "bladder", "prostate", "esophagus", "duodenum", "bone")  # fmt: skip
_OF: Final = {
    **{"hepatic": "liver", "leber": "liver", "hcc": "liver", "pancreatic": "pancreas", "pdac": "pancreas"},
    **{"renal": "kidney", "niere": "kidney", "rcc": "kidney", "splenic": "spleen", "gastric": "stomach"},
    **{"pulmonary": "lung", "oesophagus": "esophagus", "colonic": "colon"},
}
TUMOUR: Final = re.compile(
    r"tumou?rs?|cancers?|\w*carcinomas?|lesions?|metasta[st]\w+|mets?|mass|masses|nodules?|neoplasms?|malignan\w+|hcc|rcc|"
    r"pdac|\w*sarcomas?|\w*lymphomas?|hepatomas?|\w*adenomas?|ha?emangiomas?"
)
_OTHER: Final = re.compile(  # lesions that are no tumours
    r"\w*cysts?|polyps?|abscess\w*|infarct\w*|\w*thromb\w+|plaques?|calci\w+|aneurysms?|stenos\w+|fibros\w+|necro\w+|"
    r"o?edema|h(?:a?e)morrhage\w*|bleeding|stones?|calcul\w+|patholog\w+|abnormal\w*|diseased?|dissection|opacit\w+|"
    r"infection\w*|consolidation|effusions?|fractures?|hernias?|nodes?"
)
#: Words of TotalSegmentator's, the Decathlon's, AMOS', BTCV's, FLARE's, WORD's and AbdomenAtlas' structures.
_ANATOMY: Final = frozenset(
    """
    adrenal air airway antrum aorta aortic appendage arteries artery atrial atrium autochthon bladder body bone bowel
    brachiocephalic brain breast bronchi bronchus carotid cartilage cartilages cava cavity celiac chamber clavicle
    clavicula coeliac colon cord coronary cortex costal diag1 duct duodenum esophagus eye face fat femoral femur foot
    gallbladder gland glands gluteus hand heart hepatic hip humerus iliac iliopsoas ilium intestine ivc kidney kidneys
    lad lag larynx lca lcx left leg liver lm lobe lumen lung lungs mandible marrow mediastinum medulla mesenteric muscle
    muscles myocardium nerve oesophagus om1 ovary pancreas pancreatic parenchyma parotid patella pelvis pericardium
    pharynx pleura portal postcava prostate psoas pulmonary rag rca rectum renal rib ribs sacrum scapula sinus
    skeleton skin skull sma spinal spine spleen splenic sternum stomach svc subclavian testis thorax throat thymus
    thyroid tibia tissue tonsil tooth trachea trunk ureter urethra urinary uterus valve vein veins vena ventricle
    ventricles vertebra vertebrae vessel vessels wall
    """.split()  # noqa: SIM905  a list of words a line would take a page
)


def kind(name: str) -> Kind:
    """What a structure's name in lower case, its words joined by ``_``, says."""
    words = name.split("_")
    if any(TUMOUR.fullmatch(word) or _OTHER.fullmatch(word) for word in words):
        return "lesion"
    return "healthy" if any(word in _ANATOMY for word in words) else "unknown"


def organ_of(words: set[str], lesion: bool) -> str | None:
    """The one organ that words name; None for none or several. Adjectives count for a lesion alone."""
    found = {organ for organ in ORGANS if organ in words or f"{organ}s" in words}
    found |= {_OF[word] for word in words if lesion and word in _OF}
    return found.pop() if len(found) == 1 else None
