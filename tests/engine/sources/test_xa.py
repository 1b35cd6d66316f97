"""XA runs: written with pydicom here, and the real ones."""

import numpy as np
import pydicom
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, XRayAngiographicImageStorage
from scipy import ndimage

from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.xa.runs import DicomOptions, XaDicom
from lesionforge.generators.types import BadCase

SECRET = "DOE^JANE"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def frames(count=3, edge=96, filled=1, seed=0):
    """A run in which contrast agent shows best in frame ``filled``: a dark line on a soft background."""
    rng = np.random.default_rng(seed)
    ground = 150 + 30 * ndimage.gaussian_filter(rng.standard_normal((edge, edge)), 12) * 12
    line = np.zeros((edge, edge))
    line[20:76, 46:50] = 60
    depth = np.exp(-((np.arange(count) - filled) ** 2) / 0.8)
    run = [ground - d * line + rng.normal(0, 2, ground.shape) for d in depth]
    return np.clip(np.rint(run), 0, 255).astype(np.uint8)


def write(path, pixels=None, syntax=ExplicitVRLittleEndian, patient=SECRET, drop=(), **tags):
    pixels = frames() if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax is RLELossless else syntax
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(path)])
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = XRayAngiographicImageStorage, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.PatientName = "XA", patient, SECRET
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = "-30.5", "20"
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.ImagerPixelSpacing = "1000", "750", ["0.4", "0.4"]
    ds.PixelData = pixels.tobytes()
    for key, value in tags.items():
        setattr(ds, key, value)
    for key in drop:
        delattr(ds, key)
    if syntax is RLELossless:
        ds.compress(RLELossless)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def one(tmp_path, frame=1, **tags):
    write(tmp_path / "run" / "IM1.dcm", **tags)
    return XaDicom(str(tmp_path / "run"), DicomOptions(frame=frame)).read(0)


def refusal(source, case=0):
    with pytest.raises(BadCase) as error:
        source.read(case)
    return str(error.value)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless])
def test_pixels_come_back_unchanged_with_their_geometry(tmp_path, syntax):
    case = one(tmp_path, syntax=syntax, frame=3)
    assert np.array_equal(case.image, frames()[2])
    assert case.view_deg == (-30.5, 20.0)
    assert case.pixel_mm == pytest.approx(0.4 * 750 / 1000)
    assert (case.notes["frame"], case.notes["frames"]) == (3, 3)
    assert case.mask is None


def test_the_best_frame_shows_most_contrast_agent_whatever_the_noise(tmp_path):
    run = frames(8, edge=192, filled=5)
    run[0] = np.clip(run[0] + np.random.default_rng(1).normal(0, 25, run[0].shape), 0, 255)  # exposure settles
    assert one(tmp_path, pixels=run, frame="best").notes["frame"] == 6


def test_a_brighter_frame_does_not_show_more_contrast_agent(tmp_path):
    """The same line at three quarters of its contrast, exposed half as much again: its grey levels differ by more."""
    filled, less = frames(2, edge=192, filled=1)[1].astype(float), frames(2, edge=192, filled=1)[0].astype(float)
    ratio = (filled / np.maximum(less, 1)) ** 0.75
    run = np.stack([less, less * ratio * 1.35, filled, less]) * 0.7
    assert one(tmp_path, pixels=np.clip(run, 0, 255).astype(np.uint8), frame="best").notes["frame"] == 3


def test_monochrome1_and_inverse_presentation_are_turned(tmp_path):
    dark = frames()
    assert np.array_equal(one(tmp_path, pixels=255 - dark, PhotometricInterpretation="MONOCHROME1").image, dark[0])
    assert np.array_equal(one(tmp_path, pixels=255 - dark, PresentationLUTShape="INVERSE").image, dark[0])


def test_the_window_is_dicom_s(tmp_path):
    """Oracle: PS3.3 C.11.2.1.2.1, y = ((x - (c - .5)) / (w - 1) + .5) * 255, on 12 of 16 bits after a rescale."""
    stored = np.linspace(0, 4095, 96 * 96).reshape(1, 96, 96).astype(np.uint16)
    tags = {"BitsStored": 12, "HighBit": 11, "WindowCenter": "900", "WindowWidth": "1200"}
    case = one(tmp_path, pixels=stored, RescaleSlope="0.5", RescaleIntercept="-100", **tags)
    x = stored[0] * 0.5 - 100
    expected = np.clip(np.rint(((x - 899.5) / 1199 + 0.5) * 255), 0, 255)
    assert np.abs(case.image - expected).max() <= 1
    assert case.notes["display"] == "window 900/1200"
    plain = one(tmp_path, pixels=stored, BitsStored=12, HighBit=11)
    assert (plain.image.min(), plain.image.max()) == (0, 255)
    assert "own range" in plain.notes["display"]


