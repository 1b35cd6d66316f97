"""CT series: written with pydicom here, slice by slice, and the real one with its NRRD masks."""

import gzip
import json
import re

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, SegmentationStorage

from lesionforge.engine.privacy import subject_hash
from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.ct.series_folder import CtDicom, CtDicomOptions
from lesionforge.generators.types import BadCase

SECRET = "DOE^JANE"
ROWS, COLS, SLICES = 12, 16, 6
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def hu():
    """(column, row, slice): every voxel its own value."""
    values = 2 * np.arange(COLS * ROWS * SLICES).reshape(COLS, ROWS, SLICES) - 1000
    return values.astype(np.int16)


def put(path, patient=SECRET, series="1.2.3.1", storage=CTImageStorage, modality="CT", **tags):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(path)])
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientID, ds.PatientName, ds.StudyDate = modality, patient, SECRET, "20260101"
    ds.SeriesInstanceUID, ds.FrameOfReferenceUID = series, f"{series}.9"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    for key, value in tags.items():
        setattr(ds, key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    return ds


def write(folder, heights=None, turn=STRAIGHT, syntax=None, prefix="", step=2.5, shift=(0.0, 0.0), **tags):
    """A series of slices, ``heights`` in mm; files are numbered against their order."""
    heights = [-40.0 + step * k for k in range(SLICES)] if heights is None else heights
    normal = np.cross(turn[:3], turn[3:])
    for n, height in enumerate(heights):
        where = np.array([-30.0, 20.0, 0.0]) + np.array([*shift, 0.0]) * n + normal * height
        path = folder / f"{prefix}{SECRET}_{99 - n}.dcm"
        settings = {
            "Rows": ROWS, "Columns": COLS, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "ImagePositionPatient": [f"{v:.6f}" for v in where], "ImageOrientationPatient": [f"{v:.9f}" for v in turn],
            "PixelSpacing": ["1.5", "0.75"], "RescaleSlope": "2", "RescaleIntercept": "-1024",
        }  # fmt: skip
        ds = put(path, **(settings | tags))
        stored = (hu()[:, :, n % SLICES].T.astype(np.int32) + 1024) // 2
        ds.PixelData = stored.astype(np.uint16).tobytes()
        if syntax:
            ds.compress(syntax)
        ds.save_as(path, enforce_file_format=True)
    return folder


def source(folder, **options):
    return CtDicom(str(folder), CtDicomOptions(**options))


def refusal(folder, **options):
    with pytest.raises(BadCase) as error:
        source(folder, **options).read(0)
    assert str(error.value).startswith("series 1: ")
    assert SECRET not in str(error.value)
    assert "1.2.3" not in str(error.value)
    return str(error.value)


def test_slices_are_ordered_by_their_positions_not_by_their_names(tmp_path):
    volume = source(write(tmp_path)).read(0)
    assert np.array_equal(volume.hu, hu())
    assert volume.spacing_mm == pytest.approx((0.75, 1.5, 2.5))
    assert volume.origin_mm == pytest.approx((-30, 20, -40))
    assert volume.labels is None


def test_compressed_slices(tmp_path):
    assert np.array_equal(source(write(tmp_path, syntax=RLELossless)).read(0).hu, hu())


@pytest.mark.parametrize(
    ("turn", "order", "flips"),
    [
        ((-1, 0, 0, 0, -1, 0), (0, 1, 2), (True, True, False)),  # prone
        ((0, 1, 0, 0, 0, -1), (2, 0, 1), (True, False, True)),  # sagittal
        ((1, 0, 0, 0, 0, -1), (0, 2, 1), (False, False, True)),  # coronal
    ],
)
def test_any_right_angled_orientation_is_turned_along_the_patient(tmp_path, turn, order, flips):
    volume = source(write(tmp_path, turn=tuple(float(v) for v in turn))).read(0)
    view = hu().transpose(order)
    view = view[tuple(slice(None, None, -1 if flip else None) for flip in flips)]
    assert np.array_equal(volume.hu, view)
    # the voxel that the file calls the first column, row and slice lies where the file puts it
    normal = np.cross(turn[:3], turn[3:])
    at = np.argwhere(volume.hu == hu()[0, 0, 0])[0] * volume.spacing_mm + volume.origin_mm
    np.testing.assert_allclose(at, np.array([-30, 20, 0]) + normal * -40, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heights": [0, 2.5, 5, 10, 12.5, 15]}, "lacks 1 slices: 5.00 mm lie between slices 3 and 4, 2.50 mm"),
        ({"heights": [0, 2.5, 5, 5, 7.5, 10]}, "1 of its 6 slices lie where another one lies"),
        ({"heights": [0, 2.5, 5, 0, 2.5, 5]}, "3 of its 6 slices lie where another one lies"),
        ({"heights": [0, 2.5, 5.6, 7.5, 10]}, "1.90 to 3.10 mm apart"),
        ({"heights": [0, 2.5]}, "has 2 slices"),
        ({"GantryDetectorTilt": "-12.5"}, "tilted by 12.5 degrees"),
        ({"shift": (0.0, 0.5)}, "shifted along by 11.3 degrees"),
        ({"turn": (np.cos(0.1), np.sin(0.1), 0, -np.sin(0.1), np.cos(0.1), 0)}, "5.73 degrees off the patient's"),
        ({"RescaleSlope": None}, "slice 1 of 6: its RescaleSlope is missing"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing"),
        ({"NumberOfFrames": 3}, "is enhanced multi-frame CT, which is not read: convert it"),
        ({"heights": [0], "NumberOfFrames": 6}, "is enhanced multi-frame CT, which is not read: convert it"),
        ({"SpacingBetweenSlices": "1.25"}, "its slices lie 2.50 mm apart and say 1.25 mm: 1 of 2 lack"),
        ({"RescaleType": "OD"}, "slice 1 of 6: its RescaleType says that its values are no HU"),
        ({"RescaleSlope": "0"}, "slice 1 of 6: its RescaleSlope is 0"),
        ({"RescaleSlope": "1", "RescaleIntercept": "0"}, "holds values from 12 to 1163, which are no Hounsfield units"),
        ({"ImageOrientationPatient": "1\\0\\0\\\\1\\0"}, "its ImageOrientationPatient is missing or not 6 numbers"),
        ({"PixelSpacing": "1.5\\"}, "its PixelSpacing is missing or not 2 numbers"),
    ],
)
def test_what_cannot_be_a_volume_is_told_in_numbers(tmp_path, changes, words):
    assert words in refusal(write(tmp_path, **changes))


def test_oblique_series_can_be_resampled(tmp_path):
    turn = (float(np.cos(0.1)), float(np.sin(0.1)), 0.0, -float(np.sin(0.1)), float(np.cos(0.1)), 0.0)
    volume = source(write(tmp_path, turn=turn), oblique="resample").read(0)
    assert volume.notes["oblique_deg"] == pytest.approx(5.73, abs=0.01)


def test_broken_slices_are_reasons(tmp_path):
    write(tmp_path)
    path = sorted(tmp_path.glob("*.dcm"))[2]
    good = path.read_bytes()
    for data in (good[:200], good[:-50], b"", b"\0" * 200):
        path.write_bytes(data)
        read = [refusal(tmp_path)] if source(tmp_path).subjects == 1 else None
        assert read or source(tmp_path).subjects == 2  # a file whose series cannot be told is a case of its own


def test_mixed_folders_are_split_and_what_is_no_volume_is_left_out(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "a", prefix="thick", series="1.2.3.2", step=5.0)  # another series of the same patient
    write(tmp_path / "a", prefix="kernel", ConvolutionKernel="B70f")  # two reconstructions in one series
    write(tmp_path / "a", prefix="scout", series="1.2.3.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write(tmp_path / "a", prefix="mr", series="1.2.3.5", modality="MR")
    write(tmp_path / "b", series="1.2.3.6", patient="another")
    found = source(tmp_path)
    assert (found.subjects, found.sizes) == (2, [3, 1])
    volumes = [found.read(n) for n in range(4)]
    assert len({v.subject for v in volumes[:3]}) == 1  # one patient stays together
    assert volumes[3].subject != volumes[0].subject
    assert {round(v.spacing_mm[2], 3) for v in volumes} == {2.5, 5.0}
    assert source(tmp_path, subject="series").subjects == 4


def test_no_identifier_leaves_the_source(tmp_path):
    found = source(write(tmp_path))
    volume = found.read(0)
    told = json.dumps([volume.subject, volume.source_id, volume.licence, volume.notes, found.fingerprint()])
    assert SECRET not in told
    assert "1.2.3" not in told
    assert "2026" not in re.sub(r"[0-9a-f]{32,}", "", told)  # a hash may hold a year by chance
    cache = b"".join(p.read_bytes() for p in (tmp_path / "cache").glob("*"))
    assert SECRET.encode() not in cache


def test_padding_becomes_air(tmp_path):
    write(tmp_path, PixelPaddingValue=int((int(hu()[3, 4, 2]) + 1024) // 2))
    volume = source(tmp_path).read(0)
    assert volume.hu[3, 4, 2] == -1024
    assert volume.notes["padded_voxels"] >= 1


def code(meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "SCT", meaning
    return Sequence([item])


def seg(path, masks, heights, refers="1.2.3.1", turn=STRAIGHT, kind="BINARY"):
    """A DICOM segmentation: per segment (label, meaning) a mask (column, row, slice); empty frames are left out."""
    ds = put(path, series="1.2.3.77", storage=SegmentationStorage, modality="SEG", Rows=ROWS, Columns=COLS,
             BitsAllocated=1, BitsStored=1, HighBit=0, SegmentationType=kind)  # fmt: skip
    ds.FrameOfReferenceUID = "1.2.3.1.9"
    if refers:
        item = Dataset()
        item.SeriesInstanceUID = refers
        ds.ReferencedSeriesSequence = Sequence([item])
    segments, frames, bits = [], [], []
    for number, ((label, meaning), mask) in enumerate(masks.items(), 1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        segment.SegmentedPropertyTypeCodeSequence = code(meaning)
        segments.append(segment)
        for k, height in enumerate(heights):
            if mask[:, :, k].any():
                frame, place, which = Dataset(), Dataset(), Dataset()
                place.ImagePositionPatient = ["-30", "20", f"{height}"]
                which.ReferencedSegmentNumber = number
                frame.PlanePositionSequence = Sequence([place])
                frame.SegmentIdentificationSequence = Sequence([which])
                frames.append(frame)
                bits.append(mask[:, :, k].T)
    shared, planes, edges = Dataset(), Dataset(), Dataset()
    planes.ImageOrientationPatient = list(turn)
    edges.PixelSpacing = ["1.5", "0.75"]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([planes]), Sequence([edges])
    ds.SegmentSequence, ds.SharedFunctionalGroupsSequence = Sequence(segments), Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.NumberOfFrames = len(frames)
    packed = np.packbits(np.concatenate([b.ravel() for b in bits]), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds.save_as(path, enforce_file_format=True)


def organs():
    liver, tumour = np.zeros((2, COLS, ROWS, SLICES), bool)
    liver[4:11, 3:8, 1:5] = True  # where ``hu`` is that of a liver
    tumour[6:8, 4:7, 2:4] = True
    return liver, tumour


HEIGHTS = [-40.0 + 2.5 * k for k in range(SLICES)]


@pytest.mark.parametrize("refers", ["1.2.3.1", ""])
def test_dicom_segmentations_land_on_their_slices(tmp_path, refers):
    liver, tumour = organs()
    write(tmp_path)
    write(tmp_path, prefix="other", series="1.2.3.2")
    seg(tmp_path / "seg.dcm", {("Leber", "Liver"): liver, ("liver tumor", "Mass"): tumour}, HEIGHTS, refers)
    found = source(tmp_path)
    volume, other = found.read(0), found.read(1)
    assert volume.legend == {1: "liver", 2: "liver_tumour"}
    assert np.array_equal(volume.labels == 2, tumour)
    assert np.array_equal(volume.labels == 1, liver & ~tumour)
    assert other.labels is None


def test_segmentations_beside_their_slices_are_refused(tmp_path):
    liver, _ = organs()
    write(tmp_path)
    seg(tmp_path / "seg.dcm", {("liver", "Liver"): liver}, [h + 0.7 for h in HEIGHTS])
    assert "lies 0.7 mm from its slices" in refusal(tmp_path)
    seg(tmp_path / "seg.dcm", {("liver", "Liver"): liver}, HEIGHTS, turn=(-1, 0, 0, 0, 1, 0))
    assert "another orientation" in refusal(tmp_path)
    seg(tmp_path / "seg.dcm", {("liver", "Liver"): liver}, HEIGHTS, kind="FRACTIONAL")
    assert "not binary" in refusal(tmp_path)


def nrrd(path, mask, encoding="gzip", space="left-posterior-superior", sign=1, origin=(-30, 20, -40), kind="uchar"):
    header = (
        f"NRRD0004\n# made here\ntype: {kind}\ndimension: 3\nspace: {space}\nsizes: {' '.join(map(str, mask.shape))}\n"
        f"space directions: ({sign * 0.75},0,0) (0,{sign * 1.5},0) (0,0,2.5)\nkinds: domain domain domain\n"
        f"endian: big\nencoding: {encoding}\nspace origin: ({sign * origin[0]},{sign * origin[1]},{origin[2]})\n\n"
    )
    raw = mask.astype({"uchar": "u1", "short": ">i2", "int64": ">i8"}[kind]).tobytes(order="F")
    path.write_bytes(header.encode() + (gzip.compress(raw) if encoding == "gzip" else raw))


@pytest.mark.parametrize(
    "how", [{}, {"encoding": "raw"}, {"space": "RAS", "sign": -1}, {"kind": "short"}], ids=["gzip", "raw", "ras", "big"]
)
def test_nrrd_masks(tmp_path, how):
    liver, _ = organs()
    write(tmp_path)
    nrrd(tmp_path / "case_liver_seg.nrrd", liver, **how)
    nrrd(tmp_path / "case_spleen.nrrd", liver, origin=(0, 0, 0))  # another scan's
    volume = source(tmp_path).read(0)
    assert volume.legend == {1: "liver"}
    assert np.array_equal(volume.labels == 1, liver)
    assert volume.notes["masks_left_out"] == 1


def test_broken_nrrds_are_reasons(tmp_path):
    liver, tumour = organs()
    write(tmp_path)
    path = tmp_path / "liver.nrrd"
    nrrd(path, liver)
    good = path.read_bytes()
    nrrd(path, liver.astype(int) + tumour)
    several = path.read_bytes()
    for data, words in (
        (b"", "is no NRRD"),
        (good[:40], "no NRRD header"),
        (good[:-10], "gzip stream is broken|bytes of voxels"),
        (several, "is not binary"),
        (good.replace(b"encoding: gzip", b"encoding: hex!"), "encoded otherwise"),
        (good.replace(b"sizes: 16", b"sizes: 99999999"), "at most"),
        (good.replace(b"space origin", b"space oddity"), "no mask in NRRD"),
    ):
        path.write_bytes(data)
        message = refusal(tmp_path)
        assert any(word in message for word in words.split("|")), message


def test_a_folder_without_ct_is_refused(tmp_path):
    write(tmp_path, modality="MR")
    with pytest.raises(SourceError, match="holds no CT series"):
        source(tmp_path)


def test_real_series_with_its_nrrd_masks(data_dir):
    found = source(data_dir / "ct_dicom", subject="series")
    volume = found.read(0)
    assert (found.subjects, volume.hu.shape) == (1, (512, 512, 3))
    assert volume.spacing_mm == pytest.approx((0.810547, 0.810547, 1.0), abs=1e-4)
    named = {name: volume.hu[volume.labels == value] for value, name in volume.legend.items()}
    assert set(named) == {"heart", "liver", "spine"}
    assert 20 < np.median(named["liver"]) < 70
    assert np.median(named["spine"]) > 150
    assert np.argwhere(volume.labels == 2)[:, 0].mean() < 256  # LPS: the liver on the right


def test_names_that_are_no_text_are_read(tmp_path):
    """A file system's names are bytes; those of old recorders are often Latin-1."""
    write(tmp_path / "a")
    for path in list((tmp_path / "a").iterdir()):
        path.rename(path.with_name("\udce9" + path.name))
    volume = source(tmp_path).read(0)
    assert np.array_equal(volume.hu, hu())
    assert subject_hash(b"key", "pair/\udce9") != subject_hash(b"key", "pair/e")
