"""CT series in files of any name: what is one volume is not parted by rounding, and what is parted is told."""

import gzip

import numpy as np
import pydicom
import pytest

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.generators.types import BadCase
from tests.engine.sources import test_ct_series as series
from tests.engine.sources.test_ct_series import (
    COLS,
    HEIGHTS,
    ROWS,
    SLICES,
    hu,
    nrrd,
    organs,
    seg,
    source,
    write,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def alternate(folder, **changes):
    """Change every other slice's header; a value of None takes the element out."""
    for path in sorted(folder.glob("*.dcm"))[::2]:
        ds = pydicom.dcmread(path)
        for key, value in changes.items():
            setattr(ds, key, value)
            if value is None:
                delattr(ds, key)
        ds.save_as(path, enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageOrientationPatient": ["1", "-0.0", "0", "0", "1", "-0"]},
        {"ImageOrientationPatient": ["1", "-1e-7", "0", "1e-7", "1", "0"]},
        {"ImageOrientationPatient": ["0.99999", "0.0004", "0", "0", "1", "0"]},
        {"PixelSpacing": ["1.500001", "0.749999"]},
        {"PixelSpacing": ["1.5004", "0.75"]},
        {"FrameOfReferenceUID": ""},
        {"FrameOfReferenceUID": None},
        {"PatientID": ""},
        {"PatientID": None},
        {"IssuerOfPatientID": "Sankt Georg"},
        {"ConvolutionKernel": "B30f"},
        {"SeriesInstanceUID": ""},
    ],
    ids=str,
)
def test_slices_that_rounding_or_an_empty_element_parts_are_one_volume(tmp_path, changes):
    found = source(alternate(write(tmp_path), **changes))
    assert (found.subjects, found.cases, found.notes) == (1, 1, ())
    volume = found.read(0)
    assert volume.hu.shape == (COLS, ROWS, SLICES)
    assert volume.spacing_mm[2] == pytest.approx(2.5, rel=1e-4)
    assert np.array_equal(volume.hu, hu())


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageOrientationPatient": ["1", "", "0", "0", "1", "0"]},
        {"ImageOrientationPatient": None},
        {"PixelSpacing": ["1.5"]},
        {"ImagePositionPatient": ""},
    ],
    ids=str,
)
def test_a_series_that_lacks_numbers_in_some_slices_is_refused_as_one(tmp_path, changes):
    found = source(alternate(write(tmp_path), **changes))
    assert found.cases == 1
    with pytest.raises(BadCase, match="is missing or not"):
        found.read(0)


def test_what_differs_is_parted_and_told(tmp_path):
    write(tmp_path)
    write(tmp_path, prefix="kernel", ConvolutionKernel="B70f", heights=[h + 0.4 for h in HEIGHTS])
    write(tmp_path, prefix="other", ConvolutionKernel="B30f", heights=[h + 0.8 for h in HEIGHTS])
    found = source(tmp_path)
    assert found.cases == 1  # the slices without a kernel could be of either: nobody parts them
    with pytest.raises(BadCase, match="mm apart"):
        found.read(0)
    for path in tmp_path.glob("*.dcm"):
        path.unlink()
    write(tmp_path, prefix="a", ConvolutionKernel="B30f")
    write(tmp_path, prefix="b", ConvolutionKernel="B70f")
    found = source(tmp_path)
    assert [found.read(n).notes["series_parted_into"] for n in range(2)] == [2, 2]
    body = {"name": "a", "seed": 1, "sources": [{"uri": f"ctdicom:{tmp_path}"}], "generator": {"name": "lesion"}}
    assert "2 of 2 cases are parts of series whose slices differ" in str(Pipeline(Recipe.model_validate(body)).notes)
    for path in tmp_path.glob("a*.dcm"):
        path.unlink()
    write(tmp_path, prefix="c")  # without a kernel, where those with one lie
    found = source(tmp_path)
    assert [found.read(n).notes["series_parted_into"] for n in range(2)] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PatientID": "P0"}, "say several patients' ids"),
        ({"ConvolutionKernel": "b30f"}, "lie between those of another part"),
        ({"FrameOfReferenceUID": "1.2.9"}, "lie between those of another part"),
    ],
    ids=str,
)
def test_a_series_that_is_cut_into_interleaved_parts_is_refused_whole(tmp_path, changes, words):
    write(tmp_path, patient="p0", ConvolutionKernel="B30f", heights=np.arange(8) * 2.5)
    found = source(alternate(tmp_path, **changes))
    assert found.subjects == 1
    assert not found.notes
    for n in range(found.cases):
        with pytest.raises(BadCase, match=words):
            found.read(n)