def test_a_voi_lut_goes_before_a_window(tmp_path):
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [256, 0, 12]
    lut.add_new(0x00283006, "OW", np.linspace(4095, 0, 256).astype("<u2").tobytes())
    case = one(tmp_path, VOILUTSequence=Sequence([lut]), WindowCenter="10", WindowWidth="5")
    assert np.array_equal(case.image, 255 - frames()[0])
    assert case.notes["display"] == "VOI LUT"


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"drop": ("ImagerPixelSpacing",)}, "ImagerPixelSpacing"),
        ({"drop": ("DistanceSourceToPatient",)}, "DistanceSourceToPatient"),
        ({"ImagerPixelSpacing": ["0.2", "0.4"]}, "not square"),
        ({"PixelAspectRatio": [4, 3]}, "not square"),
        ({"ImagerPixelSpacing": ["0.4", ""]}, "ImagerPixelSpacing is missing or not 2 numbers"),
        ({"DistanceSourceToPatient": ["750", ""]}, "DistanceSourceToPatient is no number"),
        ({"DistanceSourceToDetector": "700"}, "sod_mm"),
    ],
)
def test_a_pixel_of_unknown_size_says_why(tmp_path, tags, words):
    case = one(tmp_path, **tags)
    assert case.pixel_mm is None
    assert words in case.notes["pixel_mm"]
    told = XaDicom(str(tmp_path / "run"), DicomOptions(frame=1, pixel_mm=0.3)).read(0)
    assert (told.pixel_mm, "pixel_mm" in told.notes) == ((0.3, False) if "drop" in tags else (None, True))
    assert case.view_deg is not None


@pytest.mark.parametrize(
    "tags",
    [
        {"drop": ("PositionerPrimaryAngle",)},
        {"PositionerSecondaryAngle": "120"},
        {"PositionerPrimaryAngleIncrement": [0, 1, 2]},
        {"PositionerPrimaryAngleIncrement": ["", "1", ""]},
        {"PositionerPrimaryAngle": ["1", ""]},
    ],
)
def test_an_unknown_view_says_why(tmp_path, tags):
    case = one(tmp_path, **tags)
    assert case.view_deg is None
    assert case.notes["view_deg"]


def test_empty_steps_of_the_c_arm_are_none(tmp_path):
    assert one(tmp_path, PositionerPrimaryAngleIncrement=["", "0", ""]).view_deg == (-30.5, 20.0)


def spoiled_rows(path):
    data = bytearray(path.read_bytes())
    at = data.index(b"\x28\x00\x10\x00US")  # Rows
    data[at + 8 : at + 10] = (65535).to_bytes(2, "little")
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Modality": "CT"}, "has modality CT"),
        ({"drop": ("PixelData",)}, "has no pixels"),
        ({"NumberOfFrames": 9}, "bytes of pixels; 9 frames need"),
        ({"NumberOfFrames": 100000}, "claims 100000 frames"),
        ({"SamplesPerPixel": 3}, "is in colour"),
        ({"BitsAllocated": 32}, "bits stored in 32"),
        ({"drop": ("Rows",)}, "its Rows is missing"),
        ({"pixels": np.full((2, 96, 96), 7, np.uint8)}, "shows nothing"),
        ({"WindowCenter": "30000", "WindowWidth": "2"}, "shows nothing"),
    ],
)
def test_runs_that_cannot_be_used_have_a_reason_without_a_name(tmp_path, tags, words):
    write(tmp_path / "run" / f"{SECRET}.dcm", **tags)
    message = refusal(XaDicom(str(tmp_path / "run"), DicomOptions(frame=1)))
    assert words in message
    assert message.startswith("run 1: ")
    assert SECRET not in message


def test_broken_files_are_reasons_and_never_crash(tmp_path):
    """Cut anywhere and with bytes flipped anywhere: a case or a reason, nothing else."""
    whole = write(tmp_path / "whole.dcm").read_bytes()
    rng = np.random.default_rng(0)
    folder = tmp_path / "runs"
    folder.mkdir()
    for n in range(12):
        (folder / f"cut{n}.dcm").write_bytes(whole[: int(rng.integers(0, len(whole)))])
        flipped = bytearray(whole)
        for at in rng.integers(128, 1200, 3):
            flipped[at] ^= int(rng.integers(1, 255))
        (folder / f"flip{n}.dcm").write_bytes(flipped)
    write(folder / "huge.dcm")
    spoiled_rows(folder / "huge.dcm")
    source = XaDicom(str(folder), DicomOptions(subject="file"))
    reasons = []
    for case in range(source.subjects):
        try:
            source.read(case)
        except BadCase as error:
            reasons.append(str(error))
    assert len(reasons) >= 13
    assert any("claims 96 x 65535 pixels" in reason for reason in reasons)
    assert not any(SECRET in reason for reason in reasons)


