"""Masks that may be of lesions: none is read as healthy anatomy, whatever it is called and wherever it lies."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct.names import name_of
from lesionforge.generators.structures import kind
from lesionforge.generators.types import BadCase
from tests.engine.sources import test_ct_series as dicom
from tests.engine.sources.test_ct import hu, labels, source, write
from tests.engine.sources.test_ct_files import listing
from tests.engine.sources.test_ct_series import HEIGHTS, SECRET, code, nrrd, organs, refusal, seg

LIVER, TUMOUR = organs()
LEGEND = {1: "liver", 2: "liver_tumour"}


@pytest.fixture
def series(tmp_path, monkeypatch):
    """A CT series with a mask of the liver in NRRD."""
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    folder = dicom.write(tmp_path / "ct")
    nrrd(folder / "liver.nrrd", LIVER)
    return folder


@pytest.mark.parametrize(
    "name", ["liver_FNH", "FNH", "1", "mask_2", "LeberFNH", "Ablation zone", "cible", "rois/liver_dark", "Liver T1"]
)
def test_an_nrrd_mask_that_nobody_knows_is_refused_where_it_marks_something(series, name):
    path = series / f"{name}.nrrd"
    path.parent.mkdir(exist_ok=True)
    nrrd(path, TUMOUR)
    words = refusal(series)
    assert "its NRRD file " in words
    assert "of 2 marks 12 voxels, and its name says no anatomy or lesion known here" in words
    named = dicom.source(series, masks={"liver": "liver", "*": "liver_tumour"}).read(0)
    assert named.legend == LEGEND
    left = dicom.source(series, masks={"liver": "liver", "*": "background"}).read(0)
    assert (left.legend, left.notes["masks_left_out"]) == ({1: "liver"}, 1)
    nrrd(path, TUMOUR.astype(np.uint8) * 2 + LIVER)  # several structures
    assert "marks 140 voxels" in refusal(series)


@pytest.mark.parametrize("name", ["arterial.nrrd", "CT 2.nrrd", "sub/thing.nrrd", "CT spleen.nrrd"])
def test_an_nrrd_image_or_one_of_another_place_is_no_reason_to_refuse(series, name):
    path = series / name
    path.parent.mkdir(exist_ok=True)
    nrrd(path, dicom.hu(), kind="short")
    for change in ({}, {"origin": (0, 0, 0)}, {}):
        volume = dicom.source(series).read(0)
        assert (volume.legend, volume.notes["masks_left_out"]) == ({1: "liver"}, 1)
        nrrd(path, TUMOUR, origin=(0, 0, 0), **({} if change else {"encoding": "raw"}))
    nrrd(path, np.zeros_like(TUMOUR))  # marks nothing
    assert dicom.source(series).read(0).legend == {1: "liver"}
    nrrd(series / "tumor.nrrd", dicom.hu(), kind="short")
    assert "is not binary" in refusal(series)


@pytest.mark.parametrize(
    "change",
    [
        (b"type: uchar", b"type: other"),
        (b"encoding: gzip", b"encoding: bzip2"),
        (b"space: left-posterior-superior\n", b""),
        (b"space origin", b"origin"),
    ],
    ids=str,
)
def test_an_nrrd_of_the_series_size_that_cannot_be_read_is_refused(series, change):
    nrrd(series / "thing.nrrd", TUMOUR)
    data = (series / "thing.nrrd").read_bytes()
    (series / "thing.nrrd").write_bytes(data.replace(*change))
    assert "its NRRD file 2 of 2 is " in refusal(series)
    (series / "thing.nrrd").write_bytes(data.replace(*change).replace(b"sizes: 16 12 6", b"sizes: 16 12 7"))
    assert dicom.source(series).read(0).legend == {1: "liver"}


@pytest.mark.parametrize("kind_of", ["uchar", "int64"])
def test_masks_cropped_to_what_they_mark_lie_where_they_were(series, kind_of):
    part = TUMOUR[5:9, 3:8, 1:5]
    origin = (-30 + 5 * 0.75, 20 + 3 * 1.5, -40 + 2.5)
    nrrd(series / "tumor.nrrd", part, origin=origin, kind=kind_of)
    volume = dicom.source(series).read(0)
    assert volume.legend == LEGEND
    assert np.array_equal(volume.labels == 2, TUMOUR)
    (series / "tumor.nrrd").rename(series / "thing.nrrd")
    assert "marks 12 voxels" in refusal(series)


def test_an_nrrd_called_otherwise_is_another_source(series):
    """Its name decides what it marks, though no name counts but for that."""
    before = dicom.source(series).fingerprint()
    for name, same in (("Leber", True), ("liver_seg", True), ("spleen", False), ("liver tumor", False), ("FNH", False)):
        (path,) = series.glob("*.nrrd")
        path.rename(series / f"{name}.nrrd")
        assert (dicom.source(series).fingerprint() == before) == same
    assert dicom.source(series, masks={"fnh": "liver"}).fingerprint() == before


def test_what_3d_slicer_calls_its_segments_counts(series):
    nrrd(series / "Segmentation.seg.nrrd", TUMOUR)
    data = (series / "Segmentation.seg.nrrd").read_bytes()
    for name, legend in ((b"tumor", LEGEND), (b"Segment_1", None), (b"FNH", None), (b"ribs", {1: "liver"})):
        header = data.replace(b"NRRD0004\n", b"NRRD0004\nSegment0_Name:=%s\n" % name)
        (series / "Segmentation.seg.nrrd").write_bytes(header)
        if legend:
            assert dicom.source(series).read(0).legend == legend
        else:
            assert "nobody" in refusal(series) or "known here" in refusal(series)
    both = header.replace(b"Segment0_Name:=ribs", b"Segment0_Name:=spleen\nSegment1_Name:=liver")
    (series / "Segmentation.seg.nrrd").write_bytes(both)
    assert "holds 2 segments: store a structure a file" in refusal(series)
    layers = header.replace(b"FNH", b"x").replace(b"sizes: 16", b"sizes: 2 16").replace(b"ribs", b"x")
    (series / "Segmentation.seg.nrrd").write_bytes(layers)  # two layers: may be anything
    assert "has sizes" in refusal(series)


def test_masks_in_folders_below_the_slices_are_read_and_other_formats_are_counted(series):
    (series / "lesions" / "a").mkdir(parents=True)
    nrrd(series / "lesions" / "a" / "liver.nrrd", TUMOUR)
    for name in ("thing.nii.gz", "liver.mha", "scan.tif", "liver.stl"):
        (series / name).write_bytes(b"")
    found = dicom.source(series)
    assert found.read(0).legend == LEGEND
    assert {why: len(paths) for why, paths in found.left_over.items()} == {
        "files of other formats that may hold masks, which are not read here": 3
    }


UNKNOWN = ["FNH", "Ablation zone", "GTV", "GTV-1", "liver dark", "FNH liver", "liver PVTT", f"{SECRET} thing",
           "Hot spot", "foyer", "Rundherd", "Segment VII dark", "liver without tumor", "Leber ohne Tumor",
           "liver + lesion", "liver air", "liver cavity"]  # fmt: skip


@pytest.mark.parametrize("kind_of", ["Liver", "Organ", "Tissue", ""])
@pytest.mark.parametrize("title", UNKNOWN)
def test_a_segment_with_a_word_that_nobody_knows_is_no_organ(title, kind_of):
    assert name_of((title, kind_of), {}) == name_of((kind_of, title), {}) == "unknown"
    assert name_of((title.upper(), kind_of), {"*": "background"}) is None


@pytest.mark.parametrize("titles", [("FNH", "Liver"), ("Segment_2", "Tissue"), ("", ""), ("GTV", "Liver")])
def test_a_segment_that_nobody_knows_is_refused_where_it_marks_something(series, titles):
    seg(series / "seg.dcm", {("liver", "Liver"): LIVER, titles: TUMOUR}, HEIGHTS)
    assert "segment 2 of its segmentation marks 12 voxels" in refusal(series)
    named = dicom.source(series, masks={"liver": "liver", "*": "liver_tumour"}).read(0)
    assert named.legend == LEGEND


@pytest.mark.parametrize(
    ("titles", "name"),
    [
        (("Segment 1", "Liver"), "liver"),
        (("", "Liver"), "liver"),
        (("Left", "Kidney"), "kidney"),
        (("Organ 3", "Spleen"), "spleen"),
        (("Mask", "Liver"), "liver"),
        (("LEBER", "Organ"), "liver"),
        (("linke Niere", "Kidney"), "kidney"),
        (("Foie", "Liver"), "liver"),
        (("Right lobe of liver", "Liver"), "liver"),
        (("heart", "Myocardium"), "heart"),
        (("Läsion", "Leber"), "liver_tumour"),
        (("Métastases", "Foie"), "liver_tumour"),
        (("Lebermetastase 2", ""), "liver_tumour"),
        (("liver vessels", "Liver"), None),
        (("cyst", ""), "cyst"),
        (("Stones", "Gallbladder"), "gallbladder_stones"),
        (("First rib", "Bone"), None),
        (("T12 vertebra", ""), None),
        (("Deep muscle of back", "Muscle"), None),
    ],
    ids=str,
)
def test_segments_of_known_words_are_what_they_say(titles, name):
    assert name_of(titles, {}) == name


@pytest.mark.parametrize(
    "changes",
    [
        {"SegmentedPropertyCategoryCodeSequence": "Morphologically Altered Structure"},
        {"SegmentDescription": "HCC, segment VII"},
        {"SegmentLabel": "Mass", "type": "Neoplasm", "AnatomicRegionSequence": "Liver"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_says_that_a_segment_is_a_lesion_counts(series, changes):
    path = series / "seg.dcm"
    seg(path, {("Liver", "Liver"): LIVER, ("Liver", "Liver "): TUMOUR}, HEIGHTS)
    ds = pydicom.dcmread(path)
    for key, value in changes.items():
        item = ds.SegmentSequence[1]
        if key == "type":
            item.SegmentedPropertyTypeCodeSequence = code(value)
        else:
            setattr(item, key, code(value) if key.endswith("Sequence") else value)
    ds.save_as(path, enforce_file_format=True)
    volume = dicom.source(series).read(0)
    assert volume.legend == LEGEND
    assert np.array_equal(volume.labels == 2, TUMOUR)
    ds.SegmentSequence[1].SegmentDescription, ds.SegmentSequence[1].SegmentLabel = "FNH", "1"
    ds.SegmentSequence[1].SegmentedPropertyTypeCodeSequence = Sequence([Dataset()])
    ds.SegmentSequence[1].SegmentedPropertyCategoryCodeSequence = Sequence([])
    ds.save_as(path, enforce_file_format=True)
    assert "segment 2 of its segmentation marks 12" in refusal(series)


def by_structure(folder, **masks):
    """A volume with a mask per structure, by the label values that each marks."""
    write(folder / "s1/ct.nii.gz", hu())
    for name, value in masks.items():
        write(folder / f"s1/{name.replace('__', '/')}.nii.gz", (labels() == value).astype(np.uint8))
    return folder


@pytest.mark.parametrize("name", ["lesion", "Tumor", "lesions", "HCC", "Läsion", "tumeur", "metastases 1", "mass"])
def test_a_lesion_beside_one_organ_is_that_organ_s(tmp_path, name):
    by_structure(tmp_path, segmentations__liver=1, **{f"segmentations__{name}": 2})
    for options in ({}, {"labels": ("liver", "liver_tumour")}):
        assert source(tmp_path, **options).read(0).legend == LEGEND
    assert source(tmp_path, labels=("liver",)).read(0).legend == {1: "liver"}
    with pytest.raises(SourceError, match=r"nothing called spleen.*it has liver, liver_tumour"):
        source(tmp_path, labels=("spleen",))


@pytest.mark.parametrize("name", ["hepatic_cyst", "abscess", "Leberzyste", "cyst_liver", "liver_tumor"])
def test_a_lesion_lies_on_its_organ_whatever_it_is_called(tmp_path, name):
    by_structure(tmp_path, **{f"segmentations__{name}": 2})
    write(tmp_path / "s1/segmentations/liver.nii.gz", (labels() > 0).astype(np.uint8))
    volume = source(tmp_path).read(0)
    (value,) = (value for value, called in volume.legend.items() if called != "liver")
    assert np.count_nonzero(volume.labels == value) == np.count_nonzero(labels() == 2) > 0


def test_a_lesion_beside_two_organs_is_nobody_s(tmp_path):
    by_structure(tmp_path, segmentations__liver=1, segmentations__lung_left=0, segmentations__lesion=2)
    with pytest.raises(BadCase, match="nor a lesion of one organ known here"):
        source(tmp_path).read(0)
    with pytest.raises(SourceError, match=r"nothing called liver_tumour.*it has liver, lung, tumour"):
        source(tmp_path, labels=("liver", "liver_tumour"))
    assert source(tmp_path, labels=("liver", "tumour")).read(0).legend == {1: "liver", 2: "tumour"}


def test_a_legend_without_effect_is_refused(tmp_path):
    by_structure(tmp_path, segmentations__liver=1)
    with pytest.raises(SourceError, match="the option legend has no effect there"):
        source(tmp_path, legend={1: "liver_tumour"})


@pytest.mark.parametrize("name", ["liver_tumor", "lesions/1", "segmentations_2/HCC", "Metastasen/leber", "tumeur",
                                  "FNH", "masks/liver_fnh", "x/y", "Segmentation", "../s1_tumor", "../Tumors/S1",
                                  "../S1/segmentations/HCC"])  # fmt: skip
def test_a_mask_of_a_lesion_outside_the_folder_of_masks_is_refused(tmp_path, name):
    by_structure(tmp_path, segmentations__liver=1, **{name: 2})
    found = source(tmp_path)
    with pytest.raises(BadCase, match="a file beside its label map or folder segmentations marks 8 voxels"):
        found.read(0)
    assert sum(map(len, found.left_over.values())) == 1
    assert source(tmp_path, labels=("liver",)).read(0).legend == {1: "liver"}


@pytest.mark.parametrize("name", ["combined_labels", "liver", "old/spleen", "kidney_left"])
def test_healthy_masks_images_and_other_grids_outside_are_no_reason_to_refuse(tmp_path, name):
    by_structure(tmp_path, segmentations__liver=1, **{name: 2})
    write(tmp_path / "s1/ct_2.nii.gz", hu())
    write(tmp_path / "s1/thing.nii.gz", labels((3, 3, 3)))
    write(tmp_path / "s1/empty.nii.gz", np.zeros_like(labels()))
    assert source(tmp_path).read(0).legend == {1: "liver"}


@pytest.mark.parametrize("name", ["s1/liver_tumor", "s1/segmentations_lesions/liver_tumor", "s1/x/y"])
def test_volumes_of_a_case_beside_its_masks_are_counted(name):
    _, left = listing("s1/ct", "s1/segmentations/liver", "s1/combined_labels", name)
    assert left == {"volumes of a case outside its folder segmentations": 1}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("liver without tumor", "unknown"),
        ("tumour-free liver", "unknown"),
        ("liver_and_tumor", "unknown"),
        ("Leber mit Metastasen", "unknown"),
        ("foie sans lésion", "unknown"),
        ("non-calcified nodule", "lesion"),
        ("mass with necrosis", "lesion"),
        ("kidney tumor and cyst", "lesion"),
        ("tissue", "unknown"),
        ("liver tissue", "healthy"),
        ("gall bladder", "healthy"),
    ],
)
def test_a_name_of_two_things_or_of_one_without_the_other_is_unknown(name, says):
    assert kind(name) == says


@pytest.mark.parametrize("name", ["a_tumor", "a_liver-lesions", "A HCC 2", "a.Läsion", "tumors/a", "x/lesions/a_1"])
@pytest.mark.parametrize("image", ["a_ct", "a"])
def test_a_lesion_beside_a_pair_whose_legend_has_none_is_refused(tmp_path, image, name):
    for n, mask in ((image, hu()), ("a_seg", labels()), ("b_ct", hu()), ("b_seg", labels()), (name, labels() == 2)):
        write(tmp_path / f"{n}.nii.gz", mask.astype(np.int16))
    found = source(tmp_path, legend={1: "liver", 2: "spleen"})
    with pytest.raises(BadCase, match="beside its label map"):
        found.read(0)
    assert found.read(1).legend == {1: "liver", 2: "spleen"}
    assert found.left_over
    assert source(tmp_path, legend=LEGEND).read(0).legend == LEGEND
    assert source(tmp_path, legend={1: "liver"}, labels=("liver",)).read(0).legend == {1: "liver"}


def test_a_set_or_volume_called_after_a_lesion_has_none_for_that(tmp_path):
    for name, values in (("HCC_1_ct", hu()), ("HCC_1_seg", labels()), ("HCC_1_0001", hu()), ("HCC_12_x", labels())):
        write(tmp_path / f"tumor cases/{name}.nii.gz", values.astype(np.int16))
    found = source(tmp_path, legend={1: "liver", 2: "spleen"})
    assert found.read(0).legend == {1: "liver", 2: "spleen"}
    assert sum(map(len, found.left_over.values())) == 2
