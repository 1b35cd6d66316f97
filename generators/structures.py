"""What the names of a label map's structures say: healthy anatomy, a lesion, or nothing that is known here."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Final, Literal

Kind = Literal["healthy", "lesion", "unknown"]

#: Organs that lesions are named after, as ``liver_tumour``.
ORGANS: Final = ("liver", "kidney", "pancreas", "spleen", "stomach", "gallbladder", "colon", "lung", "heart", "aorta",
                 "spine", "coronary", "myocardium", "bladder", "prostate", "esophagus", "duodenum", "bone")  # fmt: skip
_OF: Final = {  # words of a lesion that tell its organ
    **{"hepatic": "liver", "hcc": "liver", "pancreatic": "pancreas", "pdac": "pancreas", "renal": "kidney"},
    **{"rcc": "kidney", "splenic": "spleen", "gastric": "stomach", "pulmonary": "lung", "colonic": "colon"},
    **{"hepatique": "liver", "hepatiques": "liver", "pulmonaire": "lung", "pulmonaires": "lung"},
}
FOREIGN: Final = {  # organs as others write them: British, German, French
    **{"leber": "liver", "foie": "liver", "niere": "kidney", "nieren": "kidney", "rein": "kidney", "reins": "kidney"},
    **{"milz": "spleen", "rate": "spleen", "pankreas": "pancreas", "bauchspeicheldruse": "pancreas", "lunge": "lung"},
    **{"lungen": "lung", "poumon": "lung", "poumons": "lung", "herz": "heart", "coeur": "heart", "magen": "stomach"},
    **{"estomac": "stomach", "oesophagus": "esophagus", "gallenblase": "gallbladder", "wirbelsaule": "spine"},
    **{"harnblase": "bladder", "vessie": "bladder"},
}
TUMOUR: Final = re.compile(
    r"tumou?rs?|tumoren|tumeurs?|cancers?|krebs|\w*[ck]ar[cz]inom\w*|lesions?|lasion(?:en)?|metasta[st]\w+|mets?|mass|"
    r"masses?|nodules?|neoplasms?|malignan\w+|hcc|rcc|pdac|\w*sarcomas?|\w*lymphomas?|hepatomas?|\w*adenomas?|"
    r"ha?emangiomas?"
)
_OTHER: Final = re.compile(  # lesions that are no tumours
    r"\w*cysts?|\w*zysten?|kystes?|polyps?|abscess\w*|infarct\w*|\w*thromb\w+|plaques?|calci\w+|aneurysms?|stenos\w+|"
    r"fibros\w+|necro\w+|o?edema|h(?:a?e)morrhage\w*|bleeding|stones?|calcul\w+|patholog\w+|abnormal\w*|diseased?|"
    r"dissection|opacit\w+|infection\w*|consolidation|effusions?|fractures?|hernias?|nodes?"
)
#: Between an organ and a lesion they say that both are marked, or the organ without it.
_JOINS: Final = re.compile(
    r"and|und|et|or|oder|ou|plus|with|mit|avec|in[ck]l\w*|ex[ck]l\w*|except|minus|without|ohne|sans|free|no|non|not|wo?"
)
_NOT: Final = ("no", "non", "not")
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
    throat thymus thyroid tibia tonsil tooth torso trachea trapezius trunc trunk ulna ureter ureters urethra
    urinary uterus valve vein veins vena venous ventricle ventricles vertebra vertebrae vertebral vesicle vesicles
    vessel vessels wall
    """.split()  # noqa: SIM905  a list of words a line would take a page
)
#: Words that say which part, and which side, and that it is a mask: beside anatomy they say no lesion.
_PART: Final = frozenset(
    """
    abdomen abdominal ai anatomic anatomical anatomy and anterior apex arch arterial ascending auto automated
    automatic automatically back base bilateral bile binary both brachial case caudal central cervical chest column
    common contour contours copy corrected couinaud cranial cropped ct d das de deep delineation der des descending
    die distal dome dorsal droit droite du edited eighth eleventh entire equina expert external extra feet fifth
    final first fourth frontal future gall gastrointestinal gauche great greater gt hard head healthy i ii iii image
    img inferior inner intermediate intermuscular internal intervertebral iv iva ivb ix l la label labels large
    lateral le left les lesser linke links lower lt lumbar main major manual mask maske masken masks masque maximus
    medial medius middle minimus minor nasal neck new ninth normal number occipital of old or organ organs outer
    parietal part patient phase posterior pred predicted prediction process proximal r reader rechte rechts region
    remnant resampled revised right rt scan second seg segment segmentation segmentations segmented segmentierung
    segments semiautomatic seminal seventh side sigmoid sixth slice slices small smoothed soft space structure
    structures subcutaneous superior tail temporal tenth the third thoracic tissue total tract transverse tree
    twelfth uncinate upper v ventral version vi vii viii visceral volume whole wing zone
    """.split()  # noqa: SIM905
)
_LEVEL: Final = re.compile(r"[ctls]\d{1,2}")  # of a vertebra; of an organ it may be its lesion
SOLID: Final = ("liver", "kidney", "pancreas", "spleen")
_NOT_IN_SOLID: Final = frozenset(("air", "cavity", "chamber", "fat"))  # healthy elsewhere
_GLUED: Final = sorted((*ORGANS, *_OF, *FOREIGN), key=len, reverse=True)


def plain(name: str) -> str:
    """A name or a free text without capitals and accents, its words joined by ``_``, those of ``LeftKidney`` too."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unicodedata.normalize("NFKD", name)).lower().replace("\u0153", "oe")
    text = re.sub(r"[+&]", " and ", "".join(c for c in text if not unicodedata.combining(c)))
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_").replace("gall_bladder", "gallbladder")


def words(name: str) -> list[str]:
    """The words of a name or a free text, without numbers: ``liver``, ``tumor`` of ``Livertumor01``."""
    found = re.sub(r"(?<![a-z])([a-z]{2,})\d+", r"\1_", plain(name)).split("_")
    return [part for word in found if word and not word.isdecimal() for part in _unglued(word)]


def _unglued(word: str) -> list[str]:
    for organ in _GLUED:
        for part in (word.removeprefix(organ), word.removesuffix(organ)):
            if part != word and _lesion(part):
                return [organ, part]
    return [word]


def _lesion(word: str) -> bool:
    return bool(TUMOUR.fullmatch(word) or _OTHER.fullmatch(word))


def kind(name: str) -> Kind:
    """What a structure's name says: an organ beside a word that nobody knows here may be a lesion of it."""
    found = words(name)
    if any(map(_lesion, found)):
        return "unknown" if _joined(found) else "lesion"
    spine = any(word.startswith(("vertebra", "disc", "nerve")) for word in found)
    anatomy = {word for word in found if word in _ANATOMY or word in FOREIGN}
    known = all(word in anatomy or word in _PART or (spine and _LEVEL.fullmatch(word)) for word in found)
    odd = anatomy & _NOT_IN_SOLID and organ_of(set(found), lesion=False) in SOLID
    return "healthy" if known and anatomy and not odd else "unknown"


def says_nothing(name: str) -> bool:
    """Whether a name has no word but such as "segment 1": it may be that of anything."""
    return all(word in _PART for word in words(name))


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