def test_values_reach_no_log(tmp_path, caplog, recwarn):
    """pydicom warns about values that break their rules, and quotes them."""
    path = write(tmp_path / "run" / "IM1.dcm")
    spoilt = f"1.2.{SECRET}.1.2.1".encode()
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1", spoilt.ljust(19, b"1")))
    message = refusal(XaDicom(str(tmp_path / "run"), DicomOptions()))
    assert message == "run 1: does not say a transfer syntax that DICOM knows, so its pixels cannot be decoded"
    assert SECRET not in caplog.text
    assert not [w for w in recwarn if SECRET in str(w.message)]


def test_a_frame_that_is_not_there_is_a_reason(tmp_path):
    write(tmp_path / "run" / "IM1.dcm")
    assert (
        refusal(XaDicom(str(tmp_path / "run"), DicomOptions(frame=4))) == "run 1: has 3 frames, so there is no frame 4"
    )


def test_runs_of_a_patient_are_one_subject_and_carry_no_name(tmp_path):
    for n, patient in enumerate(["A1", "B2", "A1", "", ""]):
        write(tmp_path / "run" / f"IM{n}.dcm", patient=patient, pixels=frames(1, seed=n))
    source = XaDicom(str(tmp_path / "run"), DicomOptions())
    assert (source.subjects, source.sizes, source.cases) == (4, [2, 1, 1, 1], 5)  # each run once
    cases = [source.read(i) for i in range(5)]
    assert len({case.subject for case in cases}) == 4
    assert all(case.subject.startswith("dicom/") and len(case.subject) == 38 for case in cases)
    for case in cases:
        assert not any(word in repr((case.subject, case.notes, case.licence)) for word in (SECRET, "A1", "B2", "IM"))
    assert XaDicom(str(tmp_path / "run"), DicomOptions(subject="file")).cases_per_subject == 1
    for entry in (tmp_path / "cache").iterdir():
        assert b"A1" not in entry.read_bytes()


def test_files_are_told_by_ending_or_preamble(tmp_path):
    write(tmp_path / "run" / "study" / "I0001")
    write(tmp_path / "run" / "study" / "1.2.840.5")
    write(tmp_path / "run" / "study" / "XA.1.2.840.5")  # as storescp writes
    write(tmp_path / "run" / "E100S7I.10")
    (tmp_path / "run" / "README").write_text("not DICOM")
    (tmp_path / "run" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "run" / "tree.vtk").write_text("")
    source = XaDicom(str(tmp_path / "run"), DicomOptions(subject="file"))
    assert source.subjects == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no DICOM file"):
        XaDicom(str(tmp_path / "empty"), DicomOptions())


def test_a_file_that_cannot_be_looked_into_is_not_left_out(tmp_path, monkeypatch):
    write(tmp_path / "a.dcm")
    write(tmp_path / "XA.1")
    answers = [OSError(5, "input/output error"), PermissionError(13, "no")]
    monkeypatch.setattr(LocalFileSystem, "cat_ranges", lambda *_, **__: [answers.pop(0)])
    with pytest.raises(SourceError, match="a file in it cannot be looked into: Input/output error"):
        XaDicom(str(tmp_path), DicomOptions())
    assert XaDicom(str(tmp_path), DicomOptions(subject="file")).cases == 2  # its case says that it must not be read


def test_ids_of_two_issuers_are_two_patients_and_an_id_without_one_is_anybody_s(tmp_path):
    for name, issuer in (("a", "north"), ("b", "south"), ("c", "north")):
        write(tmp_path / "two" / f"{name}.dcm", patient="1", IssuerOfPatientID=issuer)
    source = XaDicom(str(tmp_path / "two"), DicomOptions(frame=1))
    assert (source.subjects, source.cases_per_subject) == (2, 2)
    assert len({source.read(n).subject for n in range(source.cases)}) == 2
    write(tmp_path / "two" / "d.dcm", patient=" 1 ")
    source = XaDicom(str(tmp_path / "two"), DicomOptions(frame=1))
    assert (source.subjects, source.cases_per_subject) == (1, 4)
    assert len({source.read(n).subject for n in range(4)}) == 1


