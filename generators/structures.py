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
    adrenal air airway airways antrum aorta aortic appendage arota arteries artery atrial atrium auditory autochthon
    bladder body bone bones bowel brachiocephalic brain brainstem breast bronchi bronchia bronchus canal capsule
    carotid carpal cartilage cartilages caudate cava cavity celiac cerebellum chamber clavicle clavicula coeliac
    colon cord coronary cortex costal cricoid diag diaphragm disc discs duct duodenum epicardial esophagus
    extremities eye face fat femoral femur fibula foot gallbladder gland glands gluteus hand heart hepatic hip
    humerus hyoid hypopharynx iliac iliopsoas ilium insular intestine intestines ivc jugular kidney kidneys lad lag
    larynx lca lcx leg lens lentiform liver lm lobe lobes lumen lung lungs mandible marrow mediastinum medulla
    mesenteric metacarpal metatarsal muscle muscles myocardium nasopharynx nerve nucleus oesophagus om optic
    oropharynx ovaries ovary palate pancreas pancreatic parenchyma parotid patella pda pelvis pericardial
    pericardium phalanges pharynx pleura pleural plv portal postcava prostate psoas pulmonary radius rag ramus rca
    rectum renal rib ribs sacrum scapula scapulae septum sinus sinuses skeletal skeleton skin skull sma spinal spine
    spleen splenic sternum stomach subarachnoid subclavian submandibular svc tarsal testicle testis thalamus thorax
    throat thymus thyroid tibia tissue tonsil tooth torso trachea trapezius trunc trunk ulna ureter ureters urethra
    urinary uterus valve vein veins vena venous ventricle ventricles vertebra vertebrae vesicle vesicles vessel
    vessels wall
    """.split()  # noqa: SIM905  a list of words a line would take a page
)
#: Words that say which part, and which side, and that it is a mask: beside anatomy they say no lesion.
_PART: Final = frozenset(
    """
    abdominal and anterior apex arch arterial ascending auto base bile brachial case caudal central cervical common
    cranial ct descending distal dome dorsal entire external extra feet frontal gall gastrointestinal gt hard head
    healthy i ii iii image img inferior inner intermediate intermuscular internal intervertebral iv iva ivb ix l
    label labels large lateral left lower lt lumbar main major manual mask masks maximus medial medius middle
    minimus minor nasal neck normal occipital of or organ outer parietal part patient phase posterior process
    proximal r region right rt scan seg segment segmentation segments seminal sigmoid slice slices small soft space
    structure subcutaneous superior tail temporal the thoracic total tract transverse tree uncinate upper v ventral
    vi vii viii volume whole zone
    """.split()  # noqa: SIM905
)
_LEVEL: Final = re.compile(r"[ctls]\d{1,2}")  # of a vertebra; of an organ it may be its lesion
_GLUED: Final = sorted((*ORGANS, *_OF), key=len, reverse=True)


def words(name: str) -> list[str]:
    """The words of a name or a free text in lower case, without numbers: ``liver``, ``tumor`` of ``Livertumor01``."""
    found = re.sub(r"(?<![a-z])([a-z]{2,})\d+", r"\1_", re.sub(r"[^a-z0-9]+", "_", name.lower())).split("_")
    return [part for word in found if word and not word.isdecimal() for part in _unglued(word)]


def _unglued(word: str) -> list[str]:
    for organ in _GLUED:
        for part in (word.removeprefix(organ), word.removesuffix(organ)):
            if part != word and (TUMOUR.fullmatch(part) or _OTHER.fullmatch(part)):
                return [organ, part]
    return [word]


def kind(name: str) -> Kind:
    """What a structure's name says: an organ beside a word that nobody knows here may be a lesion of it."""
    found = words(name)
    if any(TUMOUR.fullmatch(word) or _OTHER.fullmatch(word) for word in found):
        return "lesion"
    spine = any(word.startswith(("vertebra", "disc", "nerve")) for word in found)
    known = all(word in _ANATOMY or word in _PART or (spine and _LEVEL.fullmatch(word)) for word in found)
    return "healthy" if known and any(word in _ANATOMY for word in found) else "unknown"


def organ_of(words: set[str], lesion: bool) -> str | None:
    """The one organ that words name; None for none or several. Adjectives count for a lesion alone."""
    found = {organ for organ in ORGANS if organ in words or f"{organ}s" in words}
    found |= {_OF[word] for word in words if lesion and word in _OF}
    return found.pop() if len(found) == 1 else None
