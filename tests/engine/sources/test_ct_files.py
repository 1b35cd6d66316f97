"""What lies beside what: label maps of the right image, values and names that somebody knows, files in no case."""

import json

import nibabel as nib
import numpy as np
import pytest

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct import layouts
from lesionforge.engine.sources.ct.names import legend_of, nameless
from lesionforge.engine.sources.files import File
from lesionforge.generators.lesion.scene import VolumeAnatomy
from lesionforge.generators.structures import kind
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import hu, labels, lits, refusal, source, write

LEGEND = {1: "liver", 2: "liver_tumour"}


def listing(*names, layout="auto"):
    """How a folder of these files is read; no file is."""
    files = [File(f"{name}.nii.gz", f"/there/{name}.nii.gz", 1, "", None) for name in names]
    found = layouts.find(files, layout)
    counts = {why: len(paths) for why, paths in found.left_over(files).items()}
    pairs = {e.name: (e.image.name[:-7], e.label.name[:-7] if e.label else len(e.masks)) for e in found.entries}
    return pairs, counts


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["p0/images/ct", "p0/labels/ct", "p1/images/ct", "p1/labels/ct"], {"p0/ct": "p0", "p1/ct": "p1"}),
        (["images/p0/ct", "labels/p0/ct", "images/p1/ct", "labels/p1/ct"], {"p0/ct": "images", "p1/ct": "images"}),
        (["p0/ct", "p0/label", "p1/ct", "p1/label"], {"p0": "p0", "p1": "p1"}),
        (["a/x_ct", "a/x_seg", "b/x_ct", "b/x_seg"], {"a/x": "a", "b/x": "b"}),
        (["a/volume-0", "a/segmentation-0", "b/volume-0", "b/segmentation-0"], {"a/0": "a", "b/0": "b"}),
        (["volume_pt1/volume-0", "volume_pt2/volume-1", "segmentations/segmentation-0", "segmentations/segmentation-1"],
         {"0": "volume_pt1", "1": "volume_pt2"}),  # as Kaggle lays LiTS out: numbers go on
        (["a/case_00000/imaging", "a/case_00000/segmentation", "b/case_00000/imaging", "b/case_00000/segmentation"],
         {"a/case_00000": "a", "b/case_00000": "b"}),
        (["1-200/1.img", "1-200/1.label", "new/1.img", "new/1.label"], {"1-200/1": "1-200", "new/1": "new"}),
        (["u/s0001/ct", "u/s0001/segmentations/liver", "v/s0001/ct", "v/s0001/segmentations/liver"],
         {"u/s0001": "u", "v/s0001": "v"}),
        (["BDMAP_01/ct", "BDMAP_01/segmentations/liver", "BDMAP_02/ct", "BDMAP_02/segmentations/liver"],
         {"BDMAP_01": "BDMAP_01", "BDMAP_02": "BDMAP_02"}),
        (["images/case_0000", "images/case_0001", "labels/case_0000", "labels/case_0001"],
         {"case_0000": "images", "case_0001": "images"}),
        (["images/case_0000_0000", "images/case_0001_0000", "labels/case_0000", "labels/case_0001"],
         {"case_0000": "images", "case_0001": "images"}),
        (["images/0_ct", "labels/0_ct", "images/1_ct", "labels/1_seg"], {"0_ct": "images", "1_seg": "images"}),
        (["t/img/img0001", "t/label/label0001"], {"t/0001": "t"}),  # BTCV
        (["TrainingImg/train_001_0000", "TrainingMask/train_001"], {"train_001": "TrainingImg"}),  # FLARE21
        (["imagesTr2200/F_1_0000", "labelsTr2200/F_1"], {"F_1": "imagesTr2200"}),  # FLARE23
        (["Image/p1", "Mask/p1", "Image/p2", "Mask/p2"], {"p1": "Image", "p2": "Image"}),
        (["ct/p1", "seg/p1"], {"p1": "ct"}),
    ],
)  # fmt: skip
def test_a_pair_shares_its_folder(names, expected):
    pairs, left = listing(*names)
    assert {name: image.split("/")[0] for name, (image, _) in pairs.items()} == expected
    assert not left
    for image, label in pairs.values():
        if not isinstance(label, int):  # the folders above the part that is for one kind are the same
            assert image.split("/")[:-3] == label.split("/")[:-3]


