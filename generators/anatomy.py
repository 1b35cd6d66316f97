"""Words of healthy anatomy that names of structures are made of: English, German, French, and abbreviations.

Those of TotalSegmentator (all tasks), the Decathlon, AMOS, BTCV, FLARE, WORD, AbdomenAtlas, 3D-IRCADb, 3D Slicer's
terminology (SNOMED CT) and TG-263. A word that may be that of a lesion as well has no place here, or needs another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Organs that lesions are named after, as ``liver_tumour``.
ORGANS: Final = ("liver", "kidney", "pancreas", "spleen", "stomach", "gallbladder", "colon", "lung", "heart", "aorta",
                 "spine", "coronary", "myocardium", "bladder", "prostate", "esophagus", "duodenum", "bone")  # fmt: skip
SOLID: Final = ("liver", "kidney", "pancreas", "spleen")
FOREIGN: Final = {  # organs as others write them: British, German, French, in short
    **{"leber": "liver", "foie": "liver", "niere": "kidney", "nieren": "kidney", "rein": "kidney", "reins": "kidney"},
    **{"rk": "kidney", "lk": "kidney", "rkid": "kidney", "lkid": "kidney", "milz": "spleen", "rate": "spleen"},
    **{"pankreas": "pancreas", "bauchspeicheldruse": "pancreas", "lunge": "lung", "lungen": "lung", "poumon": "lung"},
    **{"poumons": "lung", "herz": "heart", "coeur": "heart", "magen": "stomach", "estomac": "stomach"},
    **{"oesophagus": "esophagus", "oesophage": "esophagus", "osophagus": "esophagus", "speiserohre": "esophagus"},
    **{"gallenblase": "gallbladder", "wirbelsaule": "spine", "rachis": "spine", "knochen": "bone", "os": "bone"},
    **{"harnblase": "bladder", "vessie": "bladder", "prostata": "prostate", "zwolffingerdarm": "duodenum"},
    **{"dickdarm": "colon", "kolon": "colon", "aorte": "aorta", "hauptschlagader": "aorta", "myokard": "myocardium"},
    **{"herzmuskel": "myocardium", "myocarde": "myocardium"},
}
ANATOMY: Final = frozenset(
    """
    abdominalwall abdominis acetabulum acetabulums adenohypophysis adipose adrenal adventitia air airway airways
    alveolar amygdala ankle annulus antrum anus aorta aortic appendage appendages appendix aqueduct arachnoid arcuate
    arm arota arteries artery arytenoid atrial atrium auditory auricular autochthon axilla azygos basilar bifurcation
    biliarysystem bladder blood body bone bones bowel brachii brachioceph brachiocephalic brachiocephls brain brainstem
    breast breasts bridge bronchi bronchia bronchial bronchus brustwirbel buccalmucosa bursa buttock calcaneus callosum
    calyx canal canine capillary capsule cardiac carina carotid carpal carpus cartilage cartilages cartlg catheter cauda
    caudate cava cavernosum cavity cbd cecum celiac cerebellar cerebellum cerebral cerebrum cervix cha chamber chestwall
    chiasm chordae cingulum clavicle clavicula cn coccyx cochlea coeliac coeliacus colon commissure compartment concha
    constrict constrictor coracobrachial cord cornea coronary corpus cortex costal costarum couch cranium cribriform
    cricoid cricopharyngeus crown csf cusp deferens deltoid dens diag diaphragm diencephalon digastric disc discs dorsi
    duct ducts ductus duodenale duodenum dura ear elbow epicardial epididymis erector esophageal esophagus ethmoid
    external extremities extremity eye eyeball eyeballs eyelid eyes face falx fascia fasciculus fat fatty femoral
    femoris femur femurs fibula finger fingers fissure flank fluid fontanel foot forearm fornix fossa gallbladder
    gastric gda genitalia genitals gland glands glenoid glnd globe globus glottis gluteus gonadal groove halswirbel hand
    heart hemidiaphragm hemisphere hemispheres hepatic hilum hip hippocampi hippocampus humeral humerus hyoid
    hypopharynx hypophyseal hypothalamus ileum iliac iliocostalis iliopsoas iliotibial ilium incisor incus infraspinatus
    innominate insula insular intercostals intestin intestine intestines intima ischium ivc jaw jawbone jejunum joint
    jugular kidney kidneys knee lacrimal lad lag larynges larynx latissimus lca lcx leg lemniscus lendenwirbel lens
    lentiform levator levatores ligament ligamentum limb lip lips liver lm lobe lobes lobule longissimus lumborum lumen
    lung lungs lymph lymphatics malleus mandible mandibular marrow masseter mastoid matter maxilla maxillary mediastinum
    medulla membrane meninges meniscus mesenteric mesentery metacarpal metatarsal midbrain mitral molar mouth mpd mucosa
    musc muscle muscles myocardium nasalconcha nasopharynx nerve nervous neurohypophysis nigra nose nrv nucleus oblique
    obturator oesophagus olecranon om omentum optic orbit oropharyngeal oropharynx ovaries ovary pacemaker palate
    palatine pallidus palpebrae pancreas pancreatic pancreaticduct papilla parametrium parasternal parathyroid
    parenchyma parotid parotids parotis patella pda pectoralis peduncle peduncles pelvis penile penis pericardial
    pericardium perineum perirenal peritoneum phalanges phalanx pharyngeal pharynx pia pineal pituitary placenta plate
    platysma pleura pleural plex plexus plv pons portal portalvein postcava premolar prevertebral proc process processes
    prostate prosthesis psoas pterygoid pubicsymphys pulmonary pulp putamen pylorus pz quadrant quadratus quadriceps
    radius rag ramus rca rectal rectum rectus region regions renal retina rib ribs sac sacrum salivary sartorius sat
    scalene scalenous scalenus scalp scapula scapulae sclera sclmast scrotum sella septum serratus sesamoid shoulder
    sigmoid sinotubular sinus sinuses skeletal skeleton skin skull sma smv space spc sphenoid sphincter spinae spinal
    spinalis spine spleen splenic spongiosum stapes stent stents sterno sternocleidomastoid sternothyroid sternum
    stomach striatum styloid subarachnoid subclavian subling sublings submand submandibular subscapularis sulcus
    supraglottis suprarenal supraspinatus surrenalgland svc symphys symphysis tarsal teeth telencephalon temporalis
    tendon teres testes testicle testis thalamus thecal thecalsac thigh thoracis thorax throat thumb thymus thyrohyoid
    thyroid tibia toe tongue tonsil tonsils tooth torso trabeculae trachea tracheal tracheobronchial transversospinalis
    trapezius triceps tricuspid trigone trochanter trunc truncus trunk tz ulna ureter ureters urethra urinary uterus
    vagina valve vas vat vb vein veins vena venacava venous venoussystem ventricle ventricles ventricular vertebra
    vertebrae vertebral ves vesicle vesicles vessel vessels vocalcord vocalcords vomer vulva wall wrist zone zones
    zygoma zygomatic
    arterie arterien becken brust dunndarm duodenale eierstock enddarm fett fettgewebe gallengang gallenwege gebarmutter
    gefass gefasse gehirn hals harnleiter haut herzkammer hirn hoden hohlvene korper kreuzbein luftrohre mastdarm muskel
    muskeln muskulatur nebenniere nebennieren oberschenkel oberschenkelknochen pfortader rippe rippen ruckenmark
    schadel schilddruse schlagader schlusselbein schulterblatt unterkiefer vene venen vorhof wand wirbel wirbelkorper
    zunge zwerchfell brustbein ventrikel unterhautfett unterhautfettgewebe
    artere arteres hepatique hepatiques mesenterique glande femorale coeliaque tronc
    bassin bronches cave cerveau cervelet clavicule colonne coronaires cote cotes crane
    diaphragme duodenum graisse intestins langue moelle muscles omoplate oreillette ovaire ovaires pancreatique peau
    porte splenique surrenale surrenales thyroide trachee uretere ureteres uterin veine veines ventricule vertebre
    vertebres
    """.split()  # noqa: SIM905  a list of words a line would take a page
)
#: Words that say which part, and which side, and that it is a mask: beside anatomy they say no lesion.
PART: Final = frozenset(
    """
    1st 2nd 3rd 4th aa abdomen abdominal accumbens acromioclavicular aggregated ai anal anatomic anatomical anatomy and
    annotation annotations annotator antecubital anterior apex arch arterial articular asc ascending atlas auto
    automated automatic automatically autonomic axillary back basal base bilateral bile binary both brachial broad
    buccal bulb cardiovascular case caudal central cephalic cerebrospinal cerv cervical cervico cflx chest circle
    circumflex collateral column combined common communicating communication compact condylar condyloid connective
    contour contours copy coronoid corrected corticospinal costocervical couinaud cranial cropped ct cystic d das de
    deep delineation der des desc descending diagonal die digital dist distal dome dorsal droit droite du edited eighth
    eleventh endo entire epigastric equina et expert ext extern externe externus extra facial fallopian fdi feet female
    fifth final first fourth frontal future gall gastroduodenal gastrointestinal gauche genicular glenohum graft gray
    great greater grele grey growth gt hard haupt head healthy horn hypochondriac hypogastric i ii iii image img implant
    incisive inf inferieur inferieure inferior inflow inguinal inner innermost inspector instance int interatrial
    intercostal intermediate intermuscular intern internal interne internus interventricular intervertebral isthmus iv
    iva ivb ix junction l la label labels laminar large laryngl lat lateral laterals le left les lesser lig limbic linea
    lingual linke linken linker linkes links lll long longitudinal lower lt lul lum lumbar lumbo lymphatic main major
    male mammary manual marginal mask maske masken masks masque mastoidal mater maxilry maximus med medial medius
    medullary mid middle minimus minius minor nasal nasopharyngeal neck new ninth non normal number occipital of old
    omental ophthalmic optical or oral orbital organ organe organs ostium outer outflow pampiniform paranasal pararenal
    parathyroide parietal part pathway patient pedicle pedis pellucidum pelvic perforating perforators pericardiophrenic
    peripheral peripherique peritoneal perivesical peroneal phase phrenic pontine popliteal portahepatis posterior
    posterolateral pred predicted prediction primitive principale proper prox proximal prv pubic pul quad r radial rater
    reader rechte rechten rechter rechtes rechts reference remnant resampled retroperitoneal revised right rll rml root
    rt rul s sacral sacroiliac saphenous scan scapular second sector seg segment segmental segmentation segmentations
    segmente segmented segmentierung segments semiautomatic seminal septal seventh sg shaft side sixth slice slices
    small smoothed soft spinous spongy start stem sternoclavicular sternocleidomastoideus strct structure structures
    styloideus subcostal subcutaneous substantia sulcus sup superficial superieur superieure superior superioris
    supraclavicular suprasellar surf surface sympathetic sys system systemic systems tail temporal temporomandibular
    tensor tenth the third thor thoracic thoraco thyrocervical tibial tissue tm total tract transition transitional
    transverse transversus tree true tube tubes twelfth ulnar umbilical uncinate upper urinaire v vaginal vagus vascular
    ventral version vi vii viii visceral vocal volume white whole willis wing x xi xii xx
    oberlappen unterlappen mittellappen lappen segmentum gemeinsame obere untere unterer oberer obenlappen
    gros sous cutanee tete bag biliaire biliaires commun commune epiniere lobes parenchyme paroi seminales
    """.split()  # noqa: SIM905
)
#: Parts of the body that are structures where no other word is.
ALONE: Final = frozenset(("abdomen", "chest", "head", "neck"))
#: Words that say health only beside one of these: a "hepatic process" or a "liver region" may be a lesion.
NEEDS: Final[Mapping[str, frozenset[str]]] = {
    word: frozenset(others.split())
    for words, others in {
        "process processes proc": "alveolar articular caudate condylar condyloid coracoid coronoid mastoid odontoid "
        "olecranon palatine papillary pterygoid spinous styloid transverse uncinate xiphoid zygomatic",
        "cavity": "abdominal blood body cranial nasal oral pelvic pericardial peritoneal pleural thoracic tympanic",
        "peripheral": "artery nerve nervous vein vessel vessels zone zones",
        "transition transitional": "zone zones",
        "zone zones": "central fibromuscular peripheral transition transitional",
        "region regions": "abdominal axillary buccal cervical epigastric eye hypochondriac hypogastric inguinal jaw "
        "lumbar neck pelvic reference sacral thoracic umbilical",
        "space spc": "bowel epidural intervertebral peritoneal pleural retroperitoneal retropharyngeal "
        "subarachnoid",
        "remnant": "future",
        "small": "bowel cardiac gluteus intestin intestine intestines saphenous",
        "large": "bowel intestin intestine intestines",
        "soft": "body head leg limb neck palate thigh",
        "hard": "palate",
        "growth": "plate",
        "sac": "thecal",
        "bag": "bowel",
        "gros": "intestin",
        "implant": "breast dental hip knee shoulder spinal teeth tooth",
        "blood": "capillary capillaries cavity pool vessel vessels",
        "lymph lymphatic": "duct system vessel vessels",
        "quadrant": "abdomen breast",
        "cystic": "artery duct vein",
        "fluid": "cerebrospinal",
        "white gray grey": "brain cerebellar cerebral cord matter spinal",
        "matter": "gray grey white",
        "non": "cusp",
        "true": "lumen",
        "graft": "artery coronary kidney liver vascular vessel",
    }.items()
    for word in words.split()
}  # fmt: skip
#: Numerals of a solid organ need what is counted: "liver VII" may be a lesion there, "second kidney" as well.
NUMERALS: Final = frozenset(
    "i ii iii iv iva ivb v vi vii viii 1st 2nd 3rd 4th first second third fourth fifth".split()  # noqa: SIM905
)
COUNTED: Final = frozenset(
    """
    annotator couinaud expert lobe part phase rater reader scan sector seg segment segmental segmente segments version
    """.split()  # noqa: SIM905
)
#: Healthy elsewhere; in a solid organ it is none of its parts.
NOT_IN_SOLID: Final = frozenset("air cavity chamber compartment fat fluid space spc zone zones".split())  # noqa: SIM905