@pytest.mark.parametrize("every", [3, 4])
def test_a_part_that_fills_another_s_gaps_is_no_volume(tmp_path, every):
    heights = np.arange(4 * every) * 2.5
    write(tmp_path, ConvolutionKernel="x", heights=heights[::every])
    write(tmp_path, prefix="y", ConvolutionKernel="y", heights=np.delete(heights, np.s_[::every]))
    found = source(tmp_path)
    for n in range(2):
        with pytest.raises(BadCase, match="lie between those of another part"):
            found.read(n)


def test_two_people_with_a_frame_of_reference_each_are_two_under_one_series_uid(tmp_path):
    for n, patient in enumerate("AB"):
        write(tmp_path / patient, patient=patient, FrameOfReferenceUID=f"1.2.{n}")
    found = source(tmp_path)
    assert (found.subjects, len({found.read(n).subject for n in range(2)})) == (2, 2)


def test_slices_that_lack_regularly_are_told(tmp_path):
    write(tmp_path, SliceThickness="2.5")
    assert not {"slices_lacking", "slices_apart"} & source(tmp_path).read(0).notes.keys()
    for n, path in enumerate(sorted(tmp_path.glob("*.dcm"))):
        ds = pydicom.dcmread(path)
        ds.InstanceNumber, ds.SliceThickness = 2 * n + 1, "1.25"
        ds.save_as(path, enforce_file_format=True)
    notes = source(tmp_path).read(0).notes
    assert "1 of 2 slices may be missing" in notes["slices_lacking"]
    assert "2.50 mm apart and are 1.25 mm thick" in notes["slices_apart"]


def test_dicom_files_that_cannot_be_read_are_cases_that_say_so(tmp_path):
    paths = sorted(write(tmp_path).glob("*.dcm"))
    paths[0].with_suffix(".dcm.gz").write_bytes(gzip.compress(paths[0].read_bytes()))
    (tmp_path / "CT.1").write_bytes(paths[1].read_bytes()[132:])
    for path in paths[:2]:
        path.unlink()
    found = source(tmp_path)
    assert found.cases == 3
    reasons = []
    for n in range(3):
        try:
            found.read(n)
        except BadCase as error:
            reasons.append(str(error))
    assert len(reasons) == 2
    assert all("no DICOM file" in reason for reason in reasons)


def test_one_id_of_two_issuers_is_two_patients_and_without_an_issuer_one(tmp_path):
    write(tmp_path, patient="7", IssuerOfPatientID="A")
    write(tmp_path, prefix="x", series="1.2.3.2", patient="7", IssuerOfPatientID="B")
    found = source(tmp_path)
    assert (found.subjects, len({found.read(n).subject for n in range(2)})) == (2, 2)
    write(tmp_path, prefix="y", series="1.2.3.3", patient="7")
    found = source(tmp_path)
    assert (found.subjects, len({found.read(n).subject for n in range(found.cases)})) == (1, 1)


@pytest.mark.parametrize("name", ["CT.1.2.840.113619.2.{}", "E100S7I.{}", "IM{}", "1.2.3.{}", "slice {}.img", "{}.gz"])
def test_dicom_is_known_by_its_preamble_whatever_it_is_called(tmp_path, name):
    write(tmp_path)
    for n, path in enumerate(sorted(tmp_path.glob("*.dcm"))):
        path.rename(tmp_path / (name.format(n) if n % 2 else f"{n}.dcm"))
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    found = source(tmp_path)
    assert found.cases == 1
    assert np.array_equal(found.read(0).hu, hu())


