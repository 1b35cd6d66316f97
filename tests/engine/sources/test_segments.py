"""Segments of DICOM segmentations: every text and code that tells of a lesion counts, none makes an organ vanish."""

import pydicom
import pytest

from lesionforge.engine.sources import dicom as elements
from lesionforge.engine.sources.ct.segments import titles
from tests.engine.sources import test_ct_series as dicom
from tests.engine.sources.test_ct_series import HEIGHTS, code, organs, refusal, seg

LIVER, TUMOUR = organs()
LEGEND = {1: "liver", 2: "liver_tumour"}
CATEGORY, TYPE = "SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"


def coded(value, meaning, scheme="SCT"):
    item = code(meaning)
    item[0].CodeValue, item[0].CodingSchemeDesignator = value, scheme
    return item


def segmentation(path, *segments, **series):
    """Of (label, meaning of the type, other elements) each; two of one name are told apart by a space."""
    masks = {(label, of + " " * n): (TUMOUR if n else LIVER) for n, (label, of, *_) in enumerate(segments)}
    seg(path, masks, HEIGHTS)
    ds = pydicom.dcmread(path)
    for segment, (_, _, *more) in zip(ds.SegmentSequence, segments, strict=True):
        for key, value in (more[0] if more else {}).items():
            setattr(segment, key, value)
    for key, value in series.items():
        setattr(ds, key, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def called(path, *segments, names=None, **series):
    """The names of the segments, by what is left of the file for them to be known by."""
    segmentation(path, *segments, **series)
    found, doubted = titles(elements.read(path.read_bytes(), elements.SEGMENTATION), names or {})
    return [f"{name} doubted" if which in doubted else name for which, name in found.items()]


@pytest.mark.parametrize(
    ("label", "of", "more", "name"),
    [
        ("Leber", "Liver", {"SegmentDescription": "HCC"}, "liver_tumour"),
        ("Right lobe", "Liver", {"SegmentDescription": "Metastasis in segment VII"}, "liver_tumour"),
        ("Foie", "Liver", {"SegmentDescription": "tumeur"}, "liver_tumour"),
        ("Liver", "Liver", {"TrackingID": "Lesion 1"}, "liver_tumour"),
        ("Liver", "Liver", {CATEGORY: coded("49755003", "")}, "liver_tumour"),
        ("Leber", "Liver", {CATEGORY: coded("49755003", "Morphologisch veränderte Struktur")}, "liver_tumour"),
        ("Leber", "Liver", {CATEGORY: coded("1", "Morphologisch veränderte Struktur")}, "liver_tumour"),
        ("Liver", "Liver", {CATEGORY: coded("M-01000", "", "SRT")}, "liver_tumour"),
        ("Liver", "Liver", {CATEGORY: coded("1", "Lesion")}, "liver_tumour"),
        ("Liver", "", {TYPE: coded("108369006", "")}, "liver_tumour"),
        ("Liver", "", {TYPE: coded("M-80003", "", "SRT")}, "liver_tumour"),
        ("1", "Mass", {"SegmentDescription": "of the liver"}, "liver_tumour"),
        ("Mass", "Mass", {"AnatomicRegionSequence": code("Liver"), "TrackingID": "at kidney"}, "liver_tumour"),
        ("GTV-1", "Neoplasm, Primary", {"AnatomicRegionSequence": code("Lung")}, "lung_tumour"),
        ("Necrosis", "Tissue", {}, "necrosis"),
        ("Liver", "Liver", {"SegmentDescription": "FNH"}, "unknown"),
        ("Liver", "Liver", {"TrackingID": "GTV_1"}, "unknown"),
        ("Liver", "Liver", {"SegmentDescription": "without the tumor"}, "unknown"),
        ("Segment 1", "Liver", {"SegmentDescription": "odd thing"}, "unknown"),
        ("Segment 1", "Tissue", {"SegmentDescription": "odd thing"}, "unknown"),
        ("Leberprozess", "Liver", {}, "unknown"),
        ("Liver", "Liver", {"SegmentDescription": "drawn by J. D. on the portal phase"}, "liver"),
        ("Liver", "Liver", {"SegmentDescription": "Liver", "TrackingID": "a3f-01"}, "liver"),
        ("Segment 1", "Tissue", {"SegmentDescription": "Leber"}, "liver"),
        ("Liver", "Liver", {CATEGORY: coded("123037004", "Anatomical Structure")}, "liver"),
        ("Liver", "Liver", {TYPE: coded("T-62000", "Liver", "SRT")}, "liver"),
        ("kidney_left", "Kidney", {}, "kidney"),
        ("Liver Remnant", "Liver", {}, "liver"),
        ("Portal", "Portal vein", {}, None),
    ],
)  # fmt: skip
def test_what_a_segment_is_called_by_any_of_its_texts_and_codes(tmp_path, label, of, more, name):
    assert called(tmp_path / "seg.dcm", (label, of, more)) == [name]


LESION_SERIES = {"SeriesDescription": "Liver tumor segmentation"}


@pytest.mark.parametrize(
    ("segments", "series", "names"),
    [
        ([("Liver", "Liver")], LESION_SERIES, ["unknown doubted"]),
        ([("Portal vein", "Vein")], {"ContentLabel": "THROMBUS"}, ["unknown doubted"]),
        ([("Segment 1", "Tissue")], LESION_SERIES, ["liver_tumour"]),
        ([("", "Liver")], {"ContentDescription": "HCC"}, ["unknown doubted"]),
        ([("Segment 1", "")], {"ContentLabel": "TUMOR"}, ["tumour"]),
        ([("Liver", "Liver")], {"SeriesDescription": "GTV"}, ["unknown doubted"]),
        ([("Liver", "Liver")], {"SeriesDescription": "tumormask"}, ["unknown doubted"]),
        ([("Segment 1", "")], {"SeriesDescription": "Liver and tumor"}, ["unknown"]),  # it may be both
        ([("Liver", "Liver"), ("Spleen", "Spleen")], LESION_SERIES, ["unknown doubted", "unknown doubted"]),
        ([("Liver", "Liver"), ("Tumor", "Neoplasm")], LESION_SERIES, ["liver", "tumour"]),
        ([("Liver", "Liver"), ("Segment 2", "Tissue")], LESION_SERIES, ["unknown doubted", "unknown"]),
        ([("Liver", "Liver")], {"SeriesDescription": "Segmentation", "ContentLabel": "SEGMENTATION"}, ["liver"]),
        ([("Heart", "Heart")], {"SeriesDescription": "Calcium score"}, ["heart"]),
        ([("Lung", "Lung")], {"SeriesDescription": "Lung Cancer Screening"}, ["lung"]),
    ],
)
def test_a_lesion_that_a_series_is_called_after_is_one_of_its_segments(tmp_path, segments, series, names):
    assert called(tmp_path / "seg.dcm", *segments, **series) == names
    assert called(tmp_path / "seg.dcm", *segments, **series, names={"*": "liver"}) == ["liver"] * len(segments)


def test_the_segments_of_tcia_s_sets_are_read(tmp_path):
    path = tmp_path / "seg.dcm"
    crlm = ("Liver", "Organ"), ("Liver_Remnant", "Organ"), ("Hepatic", "Vein"), ("Portal", "Vein"), ("Tumor_1", "Organ")
    assert called(path, *crlm) == ["liver", "liver", None, None, "tumour"]
    hcc_tace = ("Liver", "Liver"), ("Mass", "Mass"), ("Portal vein", "Portal vein"), ("Abdominal aorta", "Aorta")
    assert called(path, *hcc_tace) == ["liver", "tumour", None, "aorta"]
    lung = ("GTV-1", "Neoplasm, Primary"), ("Lung", "Lung"), ("Spinal cord", "Spinal cord"), ("Heart", "Heart")
    assert called(path, *lung) == ["tumour", "lung", None, "heart"]
    qin = ("Liver reference region", "Reference Region"), ("Tumor", "Neoplasm, Secondary")
    assert called(path, *qin) == ["liver", "tumour"]


def test_an_organ_in_a_series_called_after_a_lesion_is_refused_until_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    folder = dicom.write(tmp_path / "ct")
    segmentation(folder / "seg.dcm", ("Liver", "Liver"), **LESION_SERIES)
    assert "segment 1 of its segmentation marks 140 voxels of healthy anatomy by its own texts, and its series'" in (
        refusal(folder)
    )
    assert dicom.source(folder, masks={"*liver*": "liver"}).read(0).legend == {1: "liver"}
    segmentation(folder / "seg.dcm", ("Liver", "Liver"), ("Leber", "Liver", {"TrackingID": "Lesion 1"}))
    assert dicom.source(folder).read(0).legend == LEGEND


@pytest.mark.parametrize(
    ("name", "lesion"),
    [("HCC_1/ct/tumor_seg.dcm", 1), ("HCC_1/Lesions/1-1.dcm", 1), ("HCC_1/seg.dcm", 0), ("segs/HCC_1.dcm", 0)],
)
def test_the_name_of_the_file_counts_as_the_series_texts_do(tmp_path, monkeypatch, name, lesion):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    dicom.write(tmp_path / "set" / "HCC_1" / "ct")
    (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
    segmentation(tmp_path / "set" / name, ("Liver", "Liver"))
    if lesion:
        assert "tell of a lesion that no segment is" in refusal(tmp_path / "set")
    else:
        assert dicom.source(tmp_path / "set").read(0).legend == {1: "liver"}
