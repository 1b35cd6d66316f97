"""What lies beside volumes and their label maps: nothing that may mark a lesion becomes healthy without a word."""

import json

import numpy as np
import pytest

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct.beside import Owner, inventory
from lesionforge.engine.sources.files import File
from lesionforge.generators.structures import kind_of_file
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import PLAIN, SHAPE, hu, labels, source, write

MAP = labels()
ORGAN, LESION = (MAP > 0).astype(np.uint8), (MAP == 2).astype(np.uint8)
LIVER, BOTH = {"legend": {1: "liver"}}, {"legend": {1: "liver", 2: "liver_tumour"}}
SHIFTED = PLAIN + np.pad([[-0.6], [0], [0]], ((0, 1), (3, 0)))
OTHER_PLACE = PLAIN + np.pad([[300.0], [0], [0]], ((0, 1), (3, 0)))
CT, NONE, FAR = hu(), np.zeros(SHAPE, np.uint8), (LESION, OTHER_PLACE)

MANY = np.arange(960, dtype=np.uint16).reshape(SHAPE)


def nrrd(path, mask, *names, tags=""):
    """In NRRD on the voxels of ``PLAIN``, with segments of these names and the tags of the last."""
    head = "".join(f"Segment{n}_Name:={name}\n" for n, name in enumerate(names))
    head += f"Segment{len(names) - 1}_Tags:={tags}\n" if tags else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = " ".join(map(str, mask.shape))
    path.write_bytes(
        f"NRRD0004\n{head}type: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        "space directions: (1.5,0,0) (0,2,0) (0,0,3)\nencoding: raw\nspace origin: (-40,30,-100)\n\n".encode()
        + mask.astype(np.uint8).tobytes(order="F")
    )


