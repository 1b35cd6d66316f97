"""Names of structures as published sets, DICOM's terminologies and hospitals write them: health, or none."""

import pytest

from lesionforge.engine.sources.ct.names import legend_of, nameless, standard
from lesionforge.generators.structures import kind, kind_of_file

SIDES = ("left", "right")
HEALTHY = {
    "TotalSegmentator": """
        spleen kidney_SIDE gallbladder liver stomach pancreas adrenal_gland_SIDE lung_upper_lobe_SIDE thyroid_gland
        lung_lower_lobe_SIDE lung_middle_lobe_right esophagus trachea small_bowel duodenum colon urinary_bladder
        prostate sacrum vertebrae_S1 vertebrae_L6 vertebrae_L5 vertebrae_T12 vertebrae_C1 heart aorta pulmonary_vein
        brachiocephalic_trunk subclavian_artery_SIDE common_carotid_artery_SIDE brachiocephalic_vein_SIDE brain skull
        atrial_appendage_left superior_vena_cava inferior_vena_cava portal_vein_and_splenic_vein iliac_artery_SIDE
        iliac_vena_SIDE humerus_SIDE scapula_SIDE clavicula_SIDE femur_SIDE hip_SIDE spinal_cord gluteus_maximus_SIDE
        gluteus_medius_SIDE gluteus_minimus_SIDE autochthon_SIDE iliopsoas_SIDE rib_SIDE_1 rib_SIDE_12 sternum
        costal_cartilages heart_myocardium heart_atrium_SIDE heart_ventricle_SIDE pulmonary_artery face""",
    "TotalSegmentator's other tasks": """
        lung_vessels lung_trachea_bronchia lung_airways lung_airways_wall eyeball_SIDE lateral_rectus_muscle_SIDE
        superior_oblique_muscle_SIDE levator_palpebrae_superioris_SIDE optic_nerve_SIDE hip_implant coronary_arteries
        body_trunc body_extremities lung_pleural liver_vessels vertebrae_body intervertebral_discs patella tibia fibula
        tarsal metatarsal phalanges_feet ulna radius carpal metacarpal phalanges_hand subcutaneous_fat torso_fat
        skeletal_muscle intermuscular_fat brainstem subarachnoid_space venous_sinuses septum_pellucidum cerebellum
        caudate_nucleus lentiform_nucleus insular_cortex internal_capsule ventricle central_sulcus frontal_lobe
        parietal_lobe thalamus eye_lens_SIDE parotid_gland_SIDE submandibular_gland_SIDE nasopharynx oropharynx
        hypopharynx nasal_cavity_SIDE auditory_canal_SIDE soft_palate hard_palate larynx_air thyroid_cartilage hyoid
        cricoid_cartilage zygomatic_arch_SIDE styloid_process_SIDE internal_carotid_artery_SIDE masseter_SIDE
        internal_jugular_vein_SIDE temporalis_SIDE lateral_pterygoid_SIDE tongue digastric_SIDE anterior_scalene_SIDE
        sternocleidomastoid_SIDE superior_pharyngeal_constrictor platysma_SIDE levator_scapulae_SIDE sterno_thyroid_SIDE
        thyrohyoid_SIDE prevertebral_SIDE quadriceps_femoris_SIDE thigh_medial_compartment_SIDE sartorius_SIDE deltoid
        supraspinatus infraspinatus subscapularis coracobrachial pectoralis_minor teres_major triceps_brachii breast
        ventricle_frontal_horn_SIDE ventricle_trigone_SIDE third_ventricle left_ventricular_outflow_tract annulus_proper
        non_coronary_cusp sinotubular_junction renal_arteries aorta_true_lumen pul_bifurcation liver_segment_1 mandible
        teeth_lower head sinus_maxillary pectoralis_major_SIDE rectus_abdominis_SIDE serratus_anterior_SIDE
        latissimus_dorsi_SIDE external_oblique_SIDE erector_spinae_SIDE transversospinalis_SIDE quadratus_lumborum_SIDE
        lower_jawbone SIDE_inferior_alveolar_canal bridge crown upper_right_central_incisor_fdi11 lingual_canal
        lower_left_second_premolar_pulp_fdi135 left_mandibular_incisive_canal_fdi103 abdominal_cavity thoracic_cavity
        pericardium mediastinum""",
    "AMOS, BTCV, FLARE, WORD, CT-ORG, SegTHOR": """
        right_kidney postcava arota gall_bladder prostate/uterus RAG LAG IVC RK LK Head_of_femur_L adrenal intestine
        rectum bladder Lungs Kidneys Bone portal_vein_and_splenic_vein Spleen Left_Adrenal_Gland""",
    "AbdomenAtlas, PanTS, 3D-IRCADb, MM-WHS": """
        celiac_aa celiac_artery celiac_trunk common_bile_duct hepatic_vessel superior_mesenteric_artery veins cbd_stent
        pancreas_head pancreas_body pancreatic_duct renal_vein_left leftkidney rightlung portalvein venacava artery
        venoussystem leftsurrenalgland biliarysystem smallintestin skin left_ventricle_blood_cavity ascending_aorta""",
    "KiTS' annotators, readers, versions": """
        kidney_instance-1_annotation-1 liver_reader1 liver_v2 Liver_final liver-label liver_001 liver_12 pred_liver
        Liver_(manual) Kidney_(L) LIVER External BODY""",
    "TG-263": """
        A_Aorta A_Carotid_L A_Mesenteric_S V_Azygos OpticNrv_L OpticChiasm SpinalCord SpinalCord_PRV05 Bag_Bowel
        Spc_Bowel Bowel_Small Glnd_Submand_L Lung_RUL Bone_Mandible Cavity_Oral Lips Parotid_L Femur_Head_L VB_T01
        BrachialPlex_R Musc_Constrict_S Proc_Coronoid_L Cartlg_Thyroid Canal_Anal Chestwall_L CN_VII_L Ear_Middle_R
        Esophagus_S Hippocampus_L Joint_TM_L Larynx_SG PenileBulb Rectum Retina_R Sinus_Maxilry_L Tongue_Base
        Valve_Mitral CaudaEquina""",
}
TERMS = """
    Adrenal gland|Deep muscle of back|Lower lobe of lung|Trachea and bronchus|Subcutaneous fatty tissue|Eighth rib|
    Auricular appendage|Left ventricle of heart|Portal vein and splenic vein|T12 vertebra|Phalanx structure|Bile Duct|
    Central nervous system|Cerebral White Matter|Corpus callosum|Inferior longitudinal fasciculus|Retroperitoneal space|
    Lateral ventricle|Uncinate fasciculus|Vas deferens|Pia mater|Female internal genitalia|Blood vessel|Neurohypophysis|
    Bone structure of head and/or neck|Brain cerebrospinal fluid pathway|Interventricular septum|Lymphatic vessel|
    Liver reference region|Reference Region|Inguinal region|Right upper quadrant of abdomen|Segment VII of liver|
    uncinate process of pancreas|caudate process of liver|transverse process|spinous process|peripheral zone|
    transition zone of prostate|future liver remnant|large intestine|cystic duct|white matter|Hepatic|Portal|
    Leber|linke Niere|Niere rechts|Milz|Gallenblase|Bauchspeicheldrüse|Bauchspeicheldruese|Magen|Hauptschlagader|
    Nebenniere links|Pfortader|Lebervene|untere Hohlvene|Zwölffingerdarm|Dünndarm|Dickdarm|Speiseröhre|Luftröhre|Rippe|
    Rippe 3 links|Wirbelkörper|Wirbelsäule|Brustbein|Schulterblatt|Becken|Schilddrüse|Gehirn|Rückenmark|Muskel|Fett|
    Haut|Gefäße|Lungenarterie|Gebärmutter|Herzmuskel|linker Vorhof|Lungenoberlappen links|rechter Leberlappen|
    Nierenbecken|Unterhautfettgewebe|
    foie|rein gauche|reins|rate|pancréas|vésicule biliaire|aorte|veine cave inférieure|veine porte|artère hépatique|
    glande surrénale droite|poumon gauche|cœur|estomac|œsophage|duodénum|côlon|intestin grêle|gros intestin|vessie|
    utérus|côtes|vertèbres|moelle épinière|cerveau|trachée|muscles|graisse sous-cutanée|peau|bassin|tête fémorale|
    tronc coeliaque|artère mésentérique supérieure|lobe droit du foie"""