def test_a_mask_is_one_run_s(tmp_path):
    """A run without an ending beside one with it: both would get the mask."""
    write(tmp_path / "run" / "IM1.dcm", patient="1")
    vessel = np.zeros((96, 96), np.uint8)
    vessel[20:76, 46:50] = 1
    vessel[20:76, 60:64] = 2
    for name in ("IM1", "IM7"):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(vessel).save(tmp_path / "masks" / f"{name}.png")
    options = DicomOptions(frame=1, masks=str(tmp_path / "masks"), vessel_values=(1,))
    source = XaDicom(str(tmp_path / "run"), options)
    assert np.array_equal(source.read(0).mask, vessel == 1)
    assert [path.rsplit("/", 1)[1] for path in source.left_over["masks without a run"]] == ["IM7.png"]
    write(tmp_path / "run" / "IM1", patient="2")
    assert "nobody knows whose mask" in refusal(XaDicom(str(tmp_path / "run"), options))


def test_nothing_but_the_allowed_elements_is_parsed(tmp_path):
    lut = pydicom.Dataset()
    lut.LUTDescriptor, lut.LUTExplanation = [256, 0, 8], SECRET
    lut.add_new(0x00283006, "OW", np.arange(256).astype("<u2").tobytes())
    path = write(tmp_path / "IM1.dcm", VOILUTSequence=Sequence([lut]), StudyDate="19600101", InstitutionName=SECRET)
    ds = pydicom.dcmread(path)
    ds.private_block(0x0009, SECRET, create=True).add_new(1, "LO", SECRET)
    ds.file_meta.SourceApplicationEntityTitle = SECRET
    ds.save_as(path)
    header = dicom.read(path.read_bytes(), dicom.XA_RUN)
    assert {element.keyword for element in header} <= set(dicom.XA_RUN)
    assert [element.keyword for element in header.VOILUTSequence[0]] == ["LUTDescriptor", "LUTData"]
    assert [element.keyword for element in header.file_meta] == ["TransferSyntaxUID"]
    assert SECRET not in str(header)


def test_an_overlay_in_the_unused_bits_does_not_reach_the_picture(tmp_path):
    """Old consoles keep their writing in the bits above BitsStored."""
    stored = np.linspace(0, 4095, 96 * 96).reshape(1, 96, 96).astype(np.uint16)
    written = stored.copy()
    written[0, 10:20, 10:40] |= 0xF000
    images = [
        one(tmp_path / name, pixels=pixels, BitsStored=12, HighBit=11).image
        for name, pixels in (("plain", stored), ("written", written))
    ]
    assert np.array_equal(*images)


def test_the_secret_is_the_files_own(tmp_path):
    """Whoever has the dataset but not the files cannot make it, so no list of names can be tried on the hashes."""
    path = write(tmp_path / "a" / "first.dcm")
    write(tmp_path / "a" / "second.dcm")
    first = XaDicom(str(tmp_path / "a"), DicomOptions()).secret()
    assert XaDicom(str(tmp_path / "a"), DicomOptions()).secret() == first
    data = bytearray(path.read_bytes())
    data[60] ^= 1  # in the preamble: one bit of the file's beginning
    path.write_bytes(data)
    changed = XaDicom(str(tmp_path / "a"), DicomOptions()).secret()
    (tmp_path / "a" / "second.dcm").rename(tmp_path / "a" / "third.dcm")
    assert first != changed == XaDicom(str(tmp_path / "a"), DicomOptions()).secret()  # names may be changed


def test_the_fingerprint_holds_no_names(tmp_path):
    path = write(tmp_path / "a" / "first.dcm")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.dcm").write_bytes(path.read_bytes())
    first, second = (XaDicom(str(tmp_path / x), DicomOptions()).fingerprint() for x in "ab")
    assert first == second


def test_the_real_runs(data_dir):
    """JPEG lossless and plain files of one run; the geometry is that of the header (checked with pydicom alone)."""
    source = XaDicom(str(data_dir / "xa_dicom"), DicomOptions())
    assert (source.subjects, source.cases_per_subject) == (1, 5)  # one phantom, one id
    cases = [source.read(i) for i in range(5)]
    assert [case.view_deg for case in cases] == [
        (31.3, 0.1),
        (-0.8, -23.2),
        (-26.5, -32.7),
        (-29.3, 25.5),
        (-29.3, 25.5),
    ]
    assert [case.pixel_mm for case in cases[:2]] == [None, None]
    assert cases[2].pixel_mm == pytest.approx(0.390625 * 720 / 931)
    assert cases[3].source_id == cases[4].source_id  # the same run in two transfer syntaxes
    raw = pydicom.dcmread(data_dir / "xa_dicom" / "IM7_explicit_le.dcm").pixel_array
    assert np.array_equal(cases[4].image, raw[cases[4].notes["frame"] - 1])  # window 128/256 of 8 bits changes nothing
    assert cases[0].notes["frame"] > 1  # the first frame of a run is dim and noisy