def lay(folder, files):
    """Files by their names: arrays as NIfTI or NRRD, pairs with their affine or segments, text as it is."""
    for name, content in files.items():
        array, *more = content if isinstance(content, tuple) else (content,)
        path = folder / name
        if isinstance(array, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(array)
        elif name.endswith("nrrd"):
            nrrd(path, array, *more)
        else:
            write(folder / f"{name}.nii.gz", array.astype(np.result_type(array, np.uint8)), *more)
    return folder


PAIR = {"a_ct": CT, "a_seg": ORGAN}
TWO = {**PAIR, "b_ct": hu() + 1, "b_seg": ORGAN}
FOLDERS = {f"{kind_of}/p{n}": array for n in (1, 2) for kind_of, array in (("images", hu() + n), ("labels", ORGAN))}
BARE = {"ct": CT, "seg": ORGAN}
LITS = {f"{name}-{n}": array for n in (0, 12) for name, array in (("volume", hu() + n), ("segmentation", ORGAN))}
KITS = {"case_00001/imaging": CT, "case_00001/segmentation": ORGAN}
MSD = {
    "imagesTr/x_1": CT, "labelsTr/x_1": ORGAN, "imagesTr/x_2": hu() + 1, "labelsTr/x_2": ORGAN,
    "imagesTs/x_3": CT, "labelsTs/x_3_tumor": LESION,
    "dataset.json": json.dumps({"labels": {"background": 0, "liver": 1}, "channel_names": {"0": "CT"}}),
}  # fmt: skip
TS = {"s0001/ct": CT, "s0001/segmentations/liver": ORGAN, "s0001/segmentations/spleen": NONE}
TASKS = ("hip_implant", "lower_jawbone", "quadriceps_femoris_left", "styloid_process_right", "veins", "crown")
NOT_READ = "is of a format that is not read here"
MARKS, GRID = "marks 8 voxels that are no lesion in the label map", "marks 8 voxels on another grid"
NOBODY = "whose name says neither anatomy nor a lesion of one organ known here, marks 8 voxels"


@pytest.mark.parametrize(
    ("base", "name", "content", "options", "words"),
    [
        (LITS, "tumor-0", LESION, {}, MARKS),
        (LITS, "lesions/segmentation-0_lesion", LESION, {}, MARKS),
        (LITS, "volume-0_tumor", LESION, {}, MARKS),
        (LITS, "lesions/000", LESION, {}, MARKS),
        (LITS, "lesions/volume-0/1", LESION, {}, MARKS),
        (KITS, "case_00001/tumor", LESION, {}, MARKS),
        (KITS, "case_00001/FNH", LESION, {}, MARKS),
        (MSD, "lesionsTr/x_1", LESION, {}, MARKS),
        (MSD, "labelsTr_tumor/x_1", LESION, {}, MARKS),
        (MSD, "labelsTr/x_1_tumor", LESION, {}, MARKS),
        (MSD, "labelsTr/x_1_roi", LESION, {}, MARKS),
        (MSD, "labelsTr/x_1_tumor.seg.nrrd", (LESION, "tumor"), {}, MARKS),
        (TS, "s0001/segmentations/liver_tumor.nrrd", LESION, {}, MARKS),
        (TS, "s0001/Segmentation.seg.nrrd", (LESION, "tumor"), {}, MARKS),
        (TS, "s0001/liver.seg.nrrd", (LESION, "liver", "tumor"), {}, MARKS),
        (TS, "s0001/liver_tumor.nrrd", LESION, {}, MARKS),
        (TS, "s0001/segmentations/liver_tumor.mha", "x", {}, NOT_READ),
        (TS, "lesion_s0001", LESION, {}, MARKS),
        (TS, "s0001/segmentations/FNH", LESION, {}, NOBODY),
        (TS, "s0001/segmentations/lesion", LESION, {}, NOBODY),
        (TWO, "tumor_a", LESION, LIVER, MARKS),
        (TWO, "lesion-a", LESION, LIVER, MARKS),
        (TWO, "aTumor", LESION, LIVER, MARKS),
        (TWO, "a_FNH", LESION, LIVER, MARKS),
        (TWO, "A-GTV", LESION, LIVER, MARKS),
        (TWO, "a_seg2", LESION, LIVER, MARKS),
        (TWO, "a_seg2", MAP, LIVER, "marks 144 voxels that are no lesion"),
        (TWO, "lesions/tumor_a_1", LESION, LIVER, MARKS),
        (TWO, "a_tumor.nrrd", LESION, LIVER, MARKS),
        (TWO, "a_tumor.nrrd", LESION[4:8, 3:8, 2:6], LIVER, MARKS),  # cropped
        (TWO, "a_tumor", (LESION, SHIFTED), LIVER, GRID),
        (TWO, "a_tumor", ORGAN, LIVER, "marks 144 voxels that are no lesion"),
        (TWO, "a_tumor", MANY, LIVER, "marks 959 voxels"),
        (TWO, "a_tumor", LESION * np.float32(0.4), LIVER, "cannot be read as a mask (holds fractions of 1"),
        (TWO, "a_tumor", np.stack([LESION] * 2, -1), LIVER, "cannot be read as a mask (has shape"),
        (TWO, "a_tumor", LESION, {"legend": {1: "liver", 2: "liver_cyst"}}, MARKS),
        (TWO, "a_tumor", LESION, BOTH, MARKS),  # a legend with a lesion is no map with one
        *((TWO, f"a_tumor.{end}", "x", LIVER, NOT_READ) for end in ("img", "tif", "stl", "npy", "mgz", "nrrd.gz")),
        *((TWO, f"a_tumor.{end}", "x", LIVER, NOT_READ) for end in ("dcm", "glb", "7z", "nii.bz2", "raw", "hdf5")),
        (TWO, "a_tumor.zarr/0.0.0", "x", LIVER, NOT_READ),
        *((TWO, f"a_{n}.mha", "x", LIVER, NOT_READ) for n in ("liver+tumor", "Leber und Tumor", "GTV", "tumorseg")),
        (TWO, "foie_et_tumeur/a", (LESION, SHIFTED), LIVER, GRID),
        (TWO, "Tumormaske a.mha", "x", LIVER, NOT_READ),
        (TWO, "tumors/a_ct.stl", "x", LIVER, NOT_READ),
        (TWO, "tumor", LESION, LIVER, MARKS),  # nobody's, and on the voxels of both
        (FOLDERS, "lesions/tumor_p1", LESION, LIVER, MARKS),
        (FOLDERS, "lesions/1", LESION, LIVER, MARKS),
        (FOLDERS, "labels/lesion_p1", LESION, LIVER, MARKS),
        (BARE, "tumor", LESION, LIVER, MARKS),
        (BARE, "FNH", LESION, LIVER, MARKS),
        (BARE, "Untitled", LESION, LIVER, MARKS),
        (BARE, "lesions/1", LESION, LIVER, MARKS),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)  # fmt: skip
def test_what_may_be_a_lesion_beside_a_volume_is_refused(tmp_path, base, name, content, options, words):
    found = source(lay(tmp_path, {**base, name: content}), **options)
    with pytest.raises(BadCase) as error:
        found.read(0)
    assert words in str(error.value)
    assert all(way in str(error.value) for way in ("liver_tumour", "option labels"))
    assert not any(word in str(error.value) for word in (name, str(tmp_path), "s0001", "x_1"))
    if name != "tumor" and found.cases > 1:  # the others are as they were
        assert 1 in found.read(1).legend
    if "segmentations/" not in name and name != "s0001/liver.seg.nrrd":
        assert sum(map(len, found.left_over.values())) == 1
    organ = "kidney" if base is KITS else "liver"
    kept = source(tmp_path, **options, labels=(organ,)).read(0)
    assert (kept.legend, "lesions_left_out" in kept.notes) == (
        {1: organ},
        "FNH" not in name and kind_of_file(name) == "lesion",
    )


COHORT = {
    f"{name}_{n}{end}": array for n in (1, 2) for name in ("HCC",) for end, array in (("_ct", hu() + n), ("_seg", MAP))
}
KITS21 = {
    "case_00001/imaging": CT, "case_00001/aggregated_MAJ_seg": ORGAN, "case_00001/aggregated_OR_seg": MAP,
    "case_00001/aggregated_AND_seg": ORGAN, "case_00001/segmentations/tumor_instance-1_annotation-2": LESION,
    "case_00001/segmentations/kidney_instance-1_annotation-2": ORGAN,
}  # fmt: skip
OLD_MSD = json.dumps({"labels": {"0": "background", "1": "liver", "2": "cancer"}, "modality": {"0": "CT"}})


@pytest.mark.parametrize(
    ("files", "options", "left"),
    [
        (LITS, {}, 0),
        ({"Training Batch 1/" + name: array for name, array in LITS.items()}, {}, 0),
        ({**LITS, "volume-131": CT, "segmentation-7_lesion": FAR, "tumor-7_lesion_12": FAR}, {}, 3),
        (KITS, {}, 0),
        (KITS21, {}, 0),
        ({**KITS, "case_00001/instances/tumor_instance-1_annotation-1": LESION, "case_00002/imaging": CT}, {}, 1),
        (MSD, {}, 0),
        ({**MSD, "dataset.json": OLD_MSD, "labelsTr/x_1": MAP, "imagesTr/x_1_0001": CT * 2}, {}, 1),
        ({**MSD, "imagesVa/x_7": CT, "labelsVa/x_7": MAP, "predicted_lesions/x_7": FAR}, {}, 3),
        ({**TS, **{f"s0001/segmentations/{name}": NONE for name in TASKS}}, {}, 0),
        ({**TS, "s0001/total": MAP * 2, "s0001/combined_labels": MAP, "meta.csv": "s0001"}, {}, 0),
        ({**TS, "s0001/liver.stl": "solid", "s0001/preview_total.png": "png", "s0001/report.txt": "tumour"}, {}, 0),
        ({**TS, "s0001/ct_arterial": CT + 5, "s0001/ct_2": CT[:4], "s0001/dose": CT * 1.5, "s0001/text": "x"}, {}, 3),
        ({**TS, "s0001/segmentation": ORGAN, "s0001/labels.nrrd": ORGAN, "s0001/mets": NONE, "s0001/x.mat": ""}, {}, 4),
        ({**TS, "s0001/Segmentation.seg.nrrd": (LESION, "liver"), "s0001/FNH.seg.nrrd": (NONE, "FNH")}, {}, 2),
        ({**TS, "s0001/scene.seg.nrrd": (ORGAN, "liver"), "s0001/ribs.nrrd": LESION}, {}, 1),
        (PAIR, LIVER, 0),
        ({**TWO, **{f"a_tumor.{end}": "x" for end in ("json", "csv", "pdf", "png", "xlsx", "yml", "log")}}, LIVER, 0),
        ({**TWO, "a_seg": MAP, **{f"a_tumor.{end}": "x" for end in ("stl", "off", "npz", "mat", "tfm")}}, BOTH, 5),
        ({**TWO, "a_liver_without_tumor": (ORGAN, SHIFTED), "a_no_tumor": NONE}, LIVER, 2),
        ({**TWO, "HCC-TACE-Seg/a/1/1-01.dcm": "x", "HCC/a/2/IM1": "x", "a_thing.dcm": "x"}, LIVER, 0),
        ({**LITS, "kidney/12": LESION, "organs/spleen/0": LESION, "lung-12": LESION}, {}, 3),
        ({**LITS, "test-volume-0": CT, "LITS_test/test-volume-12": CT}, {}, 0),
        ({**TS, "s0001/segmentations/liver_tumor": LESION, "s0001/stl/liver_tumor.stl": "solid"}, {}, 1),
        ({"volume-0": CT, "segmentation-0": ORGAN, "segmentation-7": LESION, "volume-8": CT}, {}, 2),
        ({"images/p1": CT, "labels/p1": ORGAN, "labels/p2": LESION, "labels/p11": MAP}, LIVER, 2),
        ({**KITS, "case_00002/segmentation": MAP}, {}, 1),
        ({**TWO, "a_seg_old": ORGAN, "a_liver": LESION, "liver/b": LESION, "b_norm": CT / np.float32(4000)}, LIVER, 4),
        ({**TWO, "a_seg": MAP, "a_tumor": LESION, "a_lesion_seg": MAP, "tumors/a": ORGAN}, BOTH, 3),
        ({**TWO, "a_seg": MAP, "a_copy": MAP}, {"legend": {1: "liver", 2: "liver"}}, 1),
        ({**TWO, "tumor": FAR, "tumor.stl": "solid", "c_tumor": FAR}, LIVER, 3),
        ({**COHORT, "HCC_1_0001": CT, "HCC_3_ct": CT, "HCC_3_x": MAP, "x/HCC_3.npy": ""}, LIVER, 4),
        ({"mets_07/ct": CT, "mets_07/seg": ORGAN, "mets_07/ct_0001": CT, "mets_08/ct": CT}, LIVER, 2),
        ({**FOLDERS, "unlabelled/q1": CT, "HCC_controls/c1": CT, ".cache/p1_tumor": LESION}, LIVER, 3),
        ({"1.img": CT, "1.label": ORGAN, "2.img": CT, "1_vessels.vtp": ""}, {}, 1),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
def test_ordinary_sets_are_read(tmp_path, files, options, left):
    found = source(lay(tmp_path, files), **options)
    for case in range(found.cases):
        assert "lesions_left_out" not in found.read(case).notes
    assert sum(map(len, found.left_over.values())) == left


def test_lesions_of_no_case_are_told_in_a_line_of_their_own(tmp_path):
    files = {**LITS, "segmentation-7_lesion": FAR, "tumor": FAR, "lesion.stl": "solid"}
    left = source(lay(tmp_path, files)).left_over
    assert {why: len(paths) for why, paths in left.items()} == {"volumes called lesions, and of no case here": 3}


def test_lesions_that_the_option_labels_leaves_out_are_counted(tmp_path):
    lay(
        tmp_path / "map",
        {**TWO, "a_seg": MAP, "a_tumor": LESION, "a_lesion2": np.roll(LESION, 2, 0), "b_tumor.stl": ""},
    )
    kept = source(tmp_path / "map", **BOTH, labels=("liver",))
    assert [kept.read(n).notes["lesions_left_out"] for n in (0, 1)] == [2, 1]
    masks = {f"s0001/segmentations/{name}": array for name, array in (("liver_tumor", LESION), ("kidney_cyst", NONE))}
    lay(tmp_path / "masks", {**TS, **masks})
    assert source(tmp_path / "masks", labels=("liver",)).read(0).notes["lesions_left_out"] == 1
    assert "lesions_left_out" not in source(tmp_path / "masks", labels=("liver", "liver_tumour")).read(0).notes


@pytest.mark.parametrize(
    ("cases", "name", "of"),
    [
        (["siteA/001", "siteB/001"], "lesions/siteA/001", [0]),
        (["siteA/001", "siteB/001"], "lesions/001", [0, 1]),
        (["p1", "p12"], "tumor_p12", [1]),
        (["p1", "p12"], "lesions/12/1", [1, 0]),  # by a number alone
        (["p1", "p12"], "p3_lesion_1", [0, 1]),
        (["Pat001", "Pat002"], "lesions/pat2", [1]),
        (["HCC_001", "HCC_002"], "lesions/002", [1, 0]),
        (["HCC_001", "HCC_002"], "HCC_002_lesion_1", [1]),
        (["anna", "anna_maria"], "tumor-AnnaMaria", [1]),
        (["x_1", "x_2"], "lesion_y", [0, 1]),
        (["a", "b"], "lesions_a_b", [0, 1]),
        (["a", "12"], "12_tumor", [1]),
    ],
)
def test_whose_a_file_is(cases, name, of):
    owners = [Owner(case, frozenset(["images", "labels"])) for case in cases]
    (stray,) = inventory(owners, [File(f"{name}.nii.gz", name, 1, "", None)])
    assert (list(stray.cases), stray.called) == (of, "lesion")
    assert stray.is_claimed == (name not in ("p3_lesion_1", "lesion_y", "lesions/001"))
    assert stray.numbered == ((1,) if of == [1, 0] else ())


def test_a_mask_that_two_volumes_may_share_is_of_the_one_it_lies_on(tmp_path):
    files = {
        f"{part}/{kind_of}/7": (array, affine)
        for part, affine in (("a", PLAIN), ("b", OTHER_PLACE))
        for kind_of, array in (("images", CT), ("labels", ORGAN))
    }
    found = source(lay(tmp_path, {**files, "tumors/7": LESION}), **LIVER)
    with pytest.raises(BadCase, match=MARKS):
        found.read(0)
    assert found.read(1).legend == {1: "liver"}


@pytest.mark.parametrize("name", ["lesions/1", "lesion_7", "lesions/P2", "lesions/a7"])
def test_what_has_a_number_alone_is_of_the_volume_that_it_lies_on(tmp_path, name):
    second = {"images/p2": (hu() + 1, OTHER_PLACE), "labels/p2": (ORGAN, OTHER_PLACE)}
    found = source(lay(tmp_path, {"images/p1": CT, "labels/p1": ORGAN, **second, name: FAR}), **LIVER)
    assert found.read(0).legend == {1: "liver"}
    with pytest.raises(BadCase, match=MARKS):
        found.read(1)


def test_a_legend_of_unknown_words_is_refused_as_before(tmp_path):
    index = json.dumps({"labels": {"background": 0, "liver": 1, "FNH": 2}, "channel_names": {"0": "CT"}})
    with pytest.raises(SourceError, match="gives label 2 a name"):
        source(lay(tmp_path, {**MSD, "dataset.json": index}))


MASS = "x:1|TerminologyEntry:list~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^~list~^^~^^|"
LIVER_TAG = "TerminologyEntry:list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~^^~^^|"


@pytest.mark.parametrize(
    ("names", "tags", "lesion"),
    [
        (["liver"], MASS, True),
        (["liver"], "TerminologyEntry:list~SCT^123037004^~SCT^108369006^Neoplasm~^^|", True),
        (["liver"], LIVER_TAG, False),
        ([*(f"rib_left_{n}" for n in range(3000)), "tumor"], "", True),
    ],
    ids=["mass", "neoplasm", "liver", "long"],
)
def test_what_3d_slicer_says_of_its_segments_counts(tmp_path, names, tags, lesion):
    lay(tmp_path, BARE)
    nrrd(tmp_path / "Segmentation.seg.nrrd", LESION, *names, tags=tags)
    found = source(tmp_path, **LIVER)
    if lesion:
        with pytest.raises(BadCase, match=MARKS):
            found.read(0)
    else:
        assert found.read(0).legend == {1: "liver"}


def test_another_label_map_with_the_lesion_is_called_so(tmp_path):
    found = source(lay(tmp_path, {**TWO, "a_seg": MAP, "a_reader2": np.maximum(MAP, np.roll(MAP, 1, 0))}), **BOTH)
    with pytest.raises(
        BadCase, match=r"another label map, as another reader's or a predicted one: .* take it"
    ) as error:
        found.read(0)
    assert "healthy" not in str(error.value)


def test_an_empty_mask_does_not_stand_for_what_is_not_read(tmp_path):
    found = source(lay(tmp_path, {**TWO, "a_tumor": NONE, "a_tumor.mha": "x"}), **LIVER)
    with pytest.raises(BadCase, match=NOT_READ):
        found.read(0)


def test_a_lesion_that_no_voxel_is_left_of_is_told_in_the_notes(tmp_path):
    spot, apart = MAP.copy(), MAP.copy()
    spot[MAP == 2] = 1
    spot[5, 4, 3] = 2
    apart[MAP == 2] = 1
    apart[10, 8, 6] = 2
    found = lay(tmp_path, {**TWO, "a_seg": spot, "b_seg": apart})
    coarse = source(found, **BOTH, spacing_mm=(6, 6, 9))
    assert [coarse.read(n).notes.get("lesions_lost") for n in (0, 1)] == [{"liver_tumour": 1}] * 2
    assert "lesions_lost" not in source(found, **BOTH, spacing_mm=(1, 1, 1)).read(0).notes
    cut = source(found, **BOTH, region=("liver",), margin_mm=0)
    assert [cut.read(n).notes.get("lesions_lost") for n in (0, 1)] == [None, {"liver_tumour": 1}]


def test_values_without_a_name_are_counted_where_the_option_labels_says_what_to_keep(tmp_path):
    unnamed = np.where(np.roll(LESION, 4, 0), 9, MAP)
    found = source(lay(tmp_path, {**MSD, "labelsTr/x_1": unnamed}), labels=("liver",))
    assert found.read(0).notes["labels_left_out"] == {"2": 8, "9": 8}