@pytest.mark.parametrize(
    "names",
    [
        ["A_CT", "A_SEG"],
        ["a", "a-label"],
        ["a-ct", "a-seg"],
        ["A IMG", "A Mask"],
        ["p1/CT", "p1/Seg"],
        ["Images/P1_CT", "Labels/P1_SEG"],
        ["images/P1-ct", "labels/P1"],
        ["case-0000", "case-0000-segmentation"],
    ],
)
def test_endings_of_pairs_may_be_capitals_and_have_a_hyphen(names):
    pairs, left = listing(*names)
    assert list(pairs.values()) == [tuple(names)]
    assert not left


@pytest.mark.parametrize(
    "names",
    [
        ["siteA/images/001", "siteA/labels/001_scan", "siteB/images/001_scan", "siteB/labels/001"],
        ["first/volume-0", "second/segmentation-0"],
        ["a/x_ct", "b/x_seg"],
        ["a/1.img", "b/1.label"],
    ],
)
def test_files_of_other_folders_are_no_pair(names):
    with pytest.raises(SourceError, match="laid out like none"):
        listing(*names)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["volume_pt1/volume-0", "volume_pt2/volume-0", "segmentations/segmentation-0"], "2 images have one name"),
        (["volume-0", "Volume-0", "segmentation-0"], "2 images have one name"),
        (
            ["images/a", "labels/a", "masks/a"],
            "2 label maps have one name .in folders side by side, as labels and mask",
        ),
        (["images/a", "images/a_ct", "labels/a"], "two images could be"),
        (["a_ct", "a", "a_seg"], "two images could be"),
        (["a_ct", "a-CT", "a_seg"], "two images could be"),
        (["images/a", "labels/a_seg", "labels/a_mask"], "two label maps could be"),
    ],
)
def test_two_files_of_one_name_are_an_error(names, words):
    with pytest.raises(SourceError, match=words):
        listing(*names)


def test_files_in_no_case_are_counted_by_their_kind(tmp_path):
    pairs, left = listing(
        "volume-0", "volume-1", "Volume-3", "segmentation-0", "segmentation-7", "imagesTs/x", "labelsTs/x"
    )
    assert list(pairs) == ["0"]
    assert left == {"volumes without a label map": 2, "label maps without an image": 1}
    assert listing("s1/ct", "s1/combined_labels", "s1/segmentations/liver", "s2/ct", "s3/segmentations/liver")[
        1
    ] == left | {"volumes without a label map": 1}
    lits(tmp_path)
    write(tmp_path / "volume-2.nii.gz", hu())
    assert source(tmp_path).left_over == {"volumes without a label map": [str(tmp_path / "volume-2.nii.gz")]}


@pytest.mark.parametrize("name", ["liver-tumor", "liver tumor", "liver.tumor", "lesions/liver_tumor", "Liver_Tumor"])
def test_a_mask_is_read_whatever_joins_its_words(tmp_path, name):
    write(tmp_path / "s1/ct.nii.gz", hu())
    for mask, value in (("liver", 1), (name, 2)):
        write(tmp_path / f"s1/Segmentations/{mask}.nii.gz", (labels() == value).astype(np.uint8))
    found = source(tmp_path)
    assert (found.read(0).legend, found.left_over) == (LEGEND, {})


def nnunet(folder, names, channel="CT", label=None):
    write(folder / "imagesTr" / "a_0000.nii.gz", hu())
    write(folder / "labelsTr" / "a.nii.gz", labels() if label is None else label)
    body = {"channel_names": {"0": channel, "1": "CT"}, "labels": {"background": 0, **names}}
    (folder / "dataset.json").write_text(json.dumps(body))
    return folder


@pytest.mark.parametrize("channel", ["CTA", "CECT", "ct", "CT angiography", "computed tomography", "ncct_abdomen"])
def test_every_name_of_ct_is_ct(tmp_path, channel):
    assert source(nnunet(tmp_path, LEGEND_NAMES, channel)).read(0).legend == LEGEND


LEGEND_NAMES = {"liver": 1, "liver tumor": 2}