LESIONS = """
    pancreatic_pnet|pancreatic_pdac|pancreatic_cyst|pancreatic_lesion|liver_lesion|kidney_lesion|colon_lesion|IPMN|GIST|
    liver_tumor|kidney_cyst_left|lung_nodules|lung_covid_infiltrate|intracerebral_hemorrhage|pleural_effusion|CRLM|
    brain_aneurysm|livertumor01|livercyst|colon cancer primaries|Tumor_1|Mass|Neoplasm, Primary|Nodule|Blood clot|
    Embolus|Edema|Hemorrhage|Inflammation|Abscess|Necrosis|Lebermetastase|Nierenzellkarzinom|Pankreaskopfkarzinom|Hirntumor|
    NIERENTUMOR_LINKS|Milzinfarkt|Nierenzyste|Leberabszess|Raumforderung|Hämangiom|Haemangiom der Leber|Pleuraerguss|
    tumeur|Métastases hépatiques|kyste|masse|angiomyolipoma|oncocytoma|hepatoblastoma|kidney_stones|gallstones|
    tumormask|Tumormaske|LesionMask|tumorseg|lesionlabel|metsmask|cystmask|nodulemask|tumorsegmentation|
    FDG-Avid Tumor|Lymph node|mediastinal lymph nodes"""