def test_files_in_no_case_are_counted(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", series="1.2.3.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], heights=[0, 1])
    write(tmp_path / "b", prefix="mr", series="1.2.3.5", modality="MR", heights=[0])
    write(tmp_path / "b", prefix="rt", series="1.2.3.6", modality="RTSTRUCT", heights=[0])
    seg(tmp_path / "b" / "seg.dcm", {("liver", "Liver"): organs()[0]}, HEIGHTS, refers="1.2.99")
    nrrd(tmp_path / "b" / "liver.nrrd", organs()[0])
    found = source(tmp_path)
    assert found.read(0).labels is None
    assert {why: len(paths) for why, paths in found.left_over.items()} == {
        "localizers": 2,
        "DICOM files of another modality": 1,
        "RT structure sets, which are not read": 1,
        "DICOM segmentations of no series that is there": 1,
        "NRRD files beside no CT slice": 1,
    }


@pytest.mark.parametrize(
    ("title", "meaning"),
    [
        ("tumor", "Mass"),
        ("Livertumor", ""),
        ("liver_tumor1", "Organ"),
        ("HCC", ""),
        ("Liver", "Neoplasm"),
        ("x", "Metastasis"),
    ],
)
def test_segments_of_lesions_are_their_one_organ_s(tmp_path, title, meaning):
    liver, tumour = organs()
    write(tmp_path)
    seg(tmp_path / "seg.dcm", {("liver", "Organ"): liver, (title, meaning): tumour}, HEIGHTS)
    volume = source(tmp_path).read(0)
    assert volume.legend == {1: "liver", 2: "liver_tumour"}
    assert np.array_equal(volume.labels == 2, tumour)


def test_lesions_of_no_one_organ_are_refused_or_named(tmp_path):
    liver, tumour = organs()
    write(tmp_path)
    nrrd(tmp_path / "liver.nrrd", liver)
    nrrd(tmp_path / "spleen.nrrd", ~liver)
    nrrd(tmp_path / "metastasis.nrrd", tumour)
    assert "marks a lesion in 12 voxels and no one organ" in series.refusal(tmp_path)
    assert "liver_tumour" in source(tmp_path, masks={"metas*": "liver_tumour"}).read(0).legend.values()


def test_segmentations_whose_frames_are_no_whole_bytes_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(series, "COLS", 13)
    monkeypatch.setattr(series, "ROWS", 7)
    heart = np.zeros((13, 7, SLICES), bool)
    heart[6:13, 3:6, 1:5] = True
    write(tmp_path, RescaleIntercept="-724")
    seg(tmp_path / "seg.dcm", {("Heart", ""): heart}, HEIGHTS)
    volume = source(tmp_path).read(0)
    assert np.array_equal(volume.labels == 1, heart)


@pytest.mark.parametrize(
    ("tags", "count"),
    [
        ({"PixelRepresentation": 1, "PixelPaddingValue": -100}, 1),
        ({"PixelRepresentation": 1, "PixelPaddingValue": -100, "PixelPaddingRangeLimit": -98}, 3),
        ({"PixelPaddingValue": 20, "PixelPaddingRangeLimit": 18}, 3),
        ({"PixelPaddingValue": ""}, 0),
    ],
    ids=str,
)
def test_padding_is_air_however_it_is_signed(tmp_path, tags, count):
    write(tmp_path, **tags)
    if "PixelRepresentation" in tags:
        for path in tmp_path.glob("*.dcm"):  # stored from -100 on
            ds = pydicom.dcmread(path)
            shift = np.frombuffer(ds.PixelData, "<u2").astype(int) - 112
            ds.PixelData = shift.astype("<i2").tobytes()
            ds.RescaleIntercept = str(-1024 + 224)
            ds.save_as(path, enforce_file_format=True)
    volume = source(tmp_path).read(0)
    assert volume.notes.get("padded_voxels", 0) == count
    assert (volume.hu != hu()).sum() == count
    assert (volume.hu[volume.hu != hu()] == -1024).all()