@pytest.mark.parametrize("channel", ["noNorm", "rescale_to_0_1", "PET", "PET/CT", "SPECT", "MR", "ACT", "\x1b[31m"])
def test_other_channels_are_refused_with_their_text_and_the_option_to_go_on(tmp_path, channel):
    nnunet(tmp_path, LEGEND_NAMES, channel)
    with pytest.raises(SourceError, match=r"another modality.*set the option modality: ct") as error:
        source(tmp_path)
    assert (repr(channel) in str(error.value)) != (channel == "\x1b[31m")
    assert "\x1b" not in str(error.value)
    assert source(tmp_path, modality="ct").read(0).legend == LEGEND


@pytest.mark.parametrize(
    ("names", "legend"),
    [
        ({"liver": 1, "HCC": 2}, LEGEND),
        ({"liver": 1, "hepatic metastases": 2}, LEGEND),
        ({"liver": 1, "masses": 2}, LEGEND),
        ({"left kidney": 1, "right kidney": 3, "tumor": 2}, {1: "kidney", 2: "kidney_tumour", 3: "kidney"}),
        ({"kidney": 1, "cyst": 2}, {1: "kidney", 2: "kidney_cyst"}),
        ({"liver": 1, "bile duct cancer": 2}, {1: "liver", 2: "bile_duct_tumour"}),
        ({"liver": 1, "livertumor01": 2, "Liver-Lesion2": 3}, {1: "liver", 2: "liver_tumour", 3: "liver_tumour"}),
        ({"lung": 1, "lung_nodule1": 2, "PancreasTumor": 3}, {1: "lung", 2: "lung_tumour", 3: "pancreas_tumour"}),
    ],
)
def test_lesions_are_named_after_the_organ_they_are_in(names, legend):
    assert legend_of({value: name for name, value in names.items()}) == legend
    assert not nameless(legend)


@pytest.mark.parametrize(
    "names",
    [
        {"liver": 1, "tumor": 2, "spleen": 3},
        {"liver": 1, "odd one": 2},
        {"liver": 1, "ROI": 2},
        {"liver": 1, "liver_FNH ROI": 2},
        {"liver": 1, "ROI liver_T1": 2},
    ],
)
def test_names_that_nobody_knows_are_refused_or_mapped_or_left_out(tmp_path, names):
    nnunet(tmp_path, names)
    with pytest.raises(SourceError, match=r"gives label \d a name that is no structure.*option legend") as error:
        source(tmp_path)
    assert "ROI" not in str(error.value)
    assert source(tmp_path, legend=LEGEND).read(0).legend == LEGEND
    assert source(tmp_path, labels=("liver",)).subjects == 1


def test_structures_to_keep_that_are_not_there_are_told(tmp_path):
    with pytest.raises(
        SourceError, match=r"nothing called livr, which the option labels is to keep.*it has liver, liver_"
    ):
        source(lits(tmp_path), labels=("livr",))


@pytest.mark.parametrize("value", [3, 255])
def test_values_that_nobody_names_are_refused_with_their_count(tmp_path, value):
    marked = np.where(labels() == 2, value, labels()).astype(np.uint8)
    for folder in (lits(tmp_path / "a", label=marked), nnunet(tmp_path / "b", LEGEND_NAMES, label=marked)):
        assert f"holds {value} in 8 voxels, and nobody says" in refusal(folder)
        assert source(folder, labels=("liver",)).read(0).labels.sum() == 136
        assert source(folder, legend={1: "liver", value: "liver_tumour"}).read(0).labels.max() == value


def test_masks_of_lesions_are_read_without_being_asked_for_and_hold_one_structure(tmp_path):
    write(tmp_path / "s1/ct.nii.gz", hu())
    for name, value in (("liver", 1), ("hepatic_lesions", 2), ("lung_left", 2)):
        write(tmp_path / f"s1/segmentations/{name}.nii.gz", (labels() == value).astype(np.uint8))
    assert source(tmp_path).read(0).legend == LEGEND
    write(tmp_path / "s1/segmentations/liver.nii.gz", labels())
    assert "its mask of liver holds 1 and 2" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["kidney_cyst", "tumour", "thing", "masses", "spleen_tumour"])