NOT_HEALTHY = """
    FNH|NET|MCN|SPN|AML|ICC|SOL|GGO|GTV|GTVp|GTV-1|CTV_7000|PTV|ITV|Lungs-GTV|ROI|roi_1|process|prozess|zone|region|target|
    ignore|other|Untitled|Segmentation|Segment_1|label|mask|1|herd|Rundherd|Leberherd|foyer|cible|Filiae|Knoten|growth|
    nodular|fluid|blood|free fluid|pleural fluid|abdominal fluid|collection|ablation zone|resection cavity|surgical_bed|
    ProstateBed|scar|recurrence|residual|remnant|hypodense|suspicious|defect|fistula|false_lumen|lymph|LN_Ax_L|
    abd_lymph_001_mask|implant|peritoneal_implants|liver implant|secondaries|liver_secondary|area|hot spot|Befund|
    hepatic_process|liver_soft_tissue_process|liver_zone|liver_zone_1|Ablation zone|liver_region_1|Leberregion|
    Leberprozess|pancreas_space|liver_space|hepatic space occupying|liver_remnant|kidney_compartment|liver_growth|
    liver_mass_effect|liver_VII|liver_V|liver_2|liver-1|Leber 3|kidney 2|small_liver|liver_b|liver_dark|liver_T1|
    liver_FNH|liver_fluid|liver_blood|liver_quadrant|renal cystic|soft tissue|left lung FNH|liver soft tissue|
    lung soft tissue|lung cavity|hepatic cavity|hepatic VII|hepatic_2|second liver|kidney peripheral|liver cist"""


def split(text):
    return [name.strip() for name in text.replace("\n", " ").split("|")]


@pytest.mark.parametrize("which", HEALTHY)
def test_the_structures_of_published_sets_are_anatomy(which):
    names = [name.replace("SIDE", side) for name in HEALTHY[which].split() for side in SIDES]
    assert {name: kind(name) for name in names if kind(name) != "healthy"} == {}
    assert not nameless(legend_of(dict(enumerate(dict.fromkeys(names), 1))))


def test_terms_of_anatomy_are_known_in_three_languages():
    assert {name: kind(name) for name in split(TERMS) if kind(name) != "healthy"} == {}


def test_what_is_called_a_lesion_is_one():
    assert {name: kind(name) for name in split(LESIONS) if kind(name) != "lesion"} == {}


def test_what_may_be_a_lesion_is_not_healthy():
    assert [name for name in split(NOT_HEALTHY) if kind(name) == "healthy"] == []


def test_a_file_of_several_structures_with_a_lesion_is_called_one():
    both = "liver+tumor|liver_and_tumor|Leber und Tumor|foie_et_tumeur|liver with mets|GTV|GTVp1|IGTV|Liver-GTV|HCC"
    assert {name: kind_of_file(name) for name in split(both) if kind_of_file(name) != "lesion"} == {}
    neither = "liver without tumor|no_tumor|liver_wo_lesion|non_tumor|CTV|liver|spleen_and_liver"
    assert [name for name in split(neither) if kind_of_file(name) == "lesion"] == []


@pytest.mark.parametrize(
    ("name", "is_called"),
    [
        ("RK", "kidney"),
        ("leftkidney", "kidney"),
        ("liver_v2", "liver"),
        ("Liver (manual)", "liver"),
        ("Hauptschlagader", "aorta"),
        ("vésicule biliaire", "gallbladder"),
        ("pancreatic_pnet", "pancreas_tumour"),
        ("Nierentumor rechts", "kidney_tumour"),
        ("liver_2", "liver_2"),
        ("Lebervene", "lebervene"),
    ],
)
def test_an_organ_is_called_by_one_name(name, is_called):
    assert standard(name) == is_called