def test_the_lesion_generator_makes_no_background_of_what_may_be_a_lesion(tmp_path, name):
    lits(tmp_path)
    volume = source(tmp_path, legend={1: "liver", 2: name}).read(0)
    with pytest.raises(BadCase, match=r"label 2 in 8 voxels may be a lesion.*option legend.*as \{2: liver_tumour\}"):
        VolumeAnatomy(volume)
    VolumeAnatomy(source(tmp_path, legend={1: "liver", 2: "spleen", 3: name}).read(0))  # where it is not there
    VolumeAnatomy(source(tmp_path, legend={1: "liver", 2: name}, labels=("liver",)).read(0))


def test_masks_whose_names_nobody_knows_are_refused_and_glued_words_are_read(tmp_path):
    write(tmp_path / "s1/ct.nii.gz", hu())
    for name, value in (("liver", 1), ("livertumor01", 2)):
        write(tmp_path / f"s1/segmentations/{name}.nii.gz", (labels() == value).astype(np.uint8))
    assert source(tmp_path).read(0).legend == LEGEND
    write(tmp_path / "s1/segmentations/liver_FNH.nii.gz", (labels() == 1).astype(np.uint8))
    assert "one of its masks, whose name says neither anatomy nor a lesion of one organ known here" in refusal(tmp_path)
    assert source(tmp_path, labels=("liver",)).read(0).legend == {1: "liver"}


@pytest.mark.parametrize(
    "name",
    [
        "liver_fnh",
        "kidney_aml",
        "pancreas_mcn",
        "pancreas_spn",
        "kidney_wilms",
        "liver_icc",
        "liver_pvtt",
        "lung_ggo",
        "liver_t",
        "liver_t1",
        "liver_l1",
        "liver_ca",
        "liver_meta",
    ],
)
def test_an_organ_beside_an_unknown_word_is_unknown(name):
    assert kind(name) == "unknown"


def test_structures_of_the_published_sets_are_anatomy():
    text = """spleen kidney_right gallbladder adrenal_gland_left lung_upper_lobe_left esophagus thyroid_gland sacrum
    urinary_bladder vertebrae_l1 pulmonary_vein brachiocephalic_trunk subclavian_artery_right small_bowel
    inferior_vena_cava portal_vein_and_splenic_vein iliac_vena_left humerus_left scapula_right clavicula_left hip_left
    spinal_cord gluteus_maximus_left autochthon_right iliopsoas_left skull rib_left_1 costal_cartilages postcava
    prostate_uterus celiac_trunk hepatic_vessel head_of_femur rag coronary_wall epicardial_fat intestine
    heart_ventricle_left atrial_appendage_left
    lung_trachea_bronchia common_carotid_artery_left vertebrae_s1 vertebrae_t12 vertebrae_c7 arota gall_bladder
    pancreas_head head_of_femur_l liver_segment_1 subcutaneous_fat frontal_lobe optic_nerve_left om1 diag2
    right_adrenal_gland duodenum colon rectum stomach trachea superior_vena_cava"""
    assert {name: kind(name) for name in text.split() if kind(name) != "healthy"} == {}


@pytest.mark.parametrize("code", [0.99999994, 1.0004, 1 - 1e-4])
def test_labels_within_a_thousandth_of_whole_numbers_are_meant_so(tmp_path, code):
    off = np.where(labels() == 1, code, labels()).astype(np.float32)
    assert np.array_equal(source(lits(tmp_path, label=off)).read(0).labels, labels())
    assert "holds 1.01; labels are whole" in refusal(lits(tmp_path, label=np.where(off == 2, 1.01, off)))


def header(folder, change, name="volume-0"):
    """Change a header after nibabel wrote it, so that nothing is made to agree."""
    path = folder / f"{name}.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    image.header["vox_offset"] = 352
    change(image.header)
    raw = image.header.binaryblock + b"\0" * 4 + array.astype(image.get_data_dtype()).tobytes(order="F")
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("qoffset_x", 25.0, "its sform and its qform put it up to 15.0 mm apart"),
        ("pixdim", [1, 1.0, 1.0, 1.0, 0, 0, 0, 0], "its pixdim says voxels of 1 x 1 x 1 mm, its affine of 1.5 x 2 x 3"),
        ("xyzt_units", 1, "its voxels are 1.5e+03 x 2e+03 x 3e+03 mm"),
        ("xyzt_units", 7, "no unit of length"),
    ],
)
def test_headers_that_say_two_things_are_refused(tmp_path, field, value, words):
    def change(head):
        head["qform_code"] = int(field == "qoffset_x")
        head[field] = value

    lits(tmp_path)
    header(tmp_path, change)
    assert words in refusal(tmp_path)


def test_lengths_are_of_the_unit_that_is_declared(tmp_path):
    for name, scale, unit in (("metres", 1e-3, 1), ("microns", 1e3, 3)):
        lits(tmp_path / name)
        for file in ("volume-0", "segmentation-0"):

            def change(head, scale=scale, unit=unit):
                head["pixdim"][1:4] *= scale
                for row in ("srow_x", "srow_y", "srow_z"):
                    head[row] *= scale
                head["xyzt_units"] = unit

            header(tmp_path / name, change, file)
        volume = source(tmp_path / name).read(0)
        assert volume.spacing_mm == pytest.approx((1.5, 2, 3), rel=1e-5)
        assert volume.origin_mm == pytest.approx((-40, 30, -100), rel=1e-5)


def test_one_frame_in_four_dimensions_is_a_volume_and_a_slope_of_0_none(tmp_path):
    lits(tmp_path, hu()[..., None])
    header(tmp_path, lambda head: head.__setitem__("scl_slope", 0))
    assert np.array_equal(source(tmp_path).read(0).hu, hu())


def test_a_place_that_is_none_and_the_spacing_that_lits_lost_are_noted(tmp_path):
    lits(tmp_path / "a", affine=np.eye(4))
    assert "is the identity" in source(tmp_path / "a").read(0).notes["affine"]
    wide = np.zeros((512, 512, 2), np.int16)
    wide[:9] = -1000
    lits(tmp_path / "b", wide, (wide + 1000 > 0).astype(np.uint8), np.diag([-1.0, -1, 1, 1]))
    assert "LiTS 28 to 47" in source(tmp_path / "b").read(0).notes["spacing"]
    assert "affine" not in source(tmp_path / "b").read(0).notes
    assert "spacing" not in source(lits(tmp_path / "c")).read(0).notes
    assert not source(tmp_path / "c").notes
    assert "28 to 47 most say 1 x 1 x 1 mm" in source(lits(tmp_path / "d", n=30)).notes[0]  # told by the plan as well


@pytest.mark.parametrize("image", [hu() + 1200, (hu() + 200) // 4, np.abs(hu())])
def test_values_without_any_below_zero_are_no_hounsfield_units(tmp_path, image):
    assert "no Hounsfield units" in refusal(lits(tmp_path, image))


@pytest.mark.parametrize(
    "image",
    [
        np.where(hu() < 0, -1000, hu() % 100) * 10,
        np.where(hu() < 0, -2024, hu() % 100 - 1024),
        (hu() // 4).clip(-128, 99),
    ],
    ids=["ten times", "offset twice", "signed grey"],
)
def test_values_of_another_scale_are_no_hounsfield_units(tmp_path, image):
    image = image.astype(np.int16)
    if image.min() == -50:
        image[:2] = -128
    assert "no Hounsfield units: " in refusal(lits(tmp_path, image))


@pytest.mark.parametrize("padding", [-3024, -2048, -32768])
def test_padding_is_no_reason_to_refuse_a_volume(tmp_path, padding):
    image = hu()
    image[:4] = padding
    assert source(lits(tmp_path, image)).read(0).hu.min() == padding


def test_regions_need_the_option_legend(tmp_path):
    nnunet(tmp_path, {"whole_liver": [1, 2], "tumor": [2]})
    with pytest.raises(SourceError, match=r"no regions.*option legend"):
        source(tmp_path)
    assert source(tmp_path, legend=LEGEND).read(0).legend == LEGEND


def test_kits21_and_what_macos_leaves(tmp_path):
    write(tmp_path / "case_00000/imaging.nii.gz", hu())
    write(tmp_path / "case_00000/aggregated_MAJ_seg.nii.gz", labels())
    for name in ("._imaging.nii.gz", "._aggregated_MAJ_seg.nii.gz", ".DS_Store"):
        (tmp_path / "case_00000" / name).write_bytes(b"Mac OS X")
    found = source(tmp_path)
    assert (found.layout, found.subjects, found.left_over) == ("kits", 1, {})
